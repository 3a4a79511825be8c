"""Takes reports that came as a file, as `import` is told to; counted once, whoever carries them.

A line is an event of an exported outbox, or the text of a picture that a station showed; where that took
several pictures, each line is a part, `1/3:part.`, one after the other. A stick's outbox, a folder with
a line in each of its files, is read as it lies there.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from unbrick.carried_reports import PREFIX, CarriedTextError, read_text
from unbrick.errors import UsageError
from unbrick.tally.intake import Intake
from unbrick.tally.register import StationRegister
from unbrick.tally.settings import read_settings
from unbrick.tally.store import Store
from unbrick.wire import SignedEvent, WireError, signed_event

_LONGEST_LINE = 1024 * 1024
_AT_ONCE = 500
_OUTBOX = "outbox"
_PART = re.compile(rb"([0-9]{1,2})/([0-9]{1,2}):(.*)\.\s*")


@dataclass
class ImportCounts:
    """What became of the lines: events new here, events known already, and lines refused by the reason."""

    new: int = 0
    known: int = 0
    refused: Counter[str] = field(default_factory=Counter)


def import_export(directory: Path, file: Path, accepted: Collection[str] = ()) -> ImportCounts:
    """Judge and store every event of a file, an outbox, or an opened stick; raises UsageError, StoreError.

    `accepted` are fingerprints (`SHA256:…`) of keys that count although nobody enrolled them: those of media
    that went without settings.
    """
    folder, _ = read_settings(directory)
    intake = Intake(StationRegister(folder.stations), lambda: datetime.now(UTC), accepted)
    counts = ImportCounts()
    with Store.open(folder.database) as store:
        for batch in _batches(file, counts):
            judged = intake.judge(batch)
            counts.refused.update(one.text for one in judged.refused)
            new = store.add(judged.received)
            counts.new += new
            counts.known += len(judged.received) - new
    return counts


def _batches(file: Path, counts: ImportCounts) -> Iterator[list[SignedEvent]]:
    batch: list[SignedEvent] = []
    for line in _joined(_lines(file), counts):
        try:
            batch += _events(line)
        except (ValueError, RecursionError, WireError, CarriedTextError):
            counts.refused["a line that is no exported event"] += 1
        if len(batch) >= _AT_ONCE:
            yield batch
            batch = []
    yield batch


def _events(line: bytes) -> tuple[SignedEvent, ...]:
    if line.startswith(PREFIX.encode()):
        return read_text(line.decode())
    return (signed_event(json.loads(line)),)


def _joined(lines: Iterator[bytes], counts: ImportCounts) -> Iterator[bytes]:
    """The lines, with the parts of each text that took several pictures put together."""
    parts: list[bytes] = []
    count = 0
    for line in lines:
        part = _PART.fullmatch(line)
        if parts and (part is None or (int(part[1]), int(part[2])) != (len(parts) + 1, count)):
            counts.refused["a report in several square codes, of which some are missing"] += 1
            parts = []
        if part is None:
            yield line
        elif parts or int(part[1]) == 1:
            count = int(part[2])
            parts.append(part[3])
            if len(parts) == count:
                yield b"".join(parts)
                parts = []
        else:
            counts.refused["a report in several square codes, of which some are missing"] += 1
    if parts:
        counts.refused["a report in several square codes, of which some are missing"] += 1


def _lines(file: Path) -> Iterator[bytes]:
    try:
        for part in _files(file):
            # Carried here from anywhere: a link or a pipe in its place must not be followed, nor block.
            descriptor = os.open(part, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | _follow(part, file))
            with os.fdopen(descriptor, "rb") as stream:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise UsageError(f"{part} is no plain file")
                while line := stream.readline(_LONGEST_LINE):
                    if len(line) == _LONGEST_LINE:
                        raise UsageError(f"{part} is no export of an outbox: a line without an end")
                    if line.strip():
                        yield line
    except OSError as error:
        raise UsageError(f"{error.filename or file} cannot be read: {error.strerror}") from error


def _files(place: Path) -> list[Path]:
    """The file itself, or the reports of an outbox: that folder, or an opened stick that holds it."""
    if not place.is_dir():
        return [place]
    folder = place / _OUTBOX if (place / _OUTBOX).is_dir() else place
    reports = sorted(folder.glob("*.json"))
    if not reports:
        raise UsageError(
            f"{folder} holds no reports", hint="name the folder `outbox` of a stick, or an export"
        )
    return reports


def _follow(part: Path, named: Path) -> int:
    """What somebody named may be a link; what lies in a folder that came from somewhere may not."""
    return 0 if part == named else os.O_NOFOLLOW
