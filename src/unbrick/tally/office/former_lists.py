"""The lists of expected machines that were replaced, kept in the tally's folder to be put back.

Each is a CSV for `inventory import`; `inventory-1.csv` is the newest.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from unbrick.files import atomic_write, folder_owner
from unbrick.tally.office.inventory_headings import COLUMNS

_MOST = 9


def keep_list(folder: Path, lines: Iterable[Mapping[str, Any]]) -> Path:
    """Keep a list, given as rows of table `expected`; the newest one is not kept twice. Raises OSError."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for line in lines:
        # A machine that is known by its serial number alone has that as its name.
        name = "" if line["name_key"] == line["serial_key"] else line["name"]
        writer.writerow([name, *(line[column] or "" for column in COLUMNS[1:])])
    data = text.getvalue().encode()
    newest = _numbered(folder, 1)
    if newest.is_file() and newest.read_bytes() == data:
        return newest
    for number in range(_MOST - 1, 0, -1):
        if _numbered(folder, number).exists():
            _numbered(folder, number).replace(_numbered(folder, number + 1))
    atomic_write(newest, data, owner=folder_owner(folder))
    return newest


def newest_list(folder: Path) -> Path | None:
    """The list that was replaced last; None where none was."""
    kept = (_numbered(folder, number) for number in range(1, _MOST + 1))
    return next((path for path in kept if path.is_file()), None)


def _numbered(folder: Path, number: int) -> Path:
    return folder / f"inventory-{number}.csv"
