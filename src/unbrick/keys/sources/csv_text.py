"""From the bytes of a keys file to its numbered lines; never shows what a file holds in a message."""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from unbrick.errors import UsageError
from unbrick.settings.csv_records import physical_lines

MOST_BYTES = 64 * 1024 * 1024
MOST_LINES = 1_000_000

_SNIFFED_BYTES = 4096
_OTHER_FORMATS = (
    (b"PK\x03\x04", "an Excel workbook or a ZIP archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"%PDF", "a PDF"),
    (b"{\\rtf", "a Word document"),
)
_HOW_TO_EXPORT = "export the keys as CSV, with the columns KeyID,RecoveryKey"


@contextmanager
def opened(path: Path, name: str) -> Iterator[IO[bytes]]:
    """A keys file, or a pipe, of which nothing was read yet; raises UsageError, which calls it `name`."""
    try:
        with path.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
                raise UsageError(f"{name} is a device, not a file of keys", hint=_HOW_TO_EXPORT)
            yield stream
    except IsADirectoryError:
        raise UsageError(f"{name} is a folder, not a file of keys", hint="name the CSV file itself") from None
    except FileNotFoundError:
        raise UsageError(f"there is no keys file {name}", hint="check the path given to --keys") from None
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror or 'input/output error'}") from None


def read_bytes(stream: IO[bytes], name: str) -> bytes:
    """The content of what was opened; raises UsageError."""
    try:
        data = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror or 'input/output error'}") from None
    if len(data) > MOST_BYTES:
        raise UsageError(f"{name} is larger than {MOST_BYTES >> 20} MiB, too large for a file of keys")
    return data


def decode(data: bytes, name: str) -> str:
    """The text of a file as Windows, Excel or PowerShell wrote it; raises UsageError where it is none.

    UTF-8 and UTF-16 with or without a byte order mark, else the Western code page 1252.
    """
    if not data.strip(b"\0 \t\r\n"):
        raise UsageError(f"{name} is empty", hint=_HOW_TO_EXPORT)
    for magic, what in _OTHER_FORMATS:
        if data.startswith(magic):
            raise UsageError(f"{name} is {what}, not a CSV", hint=_HOW_TO_EXPORT)
    if data.startswith(codecs.BOM_UTF8):
        return data.decode("utf-8-sig", errors="replace")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    sniffed = data[:_SNIFFED_BYTES]
    if b"\0" in sniffed:
        zeros = (sniffed[0::2].count(0), sniffed[1::2].count(0))
        few, many = len(sniffed) // 20, len(sniffed) // 4
        if zeros[0] <= few and zeros[1] >= many:
            return data.decode("utf-16-le", errors="replace")
        if zeros[1] <= few and zeros[0] >= many:
            return data.decode("utf-16-be", errors="replace")
        raise UsageError(f"{name} is not a text file", hint=_HOW_TO_EXPORT)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def split_lines(text: str, name: str) -> list[str]:
    """The physical lines, as an editor numbers them from 1; raises UsageError where there are too many."""
    lines = physical_lines(text)
    if len(lines) > MOST_LINES:
        raise UsageError(f"{name} has more than a million lines, too many for a file of keys")
    return lines
