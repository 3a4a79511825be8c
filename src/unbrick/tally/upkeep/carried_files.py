"""Reads the lines of what somebody carried here: a file, an outbox, a stick. What else lies there is named.

The folder came from anywhere: no link in it is followed, nothing but plain files is opened, and what holds no
report is not read to its end.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from unbrick.errors import UsageError
from unbrick.files import NoPlainFileError, open_plain

_LONGEST_LINE = 1024 * 1024
_MOST_WITHOUT_A_REPORT = 4 * 1024 * 1024
_OUTBOX = "outbox"
# What an outbox holds beside its reports: what was set aside, each with its reason, and what is half-written.
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
class Line:
    """A line of a file, by its number from 1. Who reads it says whether it `held` a report."""

    file: str
    number: int
    content: bytes
    held: bool = False

    @property
    def is_cut_off(self) -> bool:
        """Whether it has no end: a file that was torn, or a line of a megabyte and more."""
        return not self.content.endswith(b"\n")


class Findings(Protocol):
    """Who is told of what was not read."""

    def skip(self, file: str, why: str) -> None:
        """A file was skipped: none of its lines held a report, or it was not opened."""

    def give_up(self, file: str, why: str) -> None:
        """The rest of a file that held reports was not read."""


def read_lines(place: Path, findings: Findings) -> Iterator[Line]:
    """The lines of a file, an outbox or an opened stick; raises UsageError where there is nothing to read.

    What somebody named may be a link; what lies in a folder may not.
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


def _of_folder(place: Path, folder: int, findings: Findings) -> Iterator[Line]:
    """A folder's files, or those of the outbox in it."""
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
    """Whether an outbox has that beside its reports."""
    if name in _SET_ASIDE:
        return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    return name.startswith(".") or name.endswith(_REASON)


def _of_file(name: str, stream: IO[bytes], findings: Findings, *, may_be_empty: bool) -> Iterator[Line]:
    held, number, fruitless = False, 0, 0
    try:
        with stream:
            for number, content in enumerate(_split(stream), 1):
                line = Line(name, number, content)
                if content.strip():
                    yield line
                held |= line.held
                fruitless = 0 if line.held else fruitless + len(content)
                if fruitless > _MOST_WITHOUT_A_REPORT:
                    break
    except OSError as error:
        tell = findings.give_up if held else findings.skip
        tell(name, f"it cannot be read to its end: {error.strerror}")
        return
    if held and fruitless > _MOST_WITHOUT_A_REPORT:
        findings.give_up(name, f"what follows before line {number} is no report, and the rest was not read")
    elif not held and (number or not may_be_empty):
        findings.skip(name, "it holds no report")


def _split(stream: IO[bytes]) -> Iterator[bytes]:
    """The lines; of one that is too long its first megabyte, and no more of it."""
    while line := stream.readline(_LONGEST_LINE):
        yield line
        passed = len(line)
        while not line.endswith(b"\n") and passed <= _MOST_WITHOUT_A_REPORT:
            line = stream.readline(_LONGEST_LINE)
            if not line:
                return
            passed += len(line)
