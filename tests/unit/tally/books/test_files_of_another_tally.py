"""A database and a mark belong to one tally's folder; those of another, or one file of two, are refused."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from support.tally_events import Told, disk

from unbrick.model import Machine
from unbrick.tally.books.acknowledged import MarkFile, read_mark
from unbrick.tally.folder import TallyFolder, parse_address
from unbrick.tally.records import LossError, StoreError
from unbrick.tally.store.opening import Opening, open_to_serve
from unbrick.tally.store.store import Store
from unbrick.tally.trust.audit import AuditLog
from unbrick.tally.trust.authority import create_authority
from unbrick.tally.upkeep.backup import back_up
from unbrick.tally.upkeep.check import check_tally


def tally(path: Path, visits: int) -> Path:
    """A tally's folder with so many machines."""
    with Store.open(create_authority(path, parse_address("127.0.0.1")).database) as store:
        for number in range(visits):
            store.add(Told(number, Machine(None, None, disk(number), (f"W-{number}",))).story("repaired"))
    return path


def served(path: Path, accepted_by: str | None = None) -> list[str]:
    """Serve it for a moment; gives what the log says."""
    said: list[str] = []
    folder = TallyFolder(path)
    store = open_to_serve(folder, AuditLog(folder.audit), Opening(accepted_by, said.append))
    store.end_serving()
    store.close()
    return said


def audited(path: Path, what: str) -> int:
    log = path / "audit.log"
    return log.read_text().count(f'"{what}"') if log.exists() else 0


def unbind(path: Path) -> None:
    """What an unbrick of before this rule left."""
    with closing(sqlite3.connect(path / "tally.db")) as database:
        database.execute("PRAGMA application_id = 0")
    mark, file = read_mark(path / "tally.mark"), MarkFile(path / "tally.mark")
    assert mark is not None
    with file.held():
        file.write(replace(mark, folder=""))
        file.write(replace(mark, folder=""))
    file.close()


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("tally.db", "tally.mark"), "tally.db and tally.mark are of another tally: "),
        (("tally.mark",), "tally.mark is of another tally: "),
    ],
)
@pytest.mark.parametrize("own", [0, 3, 9])
def test_the_files_of_another_tally_are_refused(
    tmp_path: Path, own: int, names: tuple[str, ...], said: str
) -> None:
    here, other = tally(tmp_path / "here", own), tally(tmp_path / "other", 5)
    assert (served(here), served(other)) == ([], [])
    for name in names:
        shutil.copy(other / name, here)
    for _ in range(2):
        with pytest.raises(LossError, match=f"^{said}whether acknowledged reports of this one") as caught:
            served(here)
    assert "serve the folder that these are of" in (caught.value.hint or "")
    with pytest.raises(LossError, match=f"^{said}"):
        Store.open(here / "tally.db", create=False)
    with Store.look(here / "tally.db") as looking:
        assert str(looking.loss()).startswith(said)
    assert any(one.startswith(said) for one in check_tally(here, signatures=False).complaints)


def test_who_takes_them_over_says_so_once(tmp_path: Path) -> None:
    here, other = tally(tmp_path / "here", 3), tally(tmp_path / "other", 5)
    for name in ("tally.db", "tally.mark"):
        shutil.copy(other / name, here)
    assert served(here, "kim")[0].endswith("cannot be told; accepted by kim")
    assert (audited(here, "loss-accepted"), audited(here, "database-bound")) == (1, 1)
    assert served(here) == []
    assert check_tally(here, signatures=False).is_well


def test_another_database_without_a_mark_is_another_tally_s(tmp_path: Path) -> None:
    here, other = tally(tmp_path / "here", 3), tally(tmp_path / "other", 5)
    shutil.copy(other / "tally.db", here)
    (here / "tally.mark").unlink()
    with pytest.raises(LossError, match=r"^tally\.db is of another tally"):
        served(here)


def test_another_database_beside_the_own_mark_lacks_what_that_vouches_for(tmp_path: Path) -> None:
    here, other = tally(tmp_path / "here", 6), tally(tmp_path / "other", 5)
    shutil.copy(other / "tally.db", here)
    with pytest.raises(LossError, match=r"^3 acknowledged reports are missing"):
        served(here)
    new = tally(tmp_path / "new", 0)
    shutil.copy(other / "tally.db", new)
    with pytest.raises(LossError, match=r"^tally\.db is of another tally"):
        served(new)


def test_a_folder_of_before_is_bound_once_and_that_is_said(tmp_path: Path) -> None:
    here, other = tally(tmp_path / "here", 3), tally(tmp_path / "other", 5)
    unbind(here)
    assert served(here) == [
        "tally.db and tally.mark are bound to this tally: another tally's folder refuses them"
    ]
    assert (served(here), audited(here, "database-bound")) == ([], 1)
    for name in ("tally.db", "tally.mark"):
        shutil.copy(here / name, other)
    with pytest.raises(LossError, match="another tally"):
        served(other)


def test_a_copy_of_the_tally_is_the_same_tally(tmp_path: Path) -> None:
    here = tally(tmp_path / "here", 3)
    assert back_up(here, tmp_path / "copy").found.is_well
    assert served(tmp_path / "copy") == []
    shutil.copy(tmp_path / "copy" / "tally.db", here)
    assert served(here) == []


def test_one_file_with_two_names_is_not_written(tmp_path: Path) -> None:
    here, other = tally(tmp_path / "here", 3), tmp_path / "other"
    other.mkdir()
    os.link(here / "tally.db", other / "tally.db")
    said = r"^tally\.db has a second name somewhere \(a hard link\)"
    for folder in (here, other):
        with pytest.raises(StoreError, match=said):
            Store.open(folder / "tally.db", create=False)
    assert check_tally(here, signatures=False).complaints[0].startswith("tally.db has a second name")
    (other / "tally.db").unlink()
    assert served(here) == []
