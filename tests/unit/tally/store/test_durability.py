"""What `add` returned from is on the disk; what it raised from left nothing, and the next call works."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event
from support.tally_events import Told, disk
from support.tally_sums import faults_of, settings_of

from unbrick.errors import Reason
from unbrick.model import Machine
from unbrick.tally.records import ReceivedEvent, StoreError, StoreFullError
from unbrick.tally.store import migrations
from unbrick.tally.store.store import Store


def repaired(number: int, **details: Any) -> list[ReceivedEvent]:
    told = Told(number, Machine(None, None, disk(number), (f"W-{number:05}",)))
    return [*told.story("repaired"), *([told.tell("note", **details)] if details else [])]


def test_the_database_itself_says_that_a_commit_is_synced(tmp_path: Path) -> None:
    with Store.open(tmp_path / "tally.db") as store:
        assert settings_of(store) == {
            "journal_mode": "wal",
            "synchronous": 2,
            "foreign_keys": 1,
            "busy_timeout": 15_000,
        }
    assert (tmp_path / "tally.db").stat().st_mode & 0o777 == 0o600


def test_a_place_that_cannot_be_durable_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unbrick.tally.books.database._PRAGMAS", ("synchronous=OFF",))
    with pytest.raises(StoreError, match="journal_mode is delete"):
        Store.open(tmp_path / "tally.db")


def test_what_was_added_is_there_after_the_file_was_closed(tmp_path: Path) -> None:
    with Store.open(tmp_path / "tally.db") as store:
        store.add(repaired(1))
        before = store.machines()
    with Store.open(tmp_path / "tally.db", create=False) as store:
        assert store.machines() == before
        assert store.add(repaired(1)) == 0


def limit_pages(store: Store, pages: int) -> None:
    """SQLite's own limit stands for the disk's: the error is the same."""

    def set_limit(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}")

    engine = store._own._engine
    engine.dispose()
    event.listen(engine, "connect", set_limit)


def test_a_full_disk_keeps_nothing_of_a_batch_and_later_takes_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "tally.db"
    with Store.open(path) as store:
        store.add(repaired(1))
        before = (store.summary().events, store.machines())
        limit_pages(store, path.stat().st_size // 4096 + 4)
        large = [one for number in range(2, 40) for one in repaired(number, text="x" * 4000)]
        for _ in range(2):
            with pytest.raises(StoreFullError) as caught:
                store.add(large)
            assert caught.value.reason == Reason.DISK_FULL
            assert (store.summary().events, store.machines()) == before
        assert faults_of(store) == ()
        limit_pages(store, 1_000_000)
        assert store.add(large) == len(large)
        assert store.summary().total == 39
        assert faults_of(store) == ()


def test_an_error_in_the_middle_of_a_batch_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with Store.open(tmp_path / "tally.db") as store:
        with monkeypatch.context() as patched:
            patched.setattr("unbrick.tally.count.counting._add_to_totals", fail)
            with pytest.raises(StoreError):
                store.add(repaired(1))
        assert (store.summary().events, store.machines()) == (0, ())
        assert store.add(repaired(1)) == 3
        assert faults_of(store) == ()


_WRITER = """
    import sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[2])
    from unit.tally.store.test_durability import repaired
    from unbrick.tally.store.store import Store
    store = Store.open(Path(sys.argv[1]))
    for number in range(100_000):
        store.add(repaired(number))
        print(number, flush=True)
"""


@pytest.mark.parametrize("answers", [1, 2, 7, 12, 19])
def test_after_a_kill_everything_acknowledged_is_there_and_all_of_it_agrees(
    tmp_path: Path, answers: int
) -> None:
    tests = Path(__file__).resolve().parents[3]
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_WRITER), str(tmp_path / "tally.db"), str(tests)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    with writer, writer.stdout as said:
        for _ in range(answers):
            last = int(said.readline())
        os.kill(writer.pid, signal.SIGKILL)
        last = max([last, *map(int, said.read().split())])
    with Store.open(tmp_path / "tally.db", create=False) as store:
        assert faults_of(store) == ()
        names = {row.name for row in store.machines(status="repaired", limit=None)}
        assert names >= {f"W-{number:05}" for number in range(last + 1)}
        store.add(repaired(last + 1))
        assert store.summary().total in {last + 2, len(names)}


def test_several_threads_add_and_one_more_looks_at_the_same_time(tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def work(first: int) -> None:
        try:
            for number in range(first, first + 5):
                store.add(repaired(number))
                store.summary()
        except BaseException as error:
            errors.append(error)
            raise

    with Store.open(tmp_path / "tally.db") as store, Store.open(tmp_path / "tally.db") as other:
        threads = [threading.Thread(target=work, args=(first,)) for first in (0, 100, 200)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            summary = other.summary()
            assert summary.events % 3 == 0
            assert summary.total == summary.events // 3
        assert errors == []
        assert other.summary().total == 15
        assert faults_of(other) == ()


def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "tally.db"
    with Store.open(path) as store:
        store.add(repaired(1))
    newer = len(migrations.MIGRATIONS) + 1
    with sqlite3.connect(path) as writer:
        writer.execute("insert into schema_version values (?, 0)", (newer,))
    writer.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=f"has version {newer}"):
        Store.open(path)
    assert path.read_bytes() == before


def test_migrations_are_applied_in_order_once_and_whole(tmp_path: Path) -> None:
    def second(connection: Connection) -> None:
        connection.exec_driver_sql("CREATE TABLE second (number INTEGER)")

    def broken(connection: Connection) -> None:
        connection.exec_driver_sql("CREATE TABLE third (number INTEGER)")
        connection.exec_driver_sql("this is no SQL")

    with Store.open(tmp_path / "tally.db") as store:
        database = store._database
        steps = (*migrations.MIGRATIONS, second)
        for _ in range(2):
            with database.write() as connection:
                assert migrations.migrate(connection, steps) == len(steps)
        with pytest.raises(StoreError), database.write() as connection:
            migrations.migrate(connection, (*steps, broken))
        with database.read() as connection:
            assert migrations.version_of(connection) == len(steps)
            tables = connection.exec_driver_sql("select name from sqlite_schema").scalars().all()
        assert "second" in tables
        assert "third" not in tables


def test_a_missing_database_is_made_only_where_that_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no tally database"):
        Store.open(tmp_path / "tally.db", create=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", [b"not a database at all, but long enough" * 40, b"SQLite format 3\0" * 300]
)
def test_another_kind_of_file_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tally.db"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged, or is no database"):
        Store.open(path)
    assert path.read_bytes() == content


def test_somebody_elses_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tally.db"
    with sqlite3.connect(path) as writer:
        writer.execute("create table accounts (number integer)")
    writer.close()
    with pytest.raises(StoreError, match="not a tally's"):
        Store.open(path)


def test_a_number_that_was_tampered_with_is_told(tmp_path: Path) -> None:
    path = tmp_path / "tally.db"
    with Store.open(path) as store:
        store.add(repaired(1))
    with sqlite3.connect(path) as writer:
        writer.execute("update counters set machines = 7")
        writer.execute("update machines set status = 'healthy'")
    writer.close()
    with Store.open(path) as store:
        said = " / ".join(faults_of(store))
    assert "counters" in said
    assert "differs in status" in said
