"""The journal of one run: a JSON document on a line of its own, then a tab and a check over it.

Journals of version 1 had more lines (`version1.py`); unbrick of that time says of this one that it is of
another version. What is read is hostile: all here raises JournalError, nothing else.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from unbrick.errors import NeedsHandsError, Reason
from unbrick.events.run_id import is_run_id
from unbrick.model import ActionState, RunState
from unbrick.repair.actions.kind import MOST_ACTIONS, ActionKind
from unbrick.repair.actions.kinds import KINDS
from unbrick.repair.trust import JournalError, expect_keys, read_flag, read_list, read_text
from unbrick.settings.strict import parse_json

VERSION = 2
MOST_BYTES = 1024 * 1024
MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")

_KEYS = {"journal", "run", "program", "begun", "volume_was_dirty", "state", "when", "entries"}
_CHECK_LENGTH = 16
_NEWER = "nothing that it asks for was done; a newer unbrick may know it"


@dataclass(frozen=True)
class Journal:
    """What a run has done, with all that taking it back needs, and the state it has reached.

    `program` is the version of unbrick that wrote it; `begun`, and `when` it reached its state, are UTC times
    in ISO 8601, by the clock of that machine then; `volume_was_dirty` is how Windows had left the volume
    before the first write.
    """

    run: str
    program: str
    begun: str
    volume_was_dirty: bool
    entries: tuple[ActionKind, ...]
    state: RunState
    when: str


class Line(NamedTuple):
    """A line whose check is right, without it, and where it ends."""

    text: bytes
    check: str
    end: int


def encode(journal: Journal) -> bytes:
    """The bytes of a journal; raises NeedsHandsError where there is too much for one."""
    document = {
        "journal": VERSION,
        "run": journal.run,
        "program": journal.program,
        "begun": journal.begun,
        "volume_was_dirty": journal.volume_was_dirty,
        "state": journal.state.value,
        "when": journal.when,
        "entries": [{"kind": entry.KIND, "data": entry.to_data()} for entry in journal.entries],
    }
    line = encode_line(document)
    if len(line) > MOST_BYTES or len(journal.entries) > MOST_ACTIONS:
        raise NeedsHandsError("there are too many files to move in one run", reason=Reason.TOO_MANY_FILES)
    return line


def parse(data: bytes) -> Journal | None:
    """What a journal of this version says; None where its check is not right: it is torn, or none."""
    if len(data) > MOST_BYTES:
        raise JournalError("it is too large")
    line = sound_line(data)
    if line is None:
        return None
    if line.end != len(data):
        raise JournalError("it has too many lines")
    document = load(line.text)
    if type(document.get("journal")) is not int or document["journal"] != VERSION:
        raise JournalError("it is of another version of unbrick")
    return read_journal(document)


def read_journal(document: dict[str, Any]) -> Journal:
    expect_keys(document, _KEYS)
    run = read_text(document, "run")
    if not is_run_id(run):
        raise JournalError("it names no run")
    try:
        state = RunState(read_text(document, "state"))
    except ValueError as error:
        raise JournalError("it names nothing that a run does") from error
    entries = tuple(_read_entry(item) for item in read_list(document, "entries", MOST_ACTIONS))
    if not entries:
        raise JournalError("it names no action")
    _expect_each_once([entry.to_action(ActionState.DONE).path.casefold() for entry in entries], "a file")
    _expect_each_once([name for entry in entries for name in entry.quarantined], "a name in the quarantine")
    return Journal(
        run=run,
        program=read_text(document, "program"),
        begun=read_text(document, "begun", MOMENT),
        volume_was_dirty=read_flag(document, "volume_was_dirty"),
        entries=entries,
        state=state,
        when=read_text(document, "when", MOMENT),
    )


def _expect_each_once(values: list[str], what: str) -> None:
    if len(set(values)) != len(values):
        raise JournalError(f"{what} is named twice")


def _read_entry(item: Any) -> ActionKind:
    expect_keys(item, {"kind", "data"})
    kind = KINDS.get(read_text(item, "kind"))
    if kind is None:
        raise JournalError("it names a kind of action that this unbrick does not have", hint=_NEWER)
    return kind.read(item["data"])


def encode_line(document: Mapping[str, Any], previous_check: str = "") -> bytes:
    """A document, a tab, its check and an end of line."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return text + b"\t" + _check(text, previous_check).encode() + b"\n"


def sound_line(data: bytes, start: int = 0, previous_check: str = "") -> Line | None:
    """The line that begins at `start`; None where it has no end, or its check is not right."""
    newline = data.find(b"\n", start)
    if newline < 0:
        return None
    text, _, check = data[start:newline].rpartition(b"\t")
    expected = _check(text, previous_check)
    return Line(text, expected, newline + 1) if check == expected.encode() else None


def load(text: bytes) -> dict[str, Any]:
    """The document on a line."""
    try:
        document = parse_json(text)
    except ValueError as error:
        raise JournalError("a line is not plain JSON") from error
    if not isinstance(document, dict):
        raise JournalError("a line is not a mapping")
    return document


def _check(text: bytes, previous_check: str) -> str:
    return hashlib.sha256(previous_check.encode() + b"\n" + text).hexdigest()[:_CHECK_LENGTH]
