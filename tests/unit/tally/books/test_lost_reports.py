"""Whatever became of the database's files, what was acknowledged and is not there is said with its number."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.tally_events import Told, disk
from support.tally_sums import faults_of

from unbrick.errors import Reason
from unbrick.model import Machine
from unbrick.tally.books.acknowledged import read_mark
from unbrick.tally.folder import TallyFolder
from unbrick.tally.records import LossError, ReceivedEvent, StoreError, StoreFullError
from unbrick.tally.store.opening import Opening, open_to_serve
from unbrick.tally.store.store import Store
from unbrick.tally.trust.audit import AuditLog

UNMARKED = r"^tally\.mark, which says what was acknowledged, is missing or damaged"
VISITS = 20
REPORTS = 3 * VISITS


def visit(number: int) -> list[ReceivedEvent]:
    """Three reports of a machine of its own."""
    return Told(number, Machine(None, None, disk(number), (f"W-{number:05}",))).story("repaired")


def killed(tmp_path: Path, visits: int = VISITS, *, settled: int = 0) -> Path:
    """What a kill leaves: the last visits are in the -wal only, the first `settled` in the database."""
    live, left = tmp_path / "live", tmp_path / "left"
    live.mkdir()
    if settled:
        with Store.open(live / "tally.db") as store:
            for number in range(settled):
                store.add(visit(number))
    with Store.open(live / "tally.db", create=not settled) as store:
        store.begin_serving()
        for number in range(settled, visits):
            store.add(visit(number))
        shutil.copytree(live, left)
    return left / "tally.db"


def events_in(database: Path) -> int:
    """How many there are for SQLite itself, looked at in a copy; 0 where there is no table (any more)."""
    copy = database.parent.with_name("looked-at")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(database.parent, copy)
    with closing(sqlite3.connect(copy / database.name)) as reader:
        try:
            return int(reader.execute("select count(*) from events").fetchone()[0])
        except sqlite3.OperationalError:
            return 0


def wal_of(database: Path) -> Path:
    return database.with_name("tally.db-wal")


def cut(database: Path) -> None:
    os.truncate(wal_of(database), wal_of(database).stat().st_size // 2)


def flip(database: Path) -> None:
    data = bytearray(wal_of(database).read_bytes())
    data[len(data) * 2 // 3] ^= 0x10
    wal_of(database).write_bytes(data)


def blank(database: Path) -> None:
    wal_of(database).write_bytes(bytes(wal_of(database).stat().st_size))


def remove(database: Path) -> None:
    wal_of(database).unlink()


@pytest.mark.parametrize("harm", [cut, flip, blank, remove])
def test_a_harmed_wal_is_said_with_the_number_of_reports(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    database = killed(tmp_path, settled=VISITS // 2)
    harm(database)
    missing = REPORTS - events_in(database)
    assert missing > 0
    for _ in range(2):
        with pytest.raises(LossError, match=f"^{missing} acknowledged reports are missing") as caught:
            Store.open(database, create=False)
        assert (caught.value.loss.events, caught.value.reason) == (missing, Reason.REPORTS_MISSING)
        assert "--accept-loss" in str(caught.value.hint)
    with Store.open(database, create=False, accept_loss=True) as store:
        assert store.settled is not None
        assert store.settled.loss == caught.value.loss
        assert store.add(visit(VISITS - 1)) == 3
        assert faults_of(store) == ()
    Store.open(database, create=False).close()


@pytest.mark.parametrize("content", [None, b"", b"\xa5" * 32768])
def test_the_shm_holds_nothing_that_could_be_lost(tmp_path: Path, content: bytes | None) -> None:
    database = killed(tmp_path)
    shm = database.with_name("tally.db-shm")
    if content is None:
        shm.unlink()
    else:
        shm.write_bytes(content)
    with Store.open(database, create=False) as store:
        assert store.summary().events == REPORTS
        assert faults_of(store) == ()


@pytest.mark.parametrize("left", [None, b""])
def test_a_database_that_is_gone_is_not_made_anew(tmp_path: Path, left: bytes | None) -> None:
    database = killed(tmp_path)
    for path in database.parent.glob("tally.db*"):
        path.unlink()
    if left is not None:
        database.write_bytes(left)
    for create in (False, True):
        with pytest.raises(LossError, match=f"database is gone: {REPORTS} acknowledged reports are missing"):
            Store.open(database, create=create)
    assert not database.exists() or database.read_bytes() == b""
    with Store.open(database, create=False, accept_loss=True) as store:
        assert store.settled is not None
        assert store.settled.loss is not None
        assert store.settled.loss.events == REPORTS
        assert store.add(visit(1)) == 3


def test_an_older_copy_lacks_what_came_after_it(tmp_path: Path) -> None:
    older = killed(tmp_path, 5)
    database = tmp_path / "live" / "tally.db"
    with Store.open(database, create=False) as store:
        store.add(visit(7))
    for path in database.parent.glob("tally.db*"):
        path.unlink()
    for path in older.parent.glob("tally.db*"):
        shutil.copy(path, database.parent)
    with pytest.raises(LossError, match=r"^3 acknowledged reports are missing"):
        Store.open(database, create=False)


@pytest.mark.parametrize("visits", [2, VISITS + 5])
def test_the_database_of_another_tally_is_noticed_whatever_it_holds(tmp_path: Path, visits: int) -> None:
    database = killed(tmp_path)
    (tmp_path / "other").mkdir()
    with Store.open(tmp_path / "other" / "tally.db") as other:
        for number in range(100, 100 + visits):
            other.add(visit(number))
    wal_of(database).unlink()
    shutil.copy(tmp_path / "other" / "tally.db", database)
    with pytest.raises(LossError) as caught:
        Store.open(database, create=False)
    assert caught.value.loss.events >= REPORTS - 3 * visits
    assert caught.value.loss.other == (visits > VISITS)


def test_a_lost_change_by_a_person_is_loud_as_well(tmp_path: Path) -> None:
    database = killed(tmp_path, 1)
    with Store.open(database, create=False) as store:
        without = tmp_path / "without"
        shutil.copytree(database.parent, without)
        store.mark("W-00000", "re-imaged", reason="by hand", who="kim")
    shutil.copy(database.with_name("tally.mark"), without)
    with pytest.raises(LossError, match=r"^1 change made at the tally .* is missing"):
        Store.open(without / "tally.db", create=False)


def test_lost_acts_of_persons_are_told_beside_lost_reports(tmp_path: Path) -> None:
    database = killed(tmp_path, 1)
    without = tmp_path / "without"
    with Store.open(database, create=False) as store:
        shutil.copytree(database.parent, without)
        store.add(visit(1))
        store.mark("W-00000", "re-imaged", reason="by hand", who="kim")
        store.discount("stick-1", discounted=True, reason="stolen", who="kim")
        store.discount("stick-1", discounted=False, reason="found", who="kim")
    shutil.copy(database.with_name("tally.mark"), without)
    sentence = r"^3 acknowledged reports are missing, and 3 acts of persons at the tally"
    with pytest.raises(LossError, match=sentence):
        Store.open(without / "tally.db", create=False)
    with Store.look(without / "tally.db") as looking:
        loss = looking.loss()
    assert loss is not None
    assert (loss.events, loss.acts) == (3, 3)
    said, audit = served(without / "tally.db", "kim")
    assert any("audit.log" in one for one in said)
    assert [one["acts"] for one in audit if one["what"] == "loss-accepted"] == [3]


@pytest.mark.parametrize("harm", ["removed", "emptied", "both slots", "one slot", "the other slot"])
def test_a_torn_mark_is_not_lost_and_a_lost_one_is_made_anew_and_told(tmp_path: Path, harm: str) -> None:
    database = killed(tmp_path)
    mark = database.with_name("tally.mark")
    data = bytearray(mark.read_bytes())
    slots = {"both slots": (0, 4096), "one slot": (0,), "the other slot": (4096,)}
    for start in slots.get(harm, ()):
        data[start + 30 : start + 60] = bytes(30)
    if harm == "removed":
        mark.unlink()
    else:
        mark.write_bytes(b"" if harm == "emptied" else data)
    is_lost = harm not in slots.keys() - {"both slots"}
    said, _ = served(database, "kim" if is_lost else None)
    assert any(f"from the {REPORTS} reports that are here" in line for line in said) == is_lost
    found = read_mark(mark)
    assert found is not None
    assert found.head.events == REPORTS


def test_a_commit_whose_mark_finds_no_room_is_not_acknowledged_and_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Store.open(tmp_path / "tally.db") as store:
        store.add(visit(1))
        with monkeypatch.context() as patched:
            patched.setattr(os, "fdatasync", full)
            for _ in range(2):
                with pytest.raises(StoreFullError) as caught:
                    store.add(visit(2))
                assert caught.value.reason == Reason.DISK_FULL
        mark = read_mark(tmp_path / "tally.mark")
        assert mark is not None
        assert store.add(visit(2)) == 0
        mark = read_mark(tmp_path / "tally.mark")
        assert mark is not None
        assert mark.head.events == store.summary().events == 6


def test_a_mark_that_was_not_reached_is_taken_over(tmp_path: Path) -> None:
    with Store.open(tmp_path / "tally.db") as store:
        store.add(visit(1))
        behind = (tmp_path / "tally.mark").read_bytes()
        store.add(visit(2))
    (tmp_path / "tally.mark").write_bytes(behind)
    with Store.open(tmp_path / "tally.db", create=False) as store:
        assert store.settled is not None
        assert store.settled.loss is None
        assert store.settled.head.events == 6
    mark = read_mark(tmp_path / "tally.mark")
    assert mark is not None
    assert mark.head.events == 6


@pytest.mark.parametrize("name", ["tally.db", "tally.db-wal"])
def test_nothing_is_acknowledged_into_files_that_were_taken_away(tmp_path: Path, name: str) -> None:
    with Store.open(tmp_path / "tally.db") as store:
        store.add(visit(1))
        (tmp_path / name).rename(tmp_path / "aside")
        with pytest.raises(StoreError, match="was removed or replaced while it is in use"):
            store.add(visit(2))
        (tmp_path / "aside").rename(tmp_path / name)
        assert store.add(visit(2)) == 3
        assert faults_of(store) == ()


def served(database: Path, accepted_by: str | None = None) -> tuple[list[str], list[dict[str, Any]]]:
    """Open and close it as a server does; what was said, and what the audit has."""
    folder = TallyFolder(database.parent)
    said: list[str] = []
    try:
        with open_to_serve(folder, AuditLog(folder.audit), Opening(accepted_by, said.append)) as store:
            store.end_serving()
    finally:
        lines = folder.audit.read_text().splitlines() if folder.audit.exists() else []
    return said, [json.loads(line) for line in lines]


def test_who_accepts_a_loss_is_written_down_and_told_what_can_be_done(tmp_path: Path) -> None:
    database = killed(tmp_path)
    remove(database)
    missing = REPORTS - events_in(database)
    with pytest.raises(LossError):
        served(database)
    said, audit = served(database, "kim")
    assert said[0] == f"{missing} acknowledged reports are missing; accepted by kim"
    assert "`unbrick tally import`" in said[1]
    (accepted,) = [one for one in audit if one["what"] == "loss-accepted"]
    assert (accepted["events"], accepted["by"]) == (missing, "kim")
    assert [one["events"] for one in audit if one["what"] == "reports-missing"] == [missing]
    assert served(database) == ([], audit)


def test_after_an_unclean_end_reports_that_are_no_longer_there_are_missed(tmp_path: Path) -> None:
    """As where the -wal went in the middle of a checkpoint: the ledger is newer than the reports."""
    database = killed(tmp_path)
    with closing(sqlite3.connect(database)) as writer, writer:
        writer.execute("delete from events where rowid > 50")
    with pytest.raises(LossError, match=f"^{REPORTS - 50} acknowledged reports are missing"):
        served(database)
    said, _ = served(database, "kim")
    assert said[0].startswith(f"{REPORTS - 50} acknowledged")
    assert served(database)[0] == []


def test_after_an_unclean_end_a_changed_report_is_noticed(tmp_path: Path) -> None:
    database = killed(tmp_path)
    with closing(sqlite3.connect(database)) as writer, writer:
        writer.execute("update events set data = replace(data, 'W-', 'X-') where rowid = 41")
    with pytest.raises(StoreError, match="is not what was signed"):
        served(database)


def test_a_clean_end_needs_no_look(tmp_path: Path) -> None:
    with Store.open(tmp_path / "tally.db") as store:
        assert store.begin_serving() is None
        store.add(visit(1))
        store.end_serving()
        assert store.begin_serving() is None
    with Store.open(tmp_path / "tally.db", create=False) as store:
        found = store.begin_serving()
        assert found is not None
        assert (found.missing, found.complaints, found.whole) == (0, (), True)


def test_an_old_copy_is_another_history_also_where_the_acceptance_itself_was_lost(tmp_path: Path) -> None:
    path = tmp_path / "tally.db"
    with Store.open(path) as store:
        store.add(visit(1))
    first = path.read_bytes()
    with Store.open(path, create=False) as store:
        store.add(visit(2))
    older = path.read_bytes()
    with Store.open(path, create=False) as store:
        store.add(visit(3))
    path.write_bytes(first)
    Store.open(path, create=False, accept_loss=True).close()
    path.write_bytes(first)  # as where the -wal with the acceptance went
    with Store.open(path, create=False) as store:
        for number in (4, 5, 6):
            store.add(visit(number))
    path.write_bytes(older)
    with pytest.raises(LossError, match=r"another one, or an old copy: up to 12 acknowledged"):
        Store.open(path, create=False)


def test_a_look_ends_in_time_and_says_that_it_was_not_whole(tmp_path: Path) -> None:
    database = killed(tmp_path, 2)
    with Store.open(database, create=False) as store:
        found = store.begin_serving(seconds=-1)
        assert found is not None
        assert (found.missing, found.complaints, found.whole) == (0, (), False)


def test_the_wal_does_not_grow_for_ever_and_only_the_writer_checkpoints(tmp_path: Path) -> None:
    with Store.open(tmp_path / "tally.db") as store:
        for number in range(40):
            told = Told(number, Machine(None, None, disk(number), (f"W-{number:05}",)))
            store.add([told.tell("note", text="x" * 4000) for _ in range(100)])
            with store._database.read() as connection:
                assert connection.exec_driver_sql("PRAGMA wal_autocheckpoint").scalar() == 0
        assert wal_of(tmp_path / "tally.db").stat().st_size < 8_000_000
        assert (tmp_path / "tally.db").stat().st_size > 16_000_000


def test_a_database_of_before_gets_its_ledger_and_its_mark(tmp_path: Path) -> None:
    with Store.open(tmp_path / "tally.db") as store:
        for number in range(3):
            store.add(visit(number))
    (tmp_path / "tally.mark").unlink()
    with closing(sqlite3.connect(tmp_path / "tally.db")) as writer, writer:
        writer.execute("drop table ledger")
        writer.execute("drop table changes")
        writer.execute("delete from schema_version where version > 3")
    with Store.open(tmp_path / "tally.db", create=False) as store:
        assert store.settled is not None
        assert (store.settled.head.events, store.settled.loss) == (9, None)
        assert faults_of(store) == ()


@pytest.mark.parametrize("first", [2, VISITS, 550])
def test_a_ledger_without_its_beginning_is_noticed_at_once(tmp_path: Path, first: int) -> None:
    database = killed(tmp_path, 1)
    with Store.open(database, create=False) as store:
        told = Told(7, Machine(None, None, disk(7), ("W-7",)))
        store.add([told.tell("note", text="here") for _ in range(600)])
        with store._database.write() as connection:
            connection.exec_driver_sql(f"delete from ledger where number < {first}")
        found = store.begin_serving(seconds=3600.0)
        assert found is not None
        assert found.complaints == (f"the ledger does not fit together at number {first - 1}",)


def test_a_ledger_that_begins_with_another_link_is_noticed(tmp_path: Path) -> None:
    with Store.open(killed(tmp_path, 1), create=False) as store:
        with store._database.write() as connection:
            connection.exec_driver_sql("delete from ledger where number > 1")
            connection.exec_driver_sql("update ledger set chain = zeroblob(32)")
        found = store.begin_serving()
        assert found is not None
        assert "the ledger does not fit together at number 1" in found.complaints


def remove_mark(mark: Path) -> None:
    mark.unlink()


def empty_mark(mark: Path) -> None:
    mark.write_bytes(b"")


@pytest.mark.parametrize("harm", [remove_mark, empty_mark])
@pytest.mark.parametrize("settled", [0, VISITS])
def test_a_lost_mark_is_loud_and_made_anew_only_where_a_person_accepts_that(
    tmp_path: Path, harm: Callable[[Path], None], settled: int
) -> None:
    database = killed(tmp_path, settled=settled)
    mark = database.with_name("tally.mark")
    harm(mark)
    left = mark.exists()
    for opened in (lambda: Store.open(database, create=False), lambda: served(database)):
        with pytest.raises(LossError, match=UNMARKED) as caught:
            opened()
        assert caught.value.reason == Reason.REPORTS_MISSING
        assert "--accept-loss" in str(caught.value.hint)
        assert (mark.exists(), read_mark(mark)) == (left, None)
    with Store.look(database) as looking:
        loss = looking.loss()
        assert loss is not None
        assert loss.unmarked
    said, audit = served(database, "kim")
    assert said[0].endswith("accepted by kim")
    assert f"made anew from the {REPORTS} reports" in said[2]
    assert [one["events"] for one in audit if one["what"] == "mark-made-anew"] == [REPORTS]
    assert [one["by"] for one in audit if one["what"] == "loss-accepted"] == ["kim"]
    with Store.look(database) as looking:
        assert looking.loss() is None
    Store.open(database, create=False).close()


def test_a_lost_mark_is_told_also_where_the_database_is_brought_forward_first(tmp_path: Path) -> None:
    database = killed(tmp_path, settled=VISITS)
    with closing(sqlite3.connect(database)) as writer, writer:
        writer.execute("delete from schema_version where version = (select max(version) from schema_version)")
    database.with_name("tally.mark").unlink()
    with Store.look(database) as looking:
        loss = looking.loss()
        assert loss is not None
        assert loss.unmarked
    with pytest.raises(LossError, match=UNMARKED):
        Store.open(database, create=False)
    assert f"made anew from the {REPORTS} reports" in served(database, "kim")[0][2]


def test_a_tally_that_has_nothing_needs_no_mark(tmp_path: Path) -> None:
    Store.open(tmp_path / "tally.db").close()
    (tmp_path / "tally.mark").unlink()
    Store.open(tmp_path / "tally.db", create=False).close()
    with Store.open(tmp_path / "tally.db", create=False) as store:
        store.mark("W-1", "re-imaged", reason="by hand", who="kim", new=True)
    (tmp_path / "tally.mark").unlink()
    with pytest.raises(LossError, match=UNMARKED):
        Store.open(tmp_path / "tally.db", create=False)


def test_a_mark_taken_away_from_who_writes_is_made_of_what_that_knows(tmp_path: Path) -> None:
    with Store.open(tmp_path / "tally.db") as store:
        store.add(visit(1))
        (tmp_path / "tally.mark").unlink()
        store.add(visit(2))
        (tmp_path / "tally.mark").unlink()
        with store._database.read() as connection:
            connection.exec_driver_sql("delete from ledger where number > 3")
            connection.commit()
        with pytest.raises(LossError, match="3 acknowledged reports are missing"):
            store.add(visit(3))


def test_where_database_and_mark_are_gone_who_accepts_that_is_told_and_written_down(tmp_path: Path) -> None:
    for path in tmp_path.iterdir():
        path.unlink()
    with pytest.raises(StoreError, match="there is no tally database"):
        served(tmp_path / "tally.db")
    said, audit = served(tmp_path / "tally.db", "kim")
    assert "database is gone, and tally.mark with it" in said[0]
    assert [one["by"] for one in audit if one["what"] == "loss-accepted"] == ["kim"]


def test_a_mark_that_may_not_be_read_is_not_called_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = killed(tmp_path, settled=VISITS)
    opened = Path.open

    def closed(self: Path, *arguments: Any, **options: Any) -> Any:
        if self.suffix == ".mark":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", closed)
    with Store.look(database) as looking:
        assert looking.loss() is None
