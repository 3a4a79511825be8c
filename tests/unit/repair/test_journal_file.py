from __future__ import annotations

from pathlib import Path

from support.repair_journal import HEADER

from unbrick.repair.journal import parse
from unbrick.repair.journal_file import JournalFile, create_journal
from unbrick.repair.quarantine import JOURNAL
from unbrick.repair.record import RunState


def test_a_state_is_durable_before_it_counts_as_reached(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_bytes(b"")
    synced: list[RunState] = []

    def sync() -> None:
        read = parse((tmp_path / JOURNAL).read_bytes())
        assert read is not None
        synced.append(read.state)

    journal = create_journal(tmp_path, HEADER, sync)
    journal.reach(RunState.LINKED, sync)
    assert synced == [RunState.PREPARED, RunState.LINKED]
    assert journal.state is RunState.LINKED


def test_a_torn_tail_is_dropped_before_the_next_line(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL
    path.write_bytes(b"")
    whole = create_journal(tmp_path, HEADER, lambda: None)
    path.write_bytes(path.read_bytes() + b'{"mark":"lin\0\0\0\n' + b"\0" * 900)
    read = parse(path.read_bytes())
    assert read is not None
    journal = JournalFile(path, read.header, read.state, read.length, read.check)
    assert (journal.length, journal.check) == (whole.length, whole.check)
    journal.reach(RunState.LINKED, lambda: None)
    journal.reach(RunState.REPAIRED, lambda: None)
    again = parse(path.read_bytes())
    assert again is not None
    assert again.state is RunState.REPAIRED
    assert again.length == path.stat().st_size
