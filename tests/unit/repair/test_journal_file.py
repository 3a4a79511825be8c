from __future__ import annotations

from pathlib import Path

from support.repair_journal import HEADER

from unbrick.repair.journal import parse
from unbrick.repair.journal_file import JournalFile, create_journal
from unbrick.repair.quarantine import JOURNAL
from unbrick.repair.record import RunState


def test_what_lies_behind_the_last_sound_line_is_dropped_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL
    path.write_bytes(b"")
    create_journal(tmp_path, HEADER)
    whole = path.stat().st_size
    path.write_bytes(path.read_bytes() + b'{"mark":"und\0\0\0\n' + b"\0" * 900)
    read = parse(path.read_bytes())
    assert read is not None
    assert (read.header, read.state, read.length) == (HEADER, RunState.REPAIRED, whole)
    JournalFile(path, read.header, read.state, read.when, read.length, read.check).reach(RunState.UNDONE)
    again = parse(path.read_bytes())
    assert again is not None
    assert again.state is RunState.UNDONE
    assert again.length == path.stat().st_size
