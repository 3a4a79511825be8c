from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import pytest
from support.repair_journal import JOURNAL as WRITTEN
from support.repair_journal import version1

from unbrick.errors import NeedsHandsError
from unbrick.model import RunState
from unbrick.repair.journal import file as journal_file
from unbrick.repair.journal.document import _check, encode
from unbrick.repair.journal.file import create_journal, open_journal, parse
from unbrick.repair.quarantine import FORMER_JOURNAL, JOURNAL

ROOM_IN_A_RECORD = 1024 - 56 - 96 - 128 - 24 - 8
"""What is left for a journal's bytes in a file record of 1 KiB, beside its head, times, name and end."""

TORN = gzip.compress(encode(WRITTEN))[:200]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run's folder with a journal in it; whether it is ours cannot be asked on another file system."""
    monkeypatch.setattr(journal_file, "check_run_folder", lambda _: None)
    run = tmp_path / WRITTEN.run
    run.mkdir()
    (run / JOURNAL).write_bytes(b"")
    create_journal(run, WRITTEN)
    return run


def test_a_journal_of_one_file_has_room_in_its_record_to_the_end(folder: Path) -> None:
    assert (folder / JOURNAL).stat().st_size < ROOM_IN_A_RECORD
    opened = open_journal(folder)
    assert opened is not None
    opened.reach(RunState.UNDONE)
    assert (folder / JOURNAL).stat().st_size < ROOM_IN_A_RECORD


def test_a_journal_is_no_larger_than_one_of_version_1(folder: Path) -> None:
    for states in ([RunState.REPAIRED], [RunState.REPAIRED, RunState.UNDONE]):
        former = len(gzip.compress(version1(*states), mtime=0))
        assert (folder / JOURNAL).stat().st_size <= former
        opened = open_journal(folder)
        assert opened is not None
        opened.reach(RunState.UNDONE)


def test_one_that_was_undone_is_written_whole(folder: Path) -> None:
    opened = open_journal(folder)
    assert opened is not None
    assert opened.journal == WRITTEN
    opened.reach(RunState.UNDONE)
    again = open_journal(folder)
    assert again is not None
    assert again.journal == opened.journal
    assert replace(again.journal, state=RunState.REPAIRED, when=WRITTEN.when) == WRITTEN


def test_what_lies_behind_the_last_sound_line_of_version_1_is_dropped_before_the_next(folder: Path) -> None:
    sound = version1(RunState.REPAIRED)
    (folder / JOURNAL).write_bytes(gzip.compress(sound + b'{"mark":"und\0\0\0\n' + b"\0" * 900))
    opened = open_journal(folder)
    assert opened is not None
    assert opened.journal == WRITTEN
    opened.reach(RunState.UNDONE)
    text = gzip.decompress((folder / JOURNAL).read_bytes())
    assert text.startswith(sound)
    assert text.count(b"\n") == 3
    assert parse(text) == opened.journal


def test_the_journal_of_an_older_version_is_read_and_written_as_it_was(folder: Path) -> None:
    text = version1(RunState.REPAIRED)
    (folder / JOURNAL).unlink()
    (folder / FORMER_JOURNAL).write_bytes(text)
    opened = open_journal(folder)
    assert opened is not None
    opened.reach(RunState.UNDONE)
    written = (folder / FORMER_JOURNAL).read_bytes()
    assert written.startswith(text)
    again = parse(written)
    assert again is not None
    assert again.state is RunState.UNDONE
    assert not (folder / JOURNAL).exists()


def test_a_version_that_is_not_known_is_said(folder: Path) -> None:
    newer = encode(WRITTEN).rpartition(b"\t")[0].replace(b'"journal":2', b'"journal":3')
    (folder / JOURNAL).write_bytes(gzip.compress(_with_check(newer)))
    with pytest.raises(NeedsHandsError, match="another version"):
        open_journal(folder)


def _with_check(text: bytes) -> bytes:
    return text + b"\t" + _check(text, "").encode() + b"\n"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x1f\x8b",
        b"no gzip",
        gzip.compress(b"\n" * (64 << 20)),
        TORN,
    ],
    ids=["empty", "head", "text", "bomb", "torn"],
)
def test_what_is_no_journal_is_none(folder: Path, data: bytes) -> None:
    (folder / JOURNAL).write_bytes(data)
    if len(data) > 4096:
        with pytest.raises(Exception, match="too large"):
            open_journal(folder)
    else:
        assert open_journal(folder) is None
