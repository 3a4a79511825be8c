"""What happens to a machine, as a stream of events: the one contract that station and tally share.

An event is canonical JSON: the fields of `Event` by their names. Its id is the SHA-256 of those bytes; it is
signed as they are (`signing/`) and never rewritten. It has no secret, no user name and no profile path:
details are short facts.

An older tally and a newer event: the envelope (`schema` to `details`) never changes its meaning. A tally
keeps and acknowledges an event of a newer schema as it was signed, reads the envelope only, and takes
kinds and details that it does not know for facts that change no status.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from unbrick.errors import FailedError
from unbrick.events.run_id import RUN_ID
from unbrick.model import Machine

SCHEMA = 1
MOST_BYTES = 64 * 1024
MOST_EVENTS_IN_A_RUN = 100_000
NAMESPACE = "unbrick-event@unbrick"

_RUN = re.compile(RUN_ID)
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
_WORD = re.compile(r"[a-z0-9][a-z0-9:_-]{0,63}")
GUID = re.compile(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}|[0-9A-F]{8}")
MOST_HOSTNAMES = 16
LONGEST_NAME = 64
_KEYS = {"schema", "run", "sequence", "kind", "step", "at", "machine", "site", "details"}
_MACHINE_KEYS = {"smbios_uuid", "serial", "disk_guid", "hostnames"}
_LONGEST_TEXT = 4096
_MOST_ENTRIES = 1000
_DEEPEST = 6


class EventKind(StrEnum):
    """The kinds that this version knows."""

    RUN_STARTED = "run-started"
    STEP_STARTED = "step-started"
    STEP_ENDED = "step-ended"
    STEP_FAILED = "step-failed"
    LOCKED = "locked"
    UNLOCKED = "unlocked"
    FOUND = "found"
    MOVED = "moved"
    NOTE = "note"
    OUTCOME = "outcome"


class EventError(FailedError):
    """Bytes that are no event: of the wrong shape, too large, or not canonical."""


@dataclass(frozen=True)
class Event:
    """One thing that happened in one run on one disk.

    `sequence` counts from 1 within `run`. `at` is the station's clock (UTC, to the microsecond, as text),
    which may be wrong and is never relied on. `machine` is what was known of it by then. `kind` is a word
    of `EventKind`, or of a newer version's.
    """

    run: str
    sequence: int
    kind: str
    at: str
    step: str | None = None
    machine: Machine = field(default_factory=Machine)
    site: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    def to_bytes(self) -> bytes:
        """The canonical bytes: sorted keys, no white space, UTF-8, no floats."""
        return canonical_json({**vars(self), "machine": vars(self.machine), "details": dict(self.details)})

    @property
    def id(self) -> str:
        """The SHA-256 of the canonical bytes, as 64 hex digits; of a newer schema's, ask `SignedEvent`."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


Listener = Callable[[Event], None]


def canonical_json(document: Any) -> bytes:
    """JSON with sorted keys, no white space, UTF-8; raises ValueError for what has no single form."""
    return json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def moment(time: datetime) -> str:
    """A time as events carry it: UTC, microseconds, `Z`."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_event(data: bytes) -> Event:
    """Read an event, every byte of it hostile; raises EventError, nothing else."""
    if len(data) > MOST_BYTES:
        raise EventError(f"an event of {len(data)} bytes; at most {MOST_BYTES} are taken")
    try:
        document = json.loads(data.decode("utf-8"), parse_float=_no_float, parse_constant=_no_float)
        same = canonical_json(document) == data
    except (ValueError, RecursionError) as error:
        raise EventError("an event that is not JSON as we write it") from error
    if not same:
        raise EventError("an event whose JSON is not canonical")
    if not isinstance(document, dict) or not document.keys() >= _KEYS:
        raise EventError("an event without its envelope")
    schema = document["schema"]
    if type(schema) is not int or not 1 <= schema < 1_000_000:
        raise EventError("an event without a schema version")
    if schema == SCHEMA and document.keys() != _KEYS:
        raise EventError("an event with an unknown field in its envelope")
    _check_depth(document, _DEEPEST)
    details = document["details"]
    if not isinstance(details, dict):
        raise EventError("an event whose details are no table")
    return Event(
        run=_matching(document, "run", _RUN),
        sequence=_sequence(document["sequence"]),
        kind=_matching(document, "kind", _WORD),
        at=_moment(document),
        step=None if document["step"] is None else _matching(document, "step", _WORD),
        machine=_machine(document["machine"], exact=schema == SCHEMA),
        site=None if document["site"] is None else _matching(document, "site", _WORD),
        details=details,
        schema=schema,
    )


def _no_float(_: str) -> Any:
    raise ValueError("no floats in an event")


def _matching(document: Mapping[str, Any], key: str, pattern: re.Pattern[str]) -> str:
    value = document[key]
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise EventError(f"an event whose {key} is not as we write it")
    return value


def _moment(document: Mapping[str, Any]) -> str:
    text = _matching(document, "at", _MOMENT)
    try:
        datetime.fromisoformat(text)
    except ValueError as error:
        raise EventError("an event at a time that no calendar has") from error
    return text


def _sequence(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= MOST_EVENTS_IN_A_RUN:
        raise EventError("an event whose sequence number is out of range")
    return value


def _machine(value: Any, *, exact: bool) -> Machine:
    if not isinstance(value, dict) or not value.keys() >= _MACHINE_KEYS or (exact and len(value) != 4):
        raise EventError("an event that does not name its machine")
    names = value["hostnames"]
    if not isinstance(names, list) or len(names) > MOST_HOSTNAMES or not all(_short(name) for name in names):
        raise EventError("an event whose computer names are not as we write them")
    for key in ("smbios_uuid", "disk_guid"):
        if value[key] is not None and not (isinstance(value[key], str) and GUID.fullmatch(value[key])):
            raise EventError(f"an event whose {key} is not as we write it")
    if value["serial"] is not None and not _short(value["serial"]):
        raise EventError("an event whose serial number is not as we write it")
    return Machine(value["smbios_uuid"], value["serial"], value["disk_guid"], tuple(names))


def _short(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME and value.isprintable()


def _check_depth(value: Any, left: int) -> None:
    if left == 0:
        raise EventError("an event that is nested too deeply")
    if isinstance(value, dict):
        inner = [*value.keys(), *value.values()]
    elif isinstance(value, list):
        inner = value
    else:
        if isinstance(value, str) and len(value) > _LONGEST_TEXT:
            raise EventError("an event with too long a text")
        if type(value) is int and abs(value) >= 2**63:
            raise EventError("an event with too large a number")
        return
    if len(inner) > _MOST_ENTRIES:
        raise EventError("an event with too many entries")
    for one in inner:
        _check_depth(one, left - 1)
