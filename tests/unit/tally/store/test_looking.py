"""Looking at a tally changes no byte of it, wherever it lies and whoever may do what with it."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.earlier_tallies import make_earlier_tally
from support.tally_events import Told, disk
from support.tally_server import new_tally
from support.tally_sums import faults_of

from unbrick.model import Machine
from unbrick.tally.records import LossError, ReceivedEvent, StoreError
from unbrick.tally.store.store import Store

_LOOK = """
import sys
from pathlib import Path
sys.path.append(sys.argv[2])
from support.tally_sums import faults_of
from unbrick.tally.store.store import Store
with Store.look(Path(sys.argv[1])) as store:
    print(store.summary().events, store.loss(), faults_of(store))
"""


def visit(number: int) -> list[ReceivedEvent]:
    return Told(number, Machine(None, None, disk(number), (f"W-{number:05}",))).story("repaired")


def digests(folder: Path) -> dict[str, str]:
    """Every file below a folder, with its bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(params=["ended", "killed", "killed, without -shm", "killed, -shm is nonsense"])
def tally(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with six reports, as a server left it."""
    live, left = tmp_path / "live", tmp_path / "left"
    new_tally(live)
    with Store.open(live / "tally.db", create=False) as store:
        store.add(visit(1))
    with Store.open(live / "tally.db", create=False) as store:
        store.add(visit(2))
        shutil.copytree(live, left)
    if request.param == "ended":
        return live
    if request.param.endswith("without -shm"):
        (left / "tally.db-shm").unlink()
    elif request.param.endswith("nonsense"):
        (left / "tally.db-shm").write_bytes(b"\xa5" * 32768)
    return left


def test_looking_changes_no_byte(tally: Path) -> None:
    before = digests(tally)
    for _ in range(2):
        with Store.look(tally / "tally.db") as store:
            assert store.summary().events == 6
            assert store.loss() is None
            assert faults_of(store) == ()
            with pytest.raises(StoreError, match="to look only"):
                store.add(visit(3))
    assert digests(tally) == before


@pytest.fixture
def read_only(tally: Path, tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "mounted"
    place.mkdir()
    subprocess.run(["mount", "--bind", tally, place], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", place], check=True)
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_read_only_mount_is_looked_at(read_only: Path) -> None:
    with Store.look(read_only / "tally.db") as store:
        assert (store.summary().events, store.loss(), faults_of(store)) == (6, None, ())


def test_an_account_that_may_only_read_looks(tally: Path) -> None:
    # Not in pytest's own folder: every other run of pytest closes that to other accounts again.
    with tempfile.TemporaryDirectory() as root:
        place = Path(shutil.copytree(tally, Path(root) / "tally"))
        for path in (Path(root), place):
            path.chmod(0o755)
        for path in place.iterdir():
            path.chmod(0o644)
        before = digests(place)
        done = subprocess.run(
            [sys.executable, "-c", _LOOK, place / "tally.db", Path(__file__).parents[3]],
            capture_output=True,
            text=True,
            check=False,
            user=65534,
            group=65534,
            extra_groups=[],
        )
        assert (done.returncode, done.stdout) == (0, "6 None ()\n"), done.stderr
        assert digests(place) == before


def test_who_looks_sees_what_a_server_has_just_stored(tmp_path: Path) -> None:
    with Store.open(tmp_path / "tally.db") as store, Store.look(tmp_path / "tally.db") as looking:
        for number in range(1, 6):
            store.add(visit(number))
            assert looking.summary().events == 3 * number
            assert looking.loss() is None
    with Store.look(tmp_path / "tally.db") as looking:
        assert looking.summary().events == 15
        with Store.open(tmp_path / "tally.db", create=False) as store:
            store.add(visit(7))
        assert looking.summary().events == 18


def test_what_changes_under_the_look_is_not_taken_for_one_moment(tmp_path: Path) -> None:
    with Store.open(tmp_path / "tally.db") as store:
        store.add(visit(1))
    looking = Store.look(tmp_path / "tally.db")
    at_once = looking._database.read()
    at_once.__enter__()
    with Store.open(tmp_path / "tally.db", create=False) as store:
        store.add(visit(2))
    with pytest.raises(StoreError, match="was changed while it was looked at"):
        at_once.__exit__(None, None, None)
    assert looking.summary().events == 6


def test_an_older_database_is_looked_at_as_it_is(tmp_path: Path) -> None:
    make_earlier_tally(tmp_path / "tally.db", "names")
    with closing(sqlite3.connect(tmp_path / "tally.db")) as writer:
        writer.execute("pragma journal_mode=wal")
    before = digests(tmp_path)
    with Store.look(tmp_path / "tally.db") as store:
        assert store.summary().events > 0
        assert faults_of(store) == ()
    assert digests(tmp_path) == before


@pytest.mark.parametrize(
    ("content", "said"), [(None, "6 acknowledged"), (b"", "6 acknowledged"), (b"no" * 999, "")]
)
def test_what_is_no_database_is_said(tmp_path: Path, content: bytes | None, said: str) -> None:
    with Store.open(tmp_path / "tally.db") as store:
        store.add(visit(1))
        store.add(visit(2))
    (tmp_path / "tally.db").unlink()
    if content is not None:
        (tmp_path / "tally.db").write_bytes(content)
    before = digests(tmp_path)
    with pytest.raises(LossError if said else StoreError, match=said or "damaged, or is no database"):
        Store.look(tmp_path / "tally.db").summary()
    assert digests(tmp_path) == before


def moved(tally: Path, place: Path) -> None:
    """The database is on a larger disk now, with all that SQLite keeps beside it, and under another name."""
    place.mkdir()
    for path in tally.glob("tally.db*"):
        path.rename(place / path.name.replace("tally.db", "ward.sqlite"))
    (tally / "tally.db").symlink_to(place / "ward.sqlite")


def test_a_database_behind_a_link_is_looked_at_with_its_newest_reports(tally: Path, tmp_path: Path) -> None:
    moved(tally, tmp_path / "larger")
    before = digests(tally), digests(tmp_path / "larger")
    with Store.look(tally / "tally.db") as store:
        assert (store.summary().events, store.loss(), faults_of(store)) == (6, None, ())
    assert (digests(tally), digests(tmp_path / "larger")) == before
    with Store.open(tally / "tally.db", create=False) as store:
        assert store.settled is not None
        assert store.settled.loss is None
        with Store.look(tally / "tally.db") as looking:
            assert store.add(visit(3)) == 3
            assert (looking.summary().events, looking.loss()) == (9, None)
    assert (tally / "tally.mark").exists()
    assert not list((tmp_path / "larger").glob("*.mark"))


@pytest.mark.parametrize("name", ["ward.sqlite", "ward.sqlite-wal"])
def test_what_is_taken_away_behind_a_link_is_noticed(tmp_path: Path, name: str) -> None:
    tally, larger = tmp_path / "tally", tmp_path / "larger"
    new_tally(tally)
    moved(tally, larger)
    with Store.open(tally / "tally.db", create=False) as store:
        store.add(visit(1))
        (larger / name).rename(larger / "aside")
        with pytest.raises(StoreError, match="was removed or replaced while it is in use"):
            store.add(visit(2))
        (larger / "aside").rename(larger / name)
        (tally / "tally.db").unlink()
        (tally / "tally.db").write_bytes(b"")
        with pytest.raises(StoreError, match=r"tally\.db was removed or replaced"):
            store.add(visit(2))


def test_a_circle_of_links_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "tally.db").symlink_to(tmp_path / "tally.db")
    for opened in (Store.look, lambda path: Store.open(path, create=False)):
        with pytest.raises(StoreError):
            opened(tmp_path / "tally.db")
