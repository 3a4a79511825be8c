"""A new file or folder is whole or not there, and a try that was killed does not hinder the next."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.tally_sums import faults_of

from unbrick.errors import FailedError, UsageError
from unbrick.tally.folder import parse_address, read_settings
from unbrick.tally.new_places import UNFINISHED, Contents, new_file, new_folder
from unbrick.tally.store.store import Store
from unbrick.tally.trust.authority import create_authority

CONTENTS = Contents("key|more/|more/inside")


def killed(work: Callable[[], None]) -> None:
    """Do this in a process that kills itself in the middle."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_whose_writer_was_killed_is_not_there_and_the_next_try_clears_up(tmp_path: Path) -> None:
    def half() -> None:
        with new_file(tmp_path / "all.jsonl") as stream:
            stream.write(b"half")
            stream.flush()
            os.kill(os.getpid(), signal.SIGKILL)

    killed(half)
    (left,) = names(tmp_path)
    assert left.startswith(".all.jsonl.")
    with new_file(tmp_path / "other") as stream:
        stream.write(b"whole")
    assert left in names(tmp_path)
    with new_file(tmp_path / "all.jsonl") as stream:
        stream.write(b"whole")
    assert names(tmp_path) == ["all.jsonl", "other"]
    assert (tmp_path / "all.jsonl").read_bytes() == b"whole"
    assert (tmp_path / "all.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_file_that_another_process_is_writing_is_left_alone(tmp_path: Path) -> None:
    with new_file(tmp_path / "one") as first:
        first.write(b"first")
        with new_file(tmp_path / "one") as second:
            second.write(b"second")
            assert len(names(tmp_path)) == 2
        assert (tmp_path / "one").read_bytes() == b"second"
        first.flush()
        with pytest.raises(UsageError, match="is there already"), new_file(tmp_path / "one"):
            pass
        (tmp_path / "one").unlink()
    assert (tmp_path / "one").read_bytes() == b"first"


@pytest.mark.parametrize("links", [True, False])
def test_somebodys_file_is_never_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    if not links:  # as on FAT
        monkeypatch.setattr(os, "link", refused)

    def late() -> None:
        with new_file(tmp_path / "one") as stream:
            stream.write(b"ours")
            (tmp_path / "one").write_bytes(b"theirs")

    with pytest.raises(UsageError, match="is there already"):
        late()
    (tmp_path / "nowhere").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="is there already"), new_file(tmp_path / "nowhere"):
        pass
    assert (tmp_path / "one").read_bytes() == b"theirs"
    with new_file(tmp_path / "two") as stream:
        stream.write(b"ours")
    assert (tmp_path / "two").read_bytes() == b"ours"
    assert names(tmp_path) == ["nowhere", "one", "two"]


def test_a_file_in_no_folder_is_an_error_in_words(tmp_path: Path) -> None:
    with (
        pytest.raises(FailedError, match=r"cannot write in .*gone: No such file"),
        new_file(tmp_path / "gone" / "one"),
    ):
        pass


def test_a_folder_whose_writer_was_killed_is_filled_anew(tmp_path: Path) -> None:
    place = tmp_path / "copy"

    def half() -> None:
        with new_folder(place, CONTENTS):
            (place / "key").write_bytes(b"half")
            (place / ".key.0123abcd.new").write_bytes(b"half")
            (place / "more").mkdir()
            (place / "more" / "inside").write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)

    killed(half)
    assert UNFINISHED in names(place)
    with new_folder(place, CONTENTS):
        assert names(place) == [UNFINISHED]
        (place / "key").write_bytes(b"whole")
        with (
            pytest.raises(UsageError, match="is being filled by another unbrick"),
            new_folder(place, CONTENTS),
        ):
            pass
    assert names(place) == ["key"]
    with pytest.raises(UsageError, match="is not empty"), new_folder(place, CONTENTS):
        pass
    assert (place / "key").read_bytes() == b"whole"


def test_a_folder_that_failed_is_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    def stopped(place: Path) -> None:
        with new_folder(place, CONTENTS):
            (place / "key").write_bytes(b"half")
            raise ValueError("stop")

    for name in ("new", "empty"):
        with pytest.raises(ValueError, match="stop"):
            stopped(tmp_path / name)
    assert names(tmp_path) == ["empty"]
    assert names(tmp_path / "empty") == []


@pytest.mark.parametrize(
    "foreign", ["notes.txt", "more/notes.txt", "key.old", ".key.new", "link", "else/inside"]
)
def test_what_a_person_put_into_a_half_filled_folder_stays_with_all_beside_it(
    tmp_path: Path, foreign: str
) -> None:
    place = tmp_path / "copy"

    def half() -> None:
        with new_folder(place, CONTENTS):
            (place / "key").write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)

    killed(half)
    (place / foreign).parent.mkdir(exist_ok=True)
    if foreign == "link":
        (place / foreign).symlink_to(tmp_path)
    else:
        (place / foreign).write_bytes(b"a person's")
    before = sorted(place.rglob("*"))
    with (
        pytest.raises(UsageError, match=r"was left half filled, and holds .* besides: nothing was deleted"),
        new_folder(place, CONTENTS),
    ):
        pass
    assert sorted(place.rglob("*")) == before
    (place / foreign).unlink()
    if foreign == "else/inside":
        (place / "else").rmdir()
    with new_folder(place, CONTENTS):
        assert names(place) == [UNFINISHED]


def test_what_somebody_puts_into_a_folder_while_it_is_filled_stays_when_that_fails(tmp_path: Path) -> None:
    def stopped(place: Path) -> None:
        with new_folder(place, CONTENTS):
            (place / "key").write_bytes(b"half")
            (place / "notes.txt").write_bytes(b"a person's")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        stopped(tmp_path / "new")
    assert names(tmp_path / "new") == [UNFINISHED, "notes.txt"]


def test_a_tally_whose_init_was_killed_anywhere_is_made_by_the_next_try_with_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(place: Path) -> None:
        create_authority(
            place, parse_address("127.0.0.1"), make_database=lambda path: Store.open(path).close()
        )

    for number in range(1, 100):
        place = tmp_path / f"tally-{number}"
        if not survives(lambda place=place: make(place), number, monkeypatch):  # type: ignore[misc]
            break
        key = place / "authority" / "authority_key"
        made = key.read_bytes() if key.exists() else None
        if not place.exists() or "settings.json" not in names(place) or UNFINISHED in names(place):
            make(place)
        assert UNFINISHED not in names(place)
        assert made in {None, key.read_bytes()}
        read_settings(place)
        with Store.open(place / "tally.db", create=False) as store:
            assert faults_of(store) == ()
    assert number > 10


def survives(work: Callable[[], None], number: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether work that is killed at its `number`th change of a name was killed before it was done."""
    left = [number]
    rename, unlink = os.replace, os.unlink

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def change(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)

        return change

    child = os.fork()
    if child == 0:
        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", dying(rename))
            patched.setattr(os, "unlink", dying(unlink))
            patched.setattr(os, "open", dying(os.open))
            try:
                work()
                os._exit(0)
            finally:
                os._exit(1)
    _, status = os.waitpid(child, 0)
    assert status in {0, signal.SIGKILL}
    return status != 0
