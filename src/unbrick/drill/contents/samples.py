"""Files made up from a rule's own data: where it looks, what it asks of a file, when that was written. Pure.

The whole playbook judges each of them first: where an earlier rule would decide, another file is tried.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from unbrick.drill.contents.planned import LAST_EVENING, PlannedFile, written_once
from unbrick.drill.contents.security import ONLY_SYSTEM, PROGRAM_FILES
from unbrick.incidents.deny import why_forbidden
from unbrick.incidents.judge import Judgement, weigh
from unbrick.incidents.playbook import Match, Playbook, Rule
from unbrick.model import ObservedFile, Verdict
from unbrick.windows.ntfs_file import datetime_to_filetime, filetime_to_datetime

WINDOWS = "\\Windows"
LARGEST = 16 * 1024 * 1024
"""Bytes of the largest file that a drill makes up."""

_FIRST_BYTES = 64
_USUAL = 8_192, 49_152
_TRIES = 8
_LONG_BEFORE = timedelta(days=170), timedelta(days=20)
_AFTER = timedelta(hours=18)


class NoSampleError(Exception):
    """No file that fits a rule can be made up; the message is half a sentence that says why."""


@dataclass(frozen=True)
class _Span:
    first: datetime
    end: datetime


def observed(file: PlannedFile) -> ObservedFile:
    return ObservedFile(
        file.path,
        len(file.content),
        file.content[:_FIRST_BYTES],
        bool(file.content) and not any(file.content),
        hashlib.sha256(file.content).hexdigest(),
        filetime_to_datetime(file.times.modified),
    )


def judgement_of(playbook: Playbook, file: PlannedFile) -> Judgement | None:
    """What a playbook says of a planned file; None where none of its paths names the file."""
    if not is_named(playbook, file.path):
        return None
    return weigh(playbook, observed(file), WINDOWS, datetime.now(UTC))


def is_named(playbook: Playbook, path: str) -> bool:
    return any(rule.path.matches(path, WINDOWS) for rule in playbook.rules)


def make_sample(playbook: Playbook, rule: Rule, rng: random.Random, most_bytes: int = LARGEST) -> PlannedFile:
    """A file that this rule of the playbook decides; raises NoSampleError."""
    when = rule.when or Match()
    lowest, highest = _sizes(when)
    if when.sha256 is not None:
        raise NoSampleError("it asks for a SHA-256, and no file can be made up to have a given one")
    if lowest > highest:
        raise NoSampleError("no file can have the size and the content that it asks for")
    if lowest > most_bytes:
        raise NoSampleError(f"it asks for a file of {lowest} bytes, and there is room for {most_bytes}")
    largest = min(highest, most_bytes)
    spans = [part for span in _spans(playbook, when) for part in _cut(span, _edges(playbook))]
    for number in range(_TRIES):
        for span in spans:
            size = (min(max(rng.randrange(*_USUAL), lowest), largest), lowest, min(largest, _USUAL[1]))
            file = _file(rule, when, span, max(size[number % len(size)], lowest), rng)
            judgement = judgement_of(playbook, file)
            if judgement is not None and judgement.rule == rule and judgement.verdict is rule.verdict:
                if rule.verdict is Verdict.FAULTY and why_forbidden(file.path):
                    continue
                return file
    raise NoSampleError(
        "every file that fits it is decided before it, by another rule or by the list of protected files"
    )


def make_older(playbook: Playbook, file: PlannedFile, rng: random.Random) -> PlannedFile | None:
    """The file as it was months before; None where the playbook would move it or ask a person."""
    modified = filetime_to_datetime(file.times.modified)
    if modified is None:
        return None
    span = _Span(modified - _LONG_BEFORE[0], modified - _LONG_BEFORE[1])
    older = _dated(file.path, file.content, span, rng)
    judgement = judgement_of(playbook, older)
    return None if judgement and judgement.verdict in (Verdict.FAULTY, Verdict.PERSON) else older


def _sizes(when: Match) -> tuple[int, int]:
    size = when.size
    lowest, highest = 0, 2**63
    if size is not None:
        lowest = size.exact if size.exact is not None else size.at_least or 0
        highest = size.exact if size.exact is not None else size.at_most or highest
    lowest = max(lowest, len(when.first_bytes or b""), int(when.all_zero is True))
    if when.all_zero is True and any(when.first_bytes or b""):
        return 1, 0
    return lowest, highest


def _spans(playbook: Playbook, when: Match) -> Iterator[_Span]:
    """When such a file can have been written: as the rule says, else around and before the incident."""
    now = datetime.now(UTC) - timedelta(hours=1)
    if when.modified is not None:
        since, before = when.modified.since, when.modified.before
        if since is None:
            assert before is not None
            wanted = [
                _Span(before - _LONG_BEFORE[0], before - _LONG_BEFORE[1]),
                _Span(before - _AFTER, before),
            ]
        else:
            wanted = [_Span(since, before or since + _AFTER)]
    else:
        published = datetime.combine(playbook.dates.published, time(), UTC)
        begins = playbook.dates.begins or published
        evening = filetime_to_datetime(LAST_EVENING)
        assert evening is not None
        wanted = [
            _Span(begins, playbook.dates.ends or begins + _AFTER),
            _Span(evening - _LONG_BEFORE[0], evening),
            _Span(begins - _LONG_BEFORE[0], begins - _LONG_BEFORE[1]),
            _Span(published, published + _AFTER),
        ]
    earliest = playbook.doubt_times_before
    found = False
    for span in wanted:
        first = max(span.first, earliest) if earliest else span.first
        end = min(span.end, now)
        if first < end:
            found = True
            yield _Span(first, end)
    if not found:
        raise NoSampleError("it asks for a time that lies in the future, or too long ago to make sense")


def _edges(playbook: Playbook) -> list[datetime]:
    """The times at which the playbook's verdict may change."""
    spans = [rule.when.modified for rule in playbook.rules if rule.when and rule.when.modified]
    return sorted({edge for span in spans for edge in (span.since, span.before) if edge is not None})


def _cut(span: _Span, edges: list[datetime]) -> Iterator[_Span]:
    """A span in pieces, each of which is tried, however short it is."""
    first = span.first
    for edge in edges:
        if first < edge < span.end:
            yield _Span(first, edge)
            first = edge
    yield _Span(first, span.end)


def _file(rule: Rule, when: Match, span: _Span, size: int, rng: random.Random) -> PlannedFile:
    path = "\\" + "\\".join(_name(part, rng) for part in rule.path.below(WINDOWS))
    return _dated(path, _content(when, size, rng), span, rng)


def _dated(path: str, content: bytes, span: _Span, rng: random.Random) -> PlannedFile:
    times = written_once(rng, datetime_to_filetime(span.first), datetime_to_filetime(span.end))
    protection = ONLY_SYSTEM if path.casefold().startswith("\\windows\\") else PROGRAM_FILES
    return PlannedFile(path, content, times, protection)


def _content(when: Match, size: int, rng: random.Random) -> bytes:
    if when.all_zero:
        return bytes(size)
    prefix = when.first_bytes or b""
    rest = bytearray(rng.randbytes(size - len(prefix)))
    if rest:
        rest[0] |= 1  # never by accident nothing but zero bytes
    return prefix + bytes(rest)


def _name(component: str, rng: random.Random) -> str:
    made = ""
    for character in component:
        if character == "*":
            made += f"{'-' if made[-1:].isalnum() else ''}{rng.randrange(10**8):08d}"
        else:
            made += str(rng.randrange(10)) if character == "?" else character
    return made
