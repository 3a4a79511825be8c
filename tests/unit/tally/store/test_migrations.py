"""A database of an earlier unbrick is brought forward: what it counted, and the same tables as a new one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from support.earlier_tallies import make_earlier_tally
from support.tally_events import Told, disk, uuid
from support.tally_sums import faults_of

from unbrick.events.short_code import code_of_key
from unbrick.model import Machine
from unbrick.tally.store.store import Store


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A database as the first version of the tables left it."""
    path = tmp_path / "earlier.db"
    make_earlier_tally(path, "visits")
    return path


def test_an_earlier_database_counts_on_as_it_did(earlier: Path) -> None:
    with Store.open(earlier) as store:
        assert faults_of(store) == ()
        assert store.summary().by_status == {
            "repaired": 1,
            "confirmed": 1,
            "failed": 1,
            "expected": 1,
        }
        assert store.summary().without_identity == 1


def test_an_earlier_database_has_every_column_and_index_of_a_new_one(earlier: Path, tmp_path: Path) -> None:
    shapes = []
    for path in (earlier, tmp_path / "new.db"):
        Store.open(path).close()
        shapes.append(shape(path))
    assert shapes[0] == shapes[1]


def test_an_earlier_machine_is_found_by_its_sticker(earlier: Path) -> None:
    with Store.open(earlier) as store:
        for row in store.machines(limit=None):
            if row.code:
                assert row in store.find(row.code)


def test_a_machine_is_found_by_the_sticker_of_a_visit_that_knew_less_of_it(earlier: Path) -> None:
    """The firmware's UUID came with another run: what the first one wrote on the sticker still finds it."""
    with Store.open(earlier) as store:
        (row,) = store.find(code_of_key("disk:D15C0000-0000-4000-8000-000000000001"))
        assert row.key.startswith("smbios:")


def test_a_split_of_before_takes_one_serial_number_written_in_two_ways_for_one(tmp_path: Path) -> None:
    path = tmp_path / "tally.db"
    with Store.open(path) as store:
        for number, serial in enumerate(("SN-1", "sn-1", "SN-2", "SN-3"), 1):
            machine = Machine(uuid(1), serial, disk(number), (f"PC-{number}",))
            store.add(Told(number, machine).story("repaired"))
        store.split("PC-1", by="serial", reason="one UUID", who="kim")
        store.merge("SN-3", "SN-2", reason="new board", who="kim")
    key = f"smbios:{uuid(1)}"
    with closing(sqlite3.connect(path)) as database:  # as the version before wrote it
        merged = [(f"{key}\x1fsn-2", f"{key}\x1fsn-3"), (f"{key}\x1fsn-1", f"{key}\x1fSN-1")]
        database.execute("UPDATE decisions SET subject = ?, other = ? WHERE what = 'merge'", merged[0])
        columns = "(what, kind, subject, other, reason, who, at)"
        database.execute(
            f"INSERT INTO decisions {columns} VALUES ('merge', '', ?, ?, 'one', 'kim', 1)", merged[1]
        )
        database.execute("ALTER TABLE decisions DROP COLUMN called")
        database.execute("DELETE FROM schema_version WHERE version > 12")
        database.commit()
    with Store.open(path) as store:
        assert faults_of(store) == ()
        assert sorted(row.key.partition("\x1f")[2] for row in store.machines()) == ["SN-1", "SN-3"]
        store.unmerge("SN-2", who="kim")
        assert sorted(row.key.partition("\x1f")[2] for row in store.machines()) == ["SN-1", "SN-2", "SN-3"]
        assert [one.what for one in store.decisions()] == ["split"]


def shape(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """The tables with their columns (in whatever order they stand there), the indexes with theirs."""
    with sqlite3.connect(path) as database:
        names = database.execute("SELECT name FROM sqlite_schema WHERE type IN ('table', 'index')").fetchall()
        found = {}
        for (name,) in names:
            columns = database.execute(
                'SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_info(?) ORDER BY name',
                (name,),
            )
            indexed = database.execute("SELECT seqno, name FROM pragma_index_info(?) ORDER BY seqno", (name,))
            found[name] = columns.fetchall() + indexed.fetchall()
    database.close()
    return found


def test_a_tally_that_limited_runs_keeps_its_limits_and_decisions(tmp_path: Path) -> None:
    """The version before wrote down which runs brought a machine, and which did so beyond the limit."""
    path = tmp_path / "tally.db"
    with Store.open(path) as store:
        for number in range(12):
            machine = Machine(None, None, disk(number), (f"PC-{number}",))
            store.add(Told(number, machine, station="hog").story("repaired"))
            store.add(Told(number, machine, station="good").story("repaired"))
    with closing(sqlite3.connect(path)) as database:
        database.execute("ALTER TABLE events ADD COLUMN came INTEGER NOT NULL DEFAULT '0'")
        firsts = database.execute(
            "SELECT min(number) FROM events WHERE station = 'hog' GROUP BY run"
        ).fetchall()
        for place, (number,) in enumerate(sorted(firsts)):
            came = 1 if place < 10 else 2
            database.execute("UPDATE events SET came = ? WHERE number = ?", (came, number))
        database.execute("ALTER TABLE events DROP COLUMN most")
        columns = "(what, kind, subject, other, reason, who, at)"
        for what in ("count", "discount"):
            kind, subject = ("many", "hog/2026-03-02") if what == "count" else ("", "good")
            values = (what, kind, subject, "", "x", "kim", 1)
            database.execute(f"INSERT INTO decisions {columns} VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        database.execute("DELETE FROM schema_version WHERE version > 16")
        database.commit()
    with Store.open(path) as store:
        assert faults_of(store) == ()
        assert store.summary().total == 12
        (dispute,) = store.disputes()
        store.settle(dispute.code, None, reason="", who="kim")
        assert (store.summary().total, store.summary().undecided) == (10, 2)
        store.add(Told(50, Machine(None, None, disk(50), ("PC-50",)), station="hog").story("repaired"))
        assert faults_of(store) == ()
    new = tmp_path / "new.db"
    Store.open(new).close()
    assert shape(path) == shape(new)
