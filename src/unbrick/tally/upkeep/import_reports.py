"""Imports reports from files that were carried here; each is counted once, however often it is imported.

A line is an event of an exported outbox, or the text of a square code that a station showed; where that took
several codes, each line is a part, `1/3:part.`, one after the other. An outbox folder has one report in each
of its files.

The folder came from anywhere: no link in it is followed, only plain files are opened, and a file without
reports is not read to its end. It is named, and keeps none of the reports away.
"""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from unbrick.errors import UsageError
from unbrick.events.wire import SignedEvent, WireError, signed_event
from unbrick.files import NoPlainFileError, open_plain
from unbrick.settings.strict import parse_json
from unbrick.signing.carried_text import PREFIX, CarriedTextError, read_text
from unbrick.tally.books.lost_reports import lost_error
from unbrick.tally.count.newcomers import NEW_MACHINES_A_DAY
from unbrick.tally.door.intake import Intake, as_carried
from unbrick.tally.folder import read_settings
from unbrick.tally.store.store import Store
from unbrick.tally.trust.register import StationRegister, keep_accepted, lost_trust

_AT_ONCE = 500
_MOST_NAMED = 1000
_PART = re.compile(rb"([0-9]{1,2})/([0-9]{1,2}):(.*)\.\s*")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NO_REPORT = "a line that is no report"
_CUT_OFF = "a line that is cut off"
_PART_MISSING = "a report in several square codes, of which some are missing"
_LONGEST_LINE = 1024 * 1024
_MOST_WITHOUT_A_REPORT = 4 * 1024 * 1024
_OUTBOX = "outbox"
# Beside its reports an outbox holds what was set aside, each with its reason, and half-written files.
_SET_ASIDE = {"refused", "damaged"}
_REASON = ".reason.txt"
_KINDS = {
    stat.S_IFLNK: "it is a link, and links are not followed",
    stat.S_IFDIR: "it is a folder",
    stat.S_IFIFO: "it is a pipe",
    stat.S_IFSOCK: "it is a socket",
    stat.S_IFBLK: "it is a device",
    stat.S_IFCHR: "it is a device",
}


@dataclass
class ImportCounts:
    """`new` and `known` count events, `refused` by the reason, `skipped` files.

    `expired` counts, by station, reports that were taken although the station's certificate had ended.
    `accepted` are fingerprints, by name, of keys that are not enrolled and that signed some of the reports.
    `held` counts the machines that do not count for now, because nobody knew them and they were too many.
    `files` are the first skipped ones, each with why; `lines` the first damaged ones: file, number, what.
    """

    new: int = 0
    known: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    skipped: int = 0
    expired: Counter[str] = field(default_factory=Counter)
    files: list[tuple[str, str]] = field(default_factory=list)
    lines: list[tuple[str, int, str]] = field(default_factory=list)
    accepted: dict[str, str] = field(default_factory=dict)
    held: int = 0

    @property
    def all_taken(self) -> bool:
        return not self.refused and not self.skipped


def import_export(
    directory: Path,
    file: Path,
    accepted: Collection[str] = (),
    *,
    counts: ImportCounts | None = None,
    on_accepted: Callable[[str, str], None] = lambda *_: None,
    by: str | None = None,
    why: str = "",
    new_machines: int = NEW_MACHINES_A_DAY,
) -> ImportCounts:
    """Judge and store every event of a file, an outbox, or an opened stick; raises UsageError, StoreError.

    `accepted` are fingerprints (`SHA256:…`) of keys that count although they are not enrolled: those of media
    without settings. The register keeps them, with `by` whom and `why`, so that they can be revoked;
    `on_accepted` is called with the name and the key of each before any of its reports counts. So many
    `new_machines` that nobody knew count of each station; all are of the day of the import. `counts` that are
    given are filled as it goes on, also where it is stopped.
    """
    folder, _ = read_settings(directory)
    if (loss := lost_trust(folder)) is not None:
        raise lost_error(loss)
    intake = Intake(StationRegister(folder.stations), lambda: datetime.now(UTC), accepted)
    counts = counts or ImportCounts()
    with Store.open(folder.database, create=False) as store:
        store.new_machines_a_day = new_machines
        before = store.summary().held
        for batch in _batches(file, counts):
            judged = intake.judge(batch)
            counts.refused.update(one.text for one in judged.refused)
            counts.expired += judged.expired
            fresh = [one for name, one in judged.accepted.items() if name not in counts.accepted]
            if fresh:
                for one in fresh:
                    on_accepted(one.name, one.fingerprint)
                keep_accepted(
                    folder.stations, [replace(one, by=by, accepted_why=why or None) for one in fresh]
                )
                counts.accepted |= {one.name: one.fingerprint for one in fresh}
            new = store.add(as_carried(judged.received))
            counts.new += new
            counts.known += len(judged.received) - new
        counts.held = max(store.summary().held - before, 0)
    return counts


@dataclass
class _Line:
    """A line of a file, numbered from 1; `held` is set once it is known to hold a report."""

    file: str
    number: int
    content: bytes
    held: bool = False

    @property
    def is_cut_off(self) -> bool:
        """Whether it has no end: the file was torn, or the line is longer than a megabyte."""
        return not self.content.endswith(b"\n")


