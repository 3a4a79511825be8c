"""The machines that are expected, from a CSV that somebody exported: good lines work, bad ones are named.

Columns: name, serial, site, service, priority, owner, in any order and case; others are left alone. What an
export puts before its heading (titles, `#TYPE`, `sep=;`) is passed over. Cells are text to show and nothing
else, so what a spreadsheet would run loses its sign.
"""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from unbrick.csv_records import DELIMITERS, Record, declared_delimiter, physical_lines, read_records
from unbrick.errors import UsageError
from unbrick.identity import valid_serial
from unbrick.tally.bulk import chunks, rows_of, rows_where
from unbrick.tally.machines import refresh
from unbrick.tally.names import name_key, serial_key
from unbrick.tally.records import InventoryCounts, LineProblem
from unbrick.tally.schema import expected, machine_names, machines

COLUMNS = ("name", "serial", "site", "service", "priority", "owner")
MOST_BYTES = 64 * 1024 * 1024
MOST_LINES = 1_000_000

_OTHER_HEADINGS = {
    "hostname": "name",
    "host": "name",
    "computer": "name",
    "computername": "name",
    "serialnumber": "serial",
}
_MOST_LINES_BEFORE_THE_HEADING = 100
_LONGEST_CELL = 128
_LONGEST_NAME = 64
_MOST_PROBLEMS = 100
_STARTS_A_FORMULA = "=+-@\t\r"
_HINT = "a CSV with the columns name,serial,site,service,priority,owner is understood"


@dataclass
class Inventory:
    """The usable lines by name key (the last line of a name counts), and what is wrong with the others."""

    lines: dict[str, dict[str, str | None]] = field(default_factory=dict)
    problems: list[LineProblem] = field(default_factory=list)
    bad: int = 0

    def complain(self, line: int, message: str) -> None:
        """Note a line that cannot be used."""
        self.bad += 1
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(LineProblem(line, message))


def read_inventory(path: Path) -> Inventory:
    """Read a file; raises UsageError: missing, too large, no text, no column `name` or `serial`."""
    return parse_inventory(_text(_bytes(path), path.name), path.name)


def parse_inventory(text: str, name: str) -> Inventory:
    """Read the text of a file that messages call `name`; raises UsageError where it has no such columns."""
    lines = physical_lines(text)
    if len(lines) > MOST_LINES:
        raise UsageError(f"{name} has more than {MOST_LINES:,} lines, too many for an inventory")
    if not any(line.strip() for line in lines):
        raise UsageError(f"{name} is empty", hint=_HINT)
    delimiter, heading = _find_heading(lines, name)
    columns = _columns(heading.cells, name)
    inventory = Inventory()

    def is_one_record(cells: list[str]) -> bool:
        """Whether lines that an open quotation mark joined are one line of the list, and hide no other."""
        inner = (line for cell in cells for line in cell.split("\n")[1:])
        fewest = len(heading.cells) - 1
        return len(cells) == len(heading.cells) and all(line.count(delimiter) < fewest for line in inner)

    for record in read_records(lines[heading.last :], delimiter, is_one_record):
        if record.cells == heading.cells:
            continue  # exports that were joined bring their heading again
        if not record.cells or any(cell.strip(" \t\0") for cell in record.cells):
            _take(inventory, heading.last + record.number, record, columns)
    return inventory


def _find_heading(lines: Sequence[str], name: str) -> tuple[str, Record]:
    """The delimiter, and the first record that names a column we need; nothing before it is a machine."""
    top = lines[:_MOST_LINES_BEFORE_THE_HEADING]
    found: list[tuple[str, Record]] = []
    for delimiter in declared_delimiter(lines[0]) or DELIMITERS:
        for record in read_records(top, delimiter, _is_heading):
            if _is_heading(record.cells):
                found.append((delimiter, record))
                break
    if not found:
        raise UsageError(f"{name} has no column called name or serial", hint=_HINT)
    return min(found, key=lambda each: (each[1].number, -len(each[1].cells)))


def _is_heading(cells: Sequence[str]) -> bool:
    return any(_heading(cell) in ("name", "serial") for cell in cells)


def _heading(cell: str) -> str:
    plain = "".join(c for c in cell.casefold() if c.isalnum())
    return _OTHER_HEADINGS.get(plain, plain)


