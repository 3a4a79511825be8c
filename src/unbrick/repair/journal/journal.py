"""The journal of one run: a header with all that undoing needs, then a line for what it has done.

Each line is JSON, a tab and a check that covers the line and the check before it; what follows the last sound
one is ignored. `parse` treats what it reads as hostile and raises JournalError, nothing else.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unbrick.errors import NeedsHandsError, Reason
from unbrick.events.run_id import is_run_id
from unbrick.repair.journal.fields import (
    JournalError,
    expect_each_once,
    expect_keys,
    is_name,
    read_flag,
    read_list,
    read_number,
    read_path,
    read_short_name,
    read_text,
)
from unbrick.repair.journal.record import Entry, Folder, Header, RunState, Times
from unbrick.repair.plan import MOST_FILES
from unbrick.windows.ntfs_file import FileAttributes

VERSION = 1
MOST_BYTES = 1024 * 1024

_IN_ORDER = [RunState.REPAIRED, RunState.UNDONE]
_MOST_LINES = 1 + len(_IN_ORDER)
_CHECK_LENGTH = 16
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NEUTRAL = re.compile(r"[0-9]{4}\.bin")
_PLAYBOOK = re.compile(r"[a-z0-9][a-z0-9-]{1,62}[a-z0-9]")
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_MOST_LINKS = 1024  # NTFS gives a file no more names
_MOST_STREAMS = 64
_LARGEST_FILE = 2**40
_LATEST_TIME = 2**63 - 1
_NEVER_MOVED = (
    FileAttributes.DIRECTORY
    | FileAttributes.REPARSE_POINT
    | FileAttributes.OFFLINE
    | FileAttributes.ENCRYPTED
    | FileAttributes.RECALL_ON_OPEN
    | FileAttributes.RECALL_ON_DATA_ACCESS
)
_ENTRY_KEYS = {
    *("source", "quarantined_as", "playbook", "sha256", "size", "attributes"),
    *("created", "modified", "accessed", "short_name", "links", "acl_sha256", "streams"),
}
_HEADER_KEYS = {"journal", "run", "program", "begun", "volume_was_dirty", "entries", "folders"}


@dataclass(frozen=True)
class Journal:
    """What a journal says. `length` is where its last sound line ends, in bytes; `check` is that line's.

    `when` the run reached its state is as the journal has it, by the clock of that machine then.
    """

    header: Header
    state: RunState
    when: str
    length: int
    check: str


def encode_header(header: Header) -> bytes:
    """The first line of a journal; raises NeedsHandsError where there is too much for one."""
    document = {
        "journal": VERSION,
        "run": header.run,
        "program": header.program,
        "begun": header.begun,
        "volume_was_dirty": header.volume_was_dirty,
        "entries": [_entry_document(entry) for entry in header.entries],
        "folders": [{"path": f.path, **_times_document(f.times)} for f in header.folders],
    }
    line = _encode_line(document, "")
    if len(line) > MOST_BYTES // 2:
        raise NeedsHandsError("there are too many files to move in one run", reason=Reason.TOO_MANY_FILES)
    return line


def encode_mark(state: RunState, moment: str, previous_check: str) -> bytes:
    """A later line: what the run has done, at `moment` (ISO 8601, UTC, whole seconds)."""
    return _encode_line({"mark": state.value, "at": moment}, previous_check)


def check_of(line: bytes) -> str:
    """The check that a line ends in."""
    return line[-_CHECK_LENGTH - 1 : -1].decode()


def parse(data: bytes) -> Journal | None:
    """What a journal says up to its last sound line; None where not even the first is one.

    A run reaches the disk with its end. One without was tampered with, or was cut off, and Windows started
    before it was completed. Raises JournalError for anything that a run of ours cannot have written.
    """
    if len(data) > MOST_BYTES:
        raise JournalError("it is too large")
    lines = _sound_lines(data)
    if not lines:
        return None
    if len(lines) > _MOST_LINES:
        raise JournalError("it has too many lines")
    header = _read_header(_load(lines[0].text))
    marks = [_read_mark(_load(line.text)) for line in lines[1:]]
    if not marks:
        raise JournalError(f"the run {header.run} did not come to its end")
    if [state for state, _ in marks] != _IN_ORDER[: len(marks)]:
        raise JournalError("its lines are in no order that a run writes")
    return Journal(header, *marks[-1], lines[-1].end, lines[-1].check)


@dataclass(frozen=True)
class _Line:
    text: bytes
    check: str
    end: int


def _sound_lines(data: bytes) -> list[_Line]:
    """The lines up to the first that its check does not confirm, or up to one too many."""
    lines: list[_Line] = []
    previous, start = "", 0
    while len(lines) <= _MOST_LINES and (newline := data.find(b"\n", start)) >= 0:
        text, _, check = data[start:newline].rpartition(b"\t")
        previous = _check(text, previous)
        if check != previous.encode():
            break
        start = newline + 1
        lines.append(_Line(text, previous, start))
    return lines


def _encode_line(document: Mapping[str, Any], previous_check: str) -> bytes:
    text = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return text + b"\t" + _check(text, previous_check).encode() + b"\n"


def _check(text: bytes, previous_check: str) -> str:
    return hashlib.sha256(previous_check.encode() + b"\n" + text).hexdigest()[:_CHECK_LENGTH]


def _load(text: bytes) -> dict[str, Any]:
    try:
        document = json.loads(text.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise JournalError("a line is not plain JSON") from error
    if not isinstance(document, dict):
        raise JournalError("a line is not a mapping")
    return document


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key is given twice")
    return document


def _read_mark(document: dict[str, Any]) -> tuple[RunState, str]:
    expect_keys(document, {"mark", "at"})
    moment = read_text(document, "at", _MOMENT)
    try:
        return RunState(read_text(document, "mark")), moment
    except ValueError as error:
        raise JournalError("a line names nothing that a run does") from error


def _read_header(document: dict[str, Any]) -> Header:
    if type(document.get("journal")) is not int or document["journal"] != VERSION:
        raise JournalError("it is of another version of unbrick")
    expect_keys(document, _HEADER_KEYS)
    run = read_text(document, "run")
    if not is_run_id(run):
        raise JournalError("it names no run")
    entries = tuple(_read_entry(item) for item in read_list(document, "entries", MOST_FILES))
    folders = tuple(_read_folder(item) for item in read_list(document, "folders", MOST_FILES))
    expect_each_once([entry.source.casefold() for entry in entries], "a file")
    expect_each_once([entry.quarantined_as for entry in entries], "a name in the quarantine")
    expect_each_once([folder.path.casefold() for folder in folders], "a folder")
    if not entries or {entry.parent for entry in entries} != {folder.path for folder in folders}:
        raise JournalError("its folders are not those of its files")
    return Header(
        run=run,
        program=read_text(document, "program"),
        begun=read_text(document, "begun", _MOMENT),
        volume_was_dirty=read_flag(document, "volume_was_dirty"),
        entries=entries,
        folders=folders,
    )


def _read_entry(document: Any) -> Entry:
    expect_keys(document, _ENTRY_KEYS)
    attributes = read_number(document, "attributes", 0, 2**32 - 1)
    if attributes & _NEVER_MOVED:
        raise JournalError("a file has attributes that unbrick never moves")
    streams = read_list(document, "streams", _MOST_STREAMS)
    if not all(is_name(name) for name in streams):
        raise JournalError("a stream has no name")
    return Entry(
        source=read_path(document, "source"),
        quarantined_as=read_text(document, "quarantined_as", _NEUTRAL),
        playbook=read_text(document, "playbook", _PLAYBOOK),
        sha256=read_text(document, "sha256", _DIGEST),
        size=read_number(document, "size", 0, _LARGEST_FILE),
        attributes=attributes,
        times=_read_times(document),
        short_name=read_short_name(document, "short_name"),
        links=read_number(document, "links", 1, _MOST_LINKS),
        acl_sha256=read_text(document, "acl_sha256", _DIGEST),
        streams=tuple(streams),
    )


def _read_folder(document: Any) -> Folder:
    expect_keys(document, {"path", "created", "modified", "accessed"})
    path = "\\" if document["path"] == "\\" else read_path(document, "path")
    return Folder(path, _read_times(document))


def _read_times(document: dict[str, Any]) -> Times:
    return Times(
        created=read_number(document, "created", 0, _LATEST_TIME),
        modified=read_number(document, "modified", 0, _LATEST_TIME),
        accessed=read_number(document, "accessed", 0, _LATEST_TIME),
    )


def _entry_document(entry: Entry) -> dict[str, Any]:
    return {
        "source": entry.source,
        "quarantined_as": entry.quarantined_as,
        "playbook": entry.playbook,
        "sha256": entry.sha256,
        "size": entry.size,
        "attributes": entry.attributes,
        **_times_document(entry.times),
        "short_name": entry.short_name,
        "links": entry.links,
        "acl_sha256": entry.acl_sha256,
        "streams": list(entry.streams),
    }


def _times_document(times: Times) -> dict[str, int]:
    return {"created": times.created, "modified": times.modified, "accessed": times.accessed}
