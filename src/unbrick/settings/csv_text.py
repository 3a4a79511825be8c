"""From a file that Windows, Excel or PowerShell wrote to its text; no message shows its content."""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from unbrick.errors import UsageError

_SNIFFED_BYTES = 4096
_OTHER_FORMATS = (
    (b"PK\x03\x04", "an Excel workbook or a ZIP archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"%PDF", "a PDF"),
    (b"{\\rtf", "a Word document"),
)


class Sort(NamedTuple):
    """What is read: how messages call it (`a file of keys`, `keys file`), its limit, and how to get one."""

    noun: str
    file: str
    most_bytes: int
    how_to_export: str
    if_missing: str | None = None


@contextmanager
def opened(path: Path, name: str, sort: Sort) -> Iterator[IO[bytes]]:
    """Open a file or a pipe; raises UsageError, which calls it `name`."""
    try:
        with path.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
                raise UsageError(f"{name} is a device, not {sort.noun}", hint=sort.how_to_export)
            yield stream
    except IsADirectoryError:
        raise UsageError(f"{name} is a folder, not {sort.noun}", hint="name the CSV file itself") from None
    except FileNotFoundError:
        raise UsageError(f"there is no {sort.file} {name}", hint=sort.if_missing) from None
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror or 'input/output error'}") from None


def read_bytes(stream: IO[bytes], name: str, sort: Sort) -> bytes:
    """The content of what was opened; raises UsageError."""
    most = sort.most_bytes
    try:
        data = stream.read(most + 1)
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror or 'input/output error'}") from None
    if len(data) > most:
        raise UsageError(f"{name} is larger than {most >> 20} MiB, too large for {sort.noun}")
    return data


def decode(data: bytes, name: str, sort: Sort) -> str:
    """From UTF-8 and UTF-16, with or without a byte order mark, else code page 1252; raises UsageError."""
    if not data.strip(b"\0 \t\r\n"):
        raise UsageError(f"{name} is empty", hint=sort.how_to_export)
    for magic, what in _OTHER_FORMATS:
        if data.startswith(magic):
            raise UsageError(f"{name} is {what}, not a CSV", hint=sort.how_to_export)
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
        raise UsageError(f"{name} is not a text file", hint=sort.how_to_export)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")