class _Findings:
    """Counts skipped files, and the damaged lines of those that hold reports."""

    def __init__(self, counts: ImportCounts) -> None:
        self._counts = counts
        self._file = ""
        self._damaged: Counter[str] = Counter()
        self._lines: list[tuple[str, int, str]] = []

    def skip(self, file: str, why: str) -> None:
        if file == self._file:  # named as a whole, not line by line
            self._damaged.clear()
            self._lines.clear()
        self.give_up(file, why)

    def give_up(self, file: str, why: str) -> None:
        self._counts.skipped += 1
        if len(self._counts.files) < _MOST_NAMED:
            self._counts.files.append((file, why))

    def damaged(self, line: _Line, what: str) -> None:
        if line.file != self._file:
            self.settle()
            self._file = line.file
        self._damaged[what] += 1
        if len(self._lines) + len(self._counts.lines) < _MOST_NAMED:
            self._lines.append((line.file, line.number, what))

    def settle(self) -> None:
        self._counts.refused += self._damaged
        self._counts.lines += self._lines
        self._damaged.clear()
        self._lines.clear()


def _batches(place: Path, counts: ImportCounts) -> Iterator[list[SignedEvent]]:
    batch: list[SignedEvent] = []
    findings = _Findings(counts)
    for line, content in _joined(_read_lines(place, findings), findings):
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


def _joined(lines: Iterator[_Line], findings: _Findings) -> Iterator[tuple[_Line, bytes]]:
    parts: list[bytes] = []
    count = 0
    last: _Line | None = None
    for line in lines:
        content = line.content.removeprefix(_BYTE_ORDER_MARK) if line.number == 1 else line.content
        part = _PART.fullmatch(content)
        if parts and last and (part is None or (int(part[1]), int(part[2])) != (len(parts) + 1, count)):
            findings.damaged(last, _PART_MISSING)
            parts = []
        if part is None:
            yield line, content
        elif parts or int(part[1]) == 1:
            line.held = True  # a part is of a report, wherever the other parts are
            last, count = line, int(part[2])
            parts.append(part[3])
            if len(parts) == count:
                yield line, b"".join(parts)
                parts = []
        else:
            findings.damaged(line, _PART_MISSING)
    if parts and last:
        findings.damaged(last, _PART_MISSING)


def _read_lines(place: Path, findings: _Findings) -> Iterator[_Line]:
    """The lines of a file, an outbox or an opened stick; raises UsageError where there is nothing to read.

    `place` may be a link; what is in a folder may not.
    """
    try:
        opened = open_plain(place, follow=True)
    except NoPlainFileError as error:
        if error.kind != stat.S_IFDIR:
            raise UsageError(f"{place} is no plain file") from error
    except OSError as error:
        raise UsageError(f"{place} cannot be read: {error.strerror}") from error
    else:
        yield from _of_file(place.name, opened, findings, may_be_empty=True)
        return
    try:
        folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"{place} cannot be read: {error.strerror}") from error
    try:
        yield from _of_folder(place, folder, findings)
    finally:
        os.close(folder)


def _of_folder(place: Path, folder: int, findings: _Findings) -> Iterator[_Line]:
    inner = None
    with suppress(OSError):
        inner = os.open(_OUTBOX, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    here, shown = (folder, place) if inner is None else (inner, place / _OUTBOX)
    try:
        with os.scandir(here) as entries:
            names = sorted(one.name for one in entries if not _is_own(here, one.name))
        if not names:
            raise UsageError(
                f"{shown} holds no reports", hint="name the folder `outbox` of a stick, or an export"
            )
        for name in names:
            try:
                stream = open_plain(name, folder=here)
            except NoPlainFileError as error:
                findings.skip(name, _KINDS.get(error.kind, "it is no plain file"))
            except OSError as error:
                findings.skip(name, f"it cannot be read: {error.strerror}")
            else:
                yield from _of_file(name, stream, findings, may_be_empty=False)
    except OSError as error:
        raise UsageError(f"{shown} cannot be read: {error.strerror}") from error
    finally:
        if inner is not None:
            os.close(inner)


def _is_own(folder: int, name: str) -> bool:
    if name in _SET_ASIDE:
        return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    return name.startswith(".") or name.endswith(_REASON)


def _of_file(name: str, stream: IO[bytes], findings: _Findings, *, may_be_empty: bool) -> Iterator[_Line]:
    held, number, fruitless = False, 0, 0
    try:
        with stream:
            for number, content in enumerate(_split(stream), 1):
                line = _Line(name, number, content)
                if content.strip():
                    yield line
                held |= line.held
                fruitless = 0 if line.held else fruitless + len(content)
                if fruitless > _MOST_WITHOUT_A_REPORT:
                    break
    except OSError as error:
        report = findings.give_up if held else findings.skip
        report(name, f"it cannot be read to its end: {error.strerror}")
        return
    if held and fruitless > _MOST_WITHOUT_A_REPORT:
        findings.give_up(name, f"what follows before line {number} is no report, and the rest was not read")
    elif not held and (number or not may_be_empty):
        findings.skip(name, "it holds no report")


def _split(stream: IO[bytes]) -> Iterator[bytes]:
    """The lines; of one that is too long only the first megabyte."""
    while line := stream.readline(_LONGEST_LINE):
        yield line
        passed = len(line)
        while not line.endswith(b"\n") and passed <= _MOST_WITHOUT_A_REPORT:
            line = stream.readline(_LONGEST_LINE)
            if not line:
                return
            passed += len(line)
