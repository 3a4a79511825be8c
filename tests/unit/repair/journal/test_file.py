from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from support.repair_journal import HEADER

from unbrick.repair.journal import file
from unbrick.repair.journal.file import create_journal, open_journal
from unbrick.repair.journal.journal import encode_header, parse
from unbrick.repair.journal.record import RunState
from unbrick.repair.quarantine import FORMER_JOURNAL, JOURNAL

ROOM_IN_A_RECORD = 1024 - 56 - 96 - 128 - 24 - 8
"""What is left for a journal's bytes in a file record of 1 KiB, beside its head, times, name and end."""

TORN = gzip.compress(encode_header(HEADER))[:200]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run's folder with a journal in it; whether it is ours cannot be asked on another file system."""
    monkeypatch.setattr(file, "check_run_folder", lambda _: None)
    run = tmp_path / HEADER.run
    run.mkdir()
    (run / JOURNAL).write_bytes(b"")
    create_journal(run, HEADER)
    return run


def test_a_journal_of_one_file_has_room_in_its_record_to_the_end(folder: Path) -> None:
    assert (folder / JOURNAL).stat().st_size < ROOM_IN_A_RECORD
    journal = open_journal(folder)
    assert journal is not None
    journal.reach(RunState.UNDONE)
    assert (folder / JOURNAL).stat().st_size < ROOM_IN_A_RECORD


def test_what_lies_behind_the_last_sound_line_is_dropped_before_the_next(folder: Path) -> None:
    sound = gzip.decompress((folder / JOURNAL).read_bytes())
    (folder / JOURNAL).write_bytes(gzip.compress(sound + b'{"mark":"und\0\0\0\n' + b"\0" * 900))
    journal = open_journal(folder)
    assert journal is not None
    assert (journal.header, journal.state, journal.lines) == (HEADER, RunState.REPAIRED, sound)
    journal.reach(RunState.UNDONE)
    text = gzip.decompress((folder / JOURNAL).read_bytes())
    again = parse(text)
    assert again is not None
    assert (again.state, again.length) == (RunState.UNDONE, len(text))


def test_the_journal_of_an_older_version_is_read_and_written_as_it_was(folder: Path) -> None:
    text = gzip.decompress((folder / JOURNAL).read_bytes())
    (folder / JOURNAL).unlink()
    (folder / FORMER_JOURNAL).write_bytes(text)
    journal = open_journal(folder)
    assert journal is not None
    journal.reach(RunState.UNDONE)
    written = (folder / FORMER_JOURNAL).read_bytes()
    assert written.startswith(text)
    again = parse(written)
    assert again is not None
    assert again.state is RunState.UNDONE
    assert not (folder / JOURNAL).exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x1f\x8b",
        b"no gzip",
        gzip.compress(b"\n" * (64 << 20)),
        gzip.compress(encode_header(HEADER))[:200],
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
