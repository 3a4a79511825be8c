"""Takes reports that came as a file, as `import` is told to; counted once, whoever carries them.

A line is an event of an exported outbox, or the text of a picture that a station showed; where that took
several pictures, each line is a part, `1/3:part.`, one after the other. A stick's outbox, a folder with
a line in each of its files, is read as it lies there. What else lies there keeps none of the reports away.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from unbrick.events.wire import SignedEvent, WireError, signed_event
from unbrick.settings.strict import parse_json
from unbrick.signing.carried_text import PREFIX, CarriedTextError, read_text
from unbrick.tally.door.delayed import as_carried
from unbrick.tally.door.intake import Intake
from unbrick.tally.folder import read_settings
from unbrick.tally.store.store import Store
from unbrick.tally.trust.register import StationRegister, keep_accepted
from unbrick.tally.upkeep.carried_files import Line, read_lines

_AT_ONCE = 500
_MOST_NAMED = 1000
_PART = re.compile(rb"([0-9]{1,2})/([0-9]{1,2}):(.*)\.\s*")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NO_REPORT = "a line that is no report"
_CUT_OFF = "a line that is cut off"
_PART_MISSING = "a report in several square codes, of which some are missing"


@dataclass
class ImportCounts:
    """What became of it all: events new here, events known already, what was refused by the reason, and how
    many files were skipped.

    `expired` counts, of what was taken, reports of stations whose certificates have ended, by station.
    `accepted` are the keys (fingerprints, by name) that nobody enrolled and that signed some of it.
    `files` are the first of those, each with why; `lines` the first damaged lines: file, number, what it is.
    """

    new: int = 0
    known: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    skipped: int = 0
    expired: Counter[str] = field(default_factory=Counter)
    files: list[tuple[str, str]] = field(default_factory=list)
    lines: list[tuple[str, int, str]] = field(default_factory=list)
    accepted: dict[str, str] = field(default_factory=dict)

    @property
    def all_taken(self) -> bool:
        """Whether nothing was refused or skipped."""
        return not self.refused and not self.skipped


def import_export(
    directory: Path, file: Path, accepted: Collection[str] = (), *, by: str | None = None, why: str = ""
) -> ImportCounts:
    """Judge and store every event of a file, an outbox, or an opened stick; raises UsageError, StoreError.

    `accepted` are fingerprints (`SHA256:…`) of keys that count although nobody enrolled them: those of media
    that went without settings. They are kept in the register, with `by` whom and `why`, to be revoked.
    """
    folder, _ = read_settings(directory)
    intake = Intake(StationRegister(folder.stations), lambda: datetime.now(UTC), accepted)
    counts = ImportCounts()
    with Store.open(folder.database, create=False) as store:
        for batch in _batches(file, counts):
            judged = intake.judge(batch)
            counts.refused.update(one.text for one in judged.refused)
            counts.expired += judged.expired
            fresh = [one for name, one in judged.accepted.items() if name not in counts.accepted]
            if fresh:
                keep_accepted(
                    folder.stations, [replace(one, by=by, accepted_why=why or None) for one in fresh]
                )
                counts.accepted |= {one.name: one.fingerprint for one in fresh}
            new = store.add(as_carried(judged.received))
            counts.new += new
            counts.known += len(judged.received) - new
    return counts


class _Findings:
    """Counts what was skipped, and the damaged lines of the file that is being read."""

    def __init__(self, counts: ImportCounts) -> None:
        self._counts = counts
        self._file = ""
        self._damaged: Counter[str] = Counter()
        self._lines: list[tuple[str, int, str]] = []

    def skip(self, file: str, why: str) -> None:
        """See `Findings`. That it holds no report is all there is to say of its lines."""
        if file == self._file:
            self._damaged.clear()
            self._lines.clear()
        self.give_up(file, why)

    def give_up(self, file: str, why: str) -> None:
        """See `Findings`."""
        self._counts.skipped += 1
        if len(self._counts.files) < _MOST_NAMED:
            self._counts.files.append((file, why))

    def damaged(self, line: Line, what: str) -> None:
        """A line that holds no report."""
        if line.file != self._file:
            self.settle()
            self._file = line.file
        self._damaged[what] += 1
        if len(self._lines) + len(self._counts.lines) < _MOST_NAMED:
            self._lines.append((line.file, line.number, what))

    def settle(self) -> None:
        """Count the damaged lines of a file that held reports."""
        self._counts.refused += self._damaged
        self._counts.lines += self._lines
        self._damaged.clear()
        self._lines.clear()


def _batches(place: Path, counts: ImportCounts) -> Iterator[list[SignedEvent]]:
    batch: list[SignedEvent] = []
    findings = _Findings(counts)
    for line, content in _joined(read_lines(place, findings), findings):
        try:
            batch += _events(content)
            line.held = True
        except (ValueError, WireError, CarriedTextError):
            findings.damaged(line, _CUT_OFF if line.is_cut_off else _NO_REPORT)
        if len(batch) >= _AT_ONCE:
            yield batch
            batch = []
    findings.settle()
    yield batch


def _events(line: bytes) -> tuple[SignedEvent, ...]:
    if line.startswith(PREFIX.encode()):
        return read_text(line.decode())
    return (signed_event(parse_json(line)),)


def _joined(lines: Iterator[Line], findings: _Findings) -> Iterator[tuple[Line, bytes]]:
    """The lines, with the parts of each text that took several pictures put together."""
    parts: list[bytes] = []
    count = 0
    last: Line | None = None
    for line in lines:
        content = line.content.removeprefix(_BYTE_ORDER_MARK) if line.number == 1 else line.content
        part = _PART.fullmatch(content)
        if parts and last and (part is None or (int(part[1]), int(part[2])) != (len(parts) + 1, count)):
            findings.damaged(last, _PART_MISSING)
            parts = []
        if part is None:
            yield line, content
        elif parts or int(part[1]) == 1:
            # A part is a part of a report, wherever the others are.
            line.held = True
            last, count = line, int(part[2])
            parts.append(part[3])
            if len(parts) == count:
                yield line, b"".join(parts)
                parts = []
        else:
            findings.damaged(line, _PART_MISSING)
    if parts and last:
        findings.damaged(last, _PART_MISSING)