def _columns(cells: Sequence[str], name: str) -> dict[str, int]:
    columns: dict[str, int] = {}
    for index, cell in enumerate(cells):
        heading = _heading(cell)
        if heading in COLUMNS:
            if heading in columns:
                raise UsageError(f"{name} has the column {heading} twice", hint=_HINT)
            columns[heading] = index
    return columns


def _take(inventory: Inventory, number: int, record: Record, columns: Mapping[str, int]) -> None:
    cells = record.cells
    if not cells:
        return inventory.complain(number, "it is far too long")
    if not record.closed:
        return inventory.complain(number, "a quotation mark is not closed")
    values = {column: cells[index].strip() if index < len(cells) else "" for column, index in columns.items()}
    for column in values.keys() - {"name", "serial"}:
        values[column] = values[column].replace("\n", " ")
    for column, value in values.items():
        if len(value) > _LONGEST_CELL or not value.isprintable():
            return inventory.complain(number, f"its {column} is too long or holds control characters")
    name, serial = values.get("name", ""), valid_serial(values.get("serial"))
    shown = name or serial
    if not shown:
        return inventory.complain(number, "it has neither a name nor a serial number")
    if len(shown) > _LONGEST_NAME or shown[0] in _STARTS_A_FORMULA:
        return inventory.complain(number, "its name is no computer name")
    texts = {column: values.get(column, "").lstrip(_STARTS_A_FORMULA).strip() or None for column in COLUMNS}
    serial = serial.lstrip(_STARTS_A_FORMULA) if serial else None
    key = name_key(name) if name else serial_key(shown)
    inventory.lines[key] = {
        **texts,
        "name_key": key,
        "name": shown,
        "serial": serial or None,
        "serial_key": serial_key(serial) if serial else None,
    }
    return None


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
                raise UsageError(f"{path.name} is a device, not an inventory", hint=_HINT)
            data = stream.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or 'input/output error'}") from None
    if len(data) > MOST_BYTES:
        raise UsageError(f"{path.name} is larger than {MOST_BYTES >> 20} MiB, too large for an inventory")
    return data


def _text(data: bytes, name: str) -> str:
    """The text as Windows, Excel or PowerShell wrote it: UTF-8, UTF-16 with its mark, else code page 1252."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    if b"\0" in data or data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"%PDF")):
        raise UsageError(f"{name} is not a text file", hint=f"export it as CSV: {_HINT}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def take_inventory(connection: Connection, inventory: Inventory, *, replace: bool) -> InventoryCounts:
    """Bring the table of expected machines to what the inventory says, and the rows with it."""
    known = {row["name_key"]: row for row in rows_of(connection, select(expected))}
    added = [line for key, line in inventory.lines.items() if key not in known]
    updated = [line for key, line in inventory.lines.items() if key in known and known[key] != line]
    removed = [known[key] for key in known if key not in inventory.lines] if replace else []
    if added:
        connection.execute(insert(expected), added)
    if updated:
        values: dict[str, Any] = {name: bindparam(name) for name in updated[0] if name != "name_key"}
        connection.execute(
            update(expected).where(expected.c.name_key == bindparam("the_name")).values(values),
            [{**line, "the_name": line["name_key"]} for line in updated],
        )
    for chunk in chunks(line["name_key"] for line in removed):
        connection.execute(delete(expected).where(expected.c.name_key.in_(chunk)))
    before = [known[str(line["name_key"])] for line in updated]
    _refresh_lines(connection, [*added, *updated, *removed, *before])
    return InventoryCounts(
        added=len(added),
        updated=len(updated),
        unchanged=len(inventory.lines) - len(added) - len(updated),
        removed=len(removed),
        bad=inventory.bad,
        problems=tuple(inventory.problems),
    )


def _refresh_lines(connection: Connection, lines: Iterable[Mapping[str, Any]]) -> None:
    """Make anew the rows of the machines that these lines may be about, and the lines' own."""
    names = {line["name_key"] for line in lines}
    serials = {line["serial_key"] for line in lines if line["serial_key"]}
    keys = {row["key"] for row in rows_where(connection, machine_names, machine_names.c.name_key, names)}
    keys |= {row["key"] for row in rows_where(connection, machines, machines.c.serial_key, serials)}
    refresh(connection, keys, names)
