"""An export says what is not in it, and has all that can be read."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from support.tally_events import Told, disk

from unbrick.events.event import NAMESPACE
from unbrick.model import Machine
from unbrick.signing.signature import armor
from unbrick.tally.records import ReceivedEvent
from unbrick.tally.store.looking import LookingDatabase
from unbrick.tally.store.store import Store
from unbrick.tally.trust.register import StationRegister, write_register
from unbrick.tally.upkeep.export_reports import Exported, write_file, write_folder

VISITS = 300
REPORTS = 3 * VISITS
SIGNATURE = armor(b"a key", b"a signature", NAMESPACE)


def signed(event: ReceivedEvent) -> ReceivedEvent:
    """With a signature that at least has the shape of one."""
    return replace(event, signed=replace(event.signed, signature=SIGNATURE))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A tally's database that was closed well, with its mark."""
    (tmp_path / "tally").mkdir()
    path = tmp_path / "tally" / "tally.db"
    told = [Told(number, Machine(None, None, disk(number), (f"W-{number}",))) for number in range(VISITS)]
    with Store.open(path) as store:
        store.add([signed(event) for one in told for event in one.story("repaired")])
    write_register(path.with_name("stations.json"), ())
    return path


def exported(database: Path) -> tuple[Exported, set[str]]:
    """Written as lines and as a folder; both say the same."""
    lines, folder = database.parent.with_name("all.jsonl"), database.parent.with_name("given")
    with LookingDatabase(database) as looking:
        done = write_file(looking, lines)
        again = write_folder(looking, StationRegister(database.with_name("stations.json")), folder)
    assert done == again
    data = {json.loads(line)["data"] for line in lines.read_text().splitlines()}
    assert data == {path.read_text() for path in folder.glob("*/*.json")}
    return done, data


def harm(database: Path, statement: str) -> None:
    with closing(sqlite3.connect(database)) as writer, writer:
        writer.execute(statement)


def test_a_whole_tally_is_given_away_without_a_word(database: Path) -> None:
    done, data = exported(database)
    assert (done.reports, len(data), done.complaints) == (REPORTS, REPORTS, [])


@pytest.mark.parametrize(
    ("statements", "here", "said"),
    [
        (
            [
                "delete from events where id in (select event from ledger where number > 890)",
                "delete from ledger where number > 890",
            ],
            890,
            "10 acknowledged reports are missing",
        ),
        (
            ["delete from events where id in (select event from ledger where number between 5 and 9)"],
            REPORTS - 5,
            "5 reports are acknowledged and missing in tally.db",
        ),
        (["delete from ledger where number between 5 and 9"], REPORTS, "5 reports are in no ledger"),
        (
            ["update events set signature = x'00' where rowid = 7"],
            REPORTS - 1,
            "tally.db is damaged: 1 report is not readable",
        ),
        (
            ["update events set data = x'ff' where rowid in (7, 8)"],
            REPORTS - 2,
            "tally.db is damaged: 2 reports are not readable",
        ),
        (
            ["update events set data = cast(replace(data, 'W-2', 'W-3') as blob) where rowid = 9"],
            REPORTS,
            "1 report is not what was signed",
        ),
    ],
)
def test_what_is_missing_is_said_with_its_number_and_the_rest_is_given_away(
    database: Path, statements: list[str], here: int, said: str
) -> None:
    for statement in statements:
        harm(database, statement)
    done, data = exported(database)
    assert done.reports == here
    assert len(data) == here
    assert any(said in sentence for sentence in done.complaints), done.complaints


def remove_mark(database: Path) -> None:
    database.with_suffix(".mark").unlink()


def lose_the_newest(database: Path) -> None:
    """As an older copy put back, by the mark."""
    mark = database.with_suffix(".mark").read_bytes()
    with Store.open(database, create=False) as store:
        told = Told(999, Machine(None, None, disk(999), ("W-999",)))
        store.add([signed(event) for event in told.story("repaired")])
    newer = database.with_suffix(".mark").read_bytes()
    assert newer != mark
    harm(database, f"delete from events where id in (select event from ledger where number > {REPORTS})")
    harm(database, f"delete from ledger where number > {REPORTS}")


@pytest.mark.parametrize(
    ("lose", "said"),
    [
        (remove_mark, "tally.mark, which says what was acknowledged, is missing"),
        (lose_the_newest, "3 acknowledged reports are missing"),
    ],
)
def test_an_export_asks_the_mark(database: Path, lose: Callable[[Path], None], said: str) -> None:
    lose(database)
    done, _ = exported(database)
    assert done.reports == REPORTS
    assert [said in sentence for sentence in done.complaints] == [True]


@pytest.mark.parametrize("which", ["first", "middle", "last"])
def test_a_damaged_page_keeps_none_of_the_others_away(database: Path, which: str) -> None:
    with closing(sqlite3.connect(database)) as reader:
        find = "select pageno from dbstat where name = 'events' and pagetype = 'leaf' order by pageno"
        pages = [page for (page,) in reader.execute(find)]
        (size,) = reader.execute("pragma page_size").fetchone()
    page = pages[{"first": 0, "middle": len(pages) // 2, "last": -1}[which]]
    data = bytearray(database.read_bytes())
    data[(page - 1) * size : page * size] = b"\xa5" * size
    database.write_bytes(data)
    done, _ = exported(database)
    assert REPORTS - 10 < done.reports < REPORTS
    lost = REPORTS - done.reports
    assert any(f"{lost} report" in sentence for sentence in done.complaints), done.complaints
