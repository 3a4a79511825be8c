"""From the text of an exported CSV to numbered records of cells: line ends, delimiter, quotation marks.

The file is a stranger's: lines, cells and records are bounded.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

DELIMITERS = ",;\t|"

_MOST_LINES_OF_A_RECORD = 200
_MOST_CHARACTERS_OF_A_RECORD = 64 * 1024
_MOST_CELLS_OF_A_RECORD = 500
_DECLARATION = re.compile(r'"?sep=([,;\t|:^~])"?[,;\t| ]*', re.IGNORECASE)


class Record(NamedTuple):
    """One record. `number` and `last` are its lines, from 1; `cells` is empty where it is absurdly long.

    Not `closed`: a quotation mark is open at its end, so that the last cell may be half of one.
    """

    number: int
    last: int
    cells: list[str]
    closed: bool


def physical_lines(text: str) -> list[str]:
    """The lines as an editor numbers them."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def declared_delimiter(line: str) -> str | None:
    """The delimiter that Excel's own first line (`sep=;`) names; None for every other line."""
    match = _DECLARATION.fullmatch(line)
    return match[1] if match else None


def split_cells(line: str, delimiter: str) -> list[str]:
    """The cells of one record; an open quotation mark takes the rest of it."""
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        return line.split(delimiter)


def is_absurd(line: str, delimiter: str) -> bool:
    """Whether a line is longer, or has more cells, than any real one."""
    return len(line) > _MOST_CHARACTERS_OF_A_RECORD or line.count(delimiter) >= _MOST_CELLS_OF_A_RECORD


def read_records(
    lines: Sequence[str], delimiter: str, is_one_record: Callable[[list[str]], bool]
) -> Iterator[Record]:
    """Every record but blank lines.

    A quoted cell may run over several lines. So that one stray quotation mark does not swallow the good
    lines after it, such a record counts only where `is_one_record` recognises its cells; otherwise each
    of its lines is judged alone.
    """
    index = 0
    while index < len(lines):
        line = lines[index]
        closed = line.count('"') % 2 == 0
        if not closed:
            length = _lines_of_record(lines, index)
            cells = split_cells("\n".join(lines[index : index + length]), delimiter) if length > 1 else []
            if cells and is_one_record(cells):
                yield Record(index + 1, index + length, cells, True)
                index += length
                continue
        if is_absurd(line, delimiter):
            yield Record(index + 1, index + 1, [], closed)
        elif line and not line.isspace():
            yield Record(index + 1, index + 1, split_cells(line, delimiter), closed)
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
