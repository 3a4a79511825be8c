"""A backup has the files of a tally and no other, and says what it could not copy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from unbrick.errors import UsageError
from unbrick.tally.folder import TallyFolder, parse_address
from unbrick.tally.store.store import Store
from unbrick.tally.trust.authority import create_authority
from unbrick.tally.upkeep.backup import back_up

FILES = {
    "authority.pub",
    "host_key",
    "host_key-cert.pub",
    "settings.json",
    "station",
    "station-cert.pub",
    "stations.json",
    "tally.db",
    "tally.mark",
    "unbrick.yaml",
}


def new_tally(path: Path, authority: Path | None = None) -> TallyFolder:
    folder = create_authority(path, parse_address("127.0.0.1"), authority=authority)
    Store.open(folder.database).close()
    return folder


@pytest.fixture
def tally(tmp_path: Path) -> TallyFolder:
    return new_tally(tmp_path / "tally")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_is_no_file_of_a_tally_is_left_out_and_named(tally: TallyFolder, tmp_path: Path) -> None:
    left_out = {
        "authority_key": "PRIVATE",
        "keys.csv": "123456-",
        "host_key.old": "PRIVATE",
        "tally.db.old": "",
    }
    for name, text in left_out.items():
        (tally.path / name).write_text(text)
    (tally.path / "sticks").mkdir()
    (tally.path / ".stations.json.0a1b2c3d.new").write_text("")
    also = {"audit.log", "audit.log.3", "refusals.log", "today.json"}
    for name in also:
        (tally.path / name).write_text("")
    for name in ("reserve", "condition", "serve.lock"):
        (tally.path / name).write_text("")
    done = back_up(tally.path, tmp_path / "copy")
    assert names(tmp_path / "copy") == FILES | also
    assert {note.partition(",")[0] for note in done.notes} == {*left_out, "sticks"}
    assert done.found.is_well


def test_a_file_behind_a_link_is_copied_and_that_is_said(tally: TallyFolder, tmp_path: Path) -> None:
    content = tally.stations.read_bytes()
    tally.stations.rename(tmp_path / "elsewhere")
    tally.stations.symlink_to(tmp_path / "elsewhere")
    done = back_up(tally.path, tmp_path / "copy")
    assert (tmp_path / "copy" / "stations.json").read_bytes() == content
    assert not (tmp_path / "copy" / "stations.json").is_symlink()
    assert done.notes == ["stations.json is a link; what it leads to was copied"]
    assert done.found.is_well


@pytest.mark.parametrize("name", ["authority.pub", "host_key", "host_key-cert.pub", "stations.json"])
@pytest.mark.parametrize("kind", ["missing", "nowhere", "folder", "pipe"])
def test_a_needed_file_that_is_none_is_said_and_the_rest_is_copied(
    tally: TallyFolder, tmp_path: Path, name: str, kind: str
) -> None:
    path = tally.path / name
    path.unlink()
    if kind == "nowhere":
        path.symlink_to(tmp_path / "gone")
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    done = back_up(tally.path, tmp_path / "copy")
    assert [str(path) in sentence for sentence in done.found.complaints] == [True]
    assert names(tmp_path / "copy") == FILES - {name}


def test_no_link_of_another_account_leads_root_to_a_file_of_somebody_else(
    tally: TallyFolder, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("root's")
    (tally.path / "station").unlink()
    (tally.path / "station").symlink_to(tmp_path / "secret")
    os.chown(tally.path, 65534, 65534)
    done = back_up(tally.path, tmp_path / "copy")
    assert [("link to a file of somebody else" in one) for one in done.found.complaints] == [True]
    assert names(tmp_path / "copy") == FILES - {"station"}
    os.chown(tmp_path / "secret", 65534, 65534)
    assert back_up(tally.path, tmp_path / "again").found.is_well


def test_the_authoritys_folder_is_never_in_that_of_the_tally(tmp_path: Path) -> None:
    place, link = tmp_path / "tally", tmp_path / "link"
    place.mkdir()
    link.symlink_to(place)
    (tmp_path / "inner").symlink_to(place / "keys")
    wrong = [place, place / "keys", link, link / "keys", tmp_path / "inner", place / ".." / "tally"]
    for folder in (place, link):
        for authority in wrong:
            with pytest.raises(UsageError, match="lies in the tally's folder") as caught:
                new_tally(folder, authority)
            assert "\n" not in f"{caught.value.message}{caught.value.hint}"
            assert names(place) == set()
    with pytest.raises(UsageError, match="lies in the tally's folder"):
        new_tally(tmp_path / "new", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    new_tally(place, tmp_path / "tally-authority")
    assert "authority_key" in names(tmp_path / "tally-authority")
