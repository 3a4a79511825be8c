"""Journals as unbrick wrote them before they named kinds: read, and marked as undone.

The header line has the files and, apart from them, the times of their folders. A line follows for each state
that the run has reached; its check covers the check before it. What follows the last sound line is ignored.
"""

from __future__ import annotations

from typing import Any

from unbrick.model import RunState
from unbrick.repair.actions.kind import MOST_ACTIONS
from unbrick.repair.actions.quarantine_file import KEYS, TIMES, QuarantineFile
from unbrick.repair.journal.document import MOMENT, Journal, Line, encode_line, load, read_journal, sound_line
from unbrick.repair.trust import JournalError, expect_keys, read_list, read_path, read_text

VERSION = 1

_KEYS = {"journal", "run", "program", "begun", "volume_was_dirty", "entries", "folders"}
_IN_ORDER = [RunState.REPAIRED, RunState.UNDONE]
_MOST_LINES = 1 + len(_IN_ORDER)


def is_version1(data: bytes) -> bool:
    """Whether the first line is sound, and says that it is of this version."""
    line = sound_line(data)
    return line is not None and load(line.text).get("journal") == VERSION


def parse(data: bytes) -> Journal:
    """What a journal says up to its last sound line; it has one (`is_version1`)."""
    lines = _sound_lines(data)
    if len(lines) > _MOST_LINES:
        raise JournalError("it has too many lines")
    header = load(lines[0].text)
    if type(header["journal"]) is not int:
        raise JournalError("it is of another version of unbrick")
    expect_keys(header, _KEYS)
    marks = [_read_mark(load(line.text)) for line in lines[1:]]
    state, when = marks[-1] if marks else (RunState.REPAIRED, header["begun"])
    journal = read_journal(
        {
            **{key: header[key] for key in _KEYS - {"folders"}},
            "state": state.value,
            "when": when,
            "entries": _entries_with_folders(header),
        }
    )
    # A run reaches the disk with its end. One without was tampered with, or was cut off, and Windows started
    # before it was completed.
    if not marks:
        raise JournalError(f"the run {journal.run} did not come to its end")
    if [state for state, _ in marks] != _IN_ORDER[: len(marks)]:
        raise JournalError("its lines are in no order that a run writes")
    return journal


def mark(data: bytes, state: RunState, when: str) -> bytes:
    """The sound lines of a journal, and a line for the state that its run has reached."""
    last = _sound_lines(data)[-1]
    return data[: last.end] + encode_line({"mark": state.value, "at": when}, last.check)


def _sound_lines(data: bytes) -> list[Line]:
    """The lines before the first whose check is wrong, or up to one too many."""
    lines: list[Line] = []
    line = sound_line(data)
    while line is not None and len(lines) <= _MOST_LINES:
        lines.append(line)
        line = sound_line(data, line.end, line.check)
    return lines


def _read_mark(document: dict[str, Any]) -> tuple[RunState, str]:
    expect_keys(document, {"mark", "at"})
    moment = read_text(document, "at", MOMENT)
    try:
        return RunState(read_text(document, "mark")), moment
    except ValueError as error:
        raise JournalError("a line names nothing that a run does") from error


def _entries_with_folders(header: dict[str, Any]) -> list[dict[str, Any]]:
    """Each file as today's journals have it: with its kind, and with its folder's times."""
    folders = read_list(header, "folders", MOST_ACTIONS)
    for folder in folders:
        expect_keys(folder, {"path", *TIMES})
    times = {read_text(one, "path", longest=4096): {key: one[key] for key in TIMES} for one in folders}
    entries = read_list(header, "entries", MOST_ACTIONS)
    for entry in entries:
        expect_keys(entry, KEYS - {"folder"})
    parents = [read_path(entry, "source").rpartition("\\")[0] or "\\" for entry in entries]
    if {*parents} != times.keys() or len({path.casefold() for path in times}) != len(folders):
        raise JournalError("its folders are not those of its files")
    return [
        {"kind": QuarantineFile.KIND, "data": {**entry, "folder": times[parent]}}
        for entry, parent in zip(entries, parents, strict=True)
    ]
