"""From the bytes of an exported CSV to numbered records of cells: encoding, line ends, delimiter, quotes.

Knows nothing of keys, and never shows what a file holds in a message.
"""

from __future__ import annotations

import codecs
import csv
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from unbrick.errors import UsageError

MOST_BYTES = 64 * 1024 * 1024
MOST_LINES = 1_000_000
DELIMITERS = ",;\t|"

_SNIFFED_BYTES = 4096
_MOST_LINES_OF_A_RECORD = 200
_MOST_CHARACTERS_OF_A_RECORD = 64 * 1024
_MOST_CELLS_OF_A_RECORD = 500
_OTHER_FORMATS = (
    (b"PK\x03\x04", "an Excel workbook or a ZIP archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"%PDF", "a PDF"),
    (b"{\\rtf", "a Word document"),
)
_HOW_TO_EXPORT = "export the keys as CSV, with the columns KeyID,RecoveryKey"


def read_bytes(path: Path, name: str) -> bytes:
    """The content of a keys file (or of a pipe); raises UsageError, which calls the file `name`."""
    try:
        with path.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
                raise UsageError(f"{name} is a device, not a file of keys", hint=_HOW_TO_EXPORT)
            data = stream.read(MOST_BYTES + 1)
    except IsADirectoryError:
        raise UsageError(f"{name} is a folder, not a file of keys", hint="name the CSV file itself") from None
    except FileNotFoundError:
        raise UsageError(f"there is no keys file {name}", hint="check the path given to --keys") from None
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
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if len(lines) > MOST_LINES:
        raise UsageError(f"{name} has more than a million lines, too many for a file of keys")
    return lines


def split_cells(line: str, delimiter: str) -> list[str]:
    """The cells of one record; an unclosed quotation mark takes the rest of the record."""
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        return line.split(delimiter)


def is_absurd(line: str, delimiter: str) -> bool:
    """Whether a line is longer, or has more cells, than any line of keys."""
    return len(line) > _MOST_CHARACTERS_OF_A_RECORD or line.count(delimiter) >= _MOST_CELLS_OF_A_RECORD


def read_records(
    lines: Sequence[str], delimiter: str, is_one_record: Callable[[list[str]], bool]
) -> Iterator[tuple[int, list[str]]]:
    """Each record as (number of its first line, cells); blank lines are left out, absurd ones have no cells.

    A quoted cell may run over several lines. So that one stray quotation mark does not swallow the good
    lines after it, such a record counts only where `is_one_record` recognises its cells; otherwise each
    of its lines is judged alone.
    """
    index = 0
    while index < len(lines):
        line = lines[index]
        if line.count('"') % 2:
            length = _lines_of_record(lines, index)
            cells = split_cells("\n".join(lines[index : index + length]), delimiter) if length > 1 else []
            if cells and is_one_record(cells):
                yield index + 1, cells
                index += length
                continue
        if is_absurd(line, delimiter):
            yield index + 1, []
        elif line and not line.isspace():
            yield index + 1, split_cells(line, delimiter)
        index += 1


def _lines_of_record(lines: Sequence[str], first: int) -> int:
    """How many lines until the quotation marks are even again; 0 where they never are within reason."""
    size = len(lines[first])
    for index in range(first + 1, min(first + _MOST_LINES_OF_A_RECORD, len(lines))):
        size += len(lines[index])
        if size > _MOST_CHARACTERS_OF_A_RECORD:
            return 0
        if lines[index].count('"') % 2:
            return index - first + 1
    return 0
