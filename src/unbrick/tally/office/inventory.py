"""Reads the list of expected machines, a CSV that was exported somewhere: good lines count, bad ones are
named.

What an export puts before its heading (titles, `#TYPE`, `sep=;`) is skipped; `inventory_headings.py` knows
the columns. Lines of one machine are joined; where they contradict each other, the first one counts and that
is said. A cell is only text to show: what a spreadsheet would run as a formula loses its sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from unbrick.errors import UsageError
from unbrick.events.identity import valid_serial
from unbrick.settings import csv_text
from unbrick.settings.csv_records import DELIMITERS, Record, declared_delimiter, physical_lines, read_records
from unbrick.tally.count.names import domain_of, name_key, serial_key
from unbrick.tally.office.inventory_headings import COLUMNS, HINT, Columns, column_of, columns_of
from unbrick.tally.records import LineProblem

SORT = csv_text.Sort("an inventory", "file", 256 * 1024 * 1024, f"export it as CSV: {HINT}")
MOST_LINES = 1_000_000  # below the heading
_MOST_LINES_BEFORE_THE_HEADING = 100
_LONGEST_CELL = 128
_LONGEST_NAME = 64
_MOST_PROBLEMS = 100
_STARTS_A_FORMULA = "=+-@\t\r"
_WORDS = {"serial": "serial number"}

Line = dict[str, str | None]
"""A row of table `expected`."""


@dataclass
class Problems:
    """Lines with a problem: how many, and the first of them."""

    count: int = 0
    first: list[LineProblem] = field(default_factory=list)

    def add(self, line: int, message: str) -> None:
        self.count += 1
        if len(self.first) < _MOST_PROBLEMS:
            self.first.append(LineProblem(line, message))


@dataclass
class Inventory:
    """The usable lines by name key, the number of each, and the problems of others.

    `nameless` are keys of lines with a serial number only; `disputed` are the columns in which lines of one
    machine disagree.
    """

    columns: Columns
    lines: dict[str, Line] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    nameless: set[str] = field(default_factory=set)
    disputed: dict[str, set[str]] = field(default_factory=dict)
    bad: Problems = field(default_factory=Problems)
    contradictions: Problems = field(default_factory=Problems)
    _by_serial: dict[str, str] = field(default_factory=dict)
    _texts: dict[str, str] = field(default_factory=dict)

    def take(self, number: int, name: str, cells: Line) -> None:
        """Take a line's cells; its machine is called `name`, or known by its serial number alone."""
        serial = cells["serial"]
        of_serial = serial_key(serial) if serial else None
        key = name_key(name) if name else self._by_serial.get(of_serial or "", of_serial or "")
        shown = name or serial
        line: Line = {"name_key": key, "name": key if shown == key else shown, "serial_key": of_serial}
        for column, text in cells.items():
            # A site is the same text in thousands of lines: it is kept once.
            line[column] = text if text is None or column == "serial" else self._texts.setdefault(text, text)
        before = self.lines.get(key)
        if of_serial and (before is None or before["serial_key"] in {None, of_serial}):
            owner = self._by_serial.setdefault(of_serial, key)
            if owner != key and owner in self.nameless:
                self._give_name(owner, key)
            elif owner != key:
                self.contradictions.add(
                    number,
                    f"the serial number of line {self.numbers[owner]} under another name; it stays there",
                )
                line["serial"] = line["serial_key"] = None
        if key in self.lines:
            self._join(number, key, line)
        else:
            self.lines[key] = line
            self.numbers[key] = number
            if not name:
                self.nameless.add(key)

    def _give_name(self, owner: str, key: str) -> None:
        """Give a line that had only a serial number the name from a later line."""
        self.nameless.discard(owner)
        line: Line = {**self.lines.pop(owner), "name_key": key, "name": None}
        number = self.numbers.pop(owner)
        self._by_serial[owner] = key
        self.disputed.setdefault(key, set()).update(self.disputed.pop(owner, ()))
        if key in self.lines:
            self._join(number, key, line)
        else:
            self.lines[key] = line
            self.numbers[key] = number

    def _join(self, number: int, key: str, line: Line) -> None:
        kept = self.lines[key]
        joined, differing = completed(kept, line)
        if differing:
            self.disputed.setdefault(key, set()).update(differing)
            self.contradictions.add(number, differing_sentence(self.numbers[key], differing))
        elif _differ(domain_of(kept["name"] or ""), domain_of(line["name"] or "")):
            self.contradictions.add(
                number,
                f"the name of line {self.numbers[key]} in another domain; they are taken for one machine",
            )
        self.lines[key] = joined


def completed(kept: Line, line: Line) -> tuple[Line, list[str]]:
    """A line with the values that another line of its machine adds; the columns in which they differ."""
    differing = [column for column in COLUMNS[1:] if _differ(kept[column], line[column])]
    return {**kept, **{one: kept[one] or line[one] for one in (*COLUMNS, "serial_key")}}, differing


def differing_sentence(first: int, differing: Sequence[str]) -> str:
    """What is wrong with a line that differs in these columns from the first line of its machine."""
    what = ", ".join(_WORDS.get(column, column) for column in differing)
    return f"the machine of line {first} with another {what}; what was known counts, else line {first}"


def _differ(one: str | None, other: str | None) -> bool:
    return bool(one and other) and str(one).casefold() != str(other).casefold()


def read_inventory(path: Path) -> Inventory:
    """Read a file; raises UsageError: missing, too large, no text, no column `name` or `serial`."""
    with csv_text.opened(path, str(path), SORT) as stream:
        data = csv_text.read_bytes(stream, path.name, SORT)
    return parse_inventory(csv_text.decode(data, path.name, SORT), path.name)


def parse_inventory(text: str, name: str) -> Inventory:
    """Read a text; messages call its file `name`. Raises UsageError where it has no such columns."""
    lines = physical_lines(text)
    if not any(line.strip() for line in lines):
        raise UsageError(f"{name} is empty", hint=HINT)
    delimiter, heading = _find_heading(lines, name)
    inventory = Inventory(columns_of(heading.cells, name))

    def is_one_record(cells: list[str]) -> bool:
        # Lines that an open quotation mark joined may hide other lines of the list.
        inner = (line for cell in cells for line in cell.split("\n")[1:])
        fewest = len(heading.cells) - 1
        return len(cells) == len(heading.cells) and all(line.count(delimiter) < fewest for line in inner)

    taken = 0
    for record in read_records(lines[heading.last :], delimiter, is_one_record):
        if record.cells == heading.cells:
            continue  # joined exports have their headings in between
        if not record.cells or any(cell.strip(" \t\0") for cell in record.cells):
            taken += 1
            if taken > MOST_LINES:
                raise UsageError(f"{name} has more than {MOST_LINES:,} lines, too many for an inventory")
            _take(inventory, heading.last + record.number, record)
    return inventory


def _find_heading(lines: Sequence[str], name: str) -> tuple[str, Record]:
    """The delimiter, and the first record that names a column we need; no machine comes before it.

    A title may look like a heading of one column: a heading with two columns below it is preferred.
    """
    top = lines[:_MOST_LINES_BEFORE_THE_HEADING]
    found: list[tuple[str, Record]] = []
    for delimiter in declared_delimiter(lines[0]) or DELIMITERS:
        candidates = [one for one in read_records(top, delimiter, _is_heading) if _is_heading(one.cells)]
        whole = [one for one in candidates if len(set(map(column_of, one.cells)) - {None}) > 1]
        if candidates:
            is_title = _filled(candidates[0]) == 1 and whole
            found.append((delimiter, whole[0] if is_title else candidates[0]))
    if not found:
        raise UsageError(f"{name} has no column called name or serial", hint=HINT)
    return min(found, key=lambda each: (_filled(each[1]) == 1, each[1].number, -len(each[1].cells)))


def _filled(record: Record) -> int:
    return len([cell for cell in record.cells if cell.strip()])


def _is_heading(cells: Sequence[str]) -> bool:
    return any(column_of(cell) in {"name", "serial"} for cell in cells)


def _take(inventory: Inventory, number: int, record: Record) -> None:
    cells = record.cells
    if not cells:
        return inventory.bad.add(number, "it is far too long")
    if not record.closed:
        return inventory.bad.add(number, "a quotation mark is not closed")
    places = inventory.columns.places
    values = {column: cells[index].strip() if index < len(cells) else "" for column, index in places.items()}
    for column in values.keys() - {"name", "serial"}:
        values[column] = values[column].replace("\n", " ")
    for column, value in values.items():
        if len(value) > _LONGEST_CELL or not value.isprintable():
            return inventory.bad.add(number, f"its {column} is too long or holds control characters")
    name, serial = values.get("name", ""), valid_serial(values.get("serial"))
    shown = name or serial
    if not shown:
        return inventory.bad.add(number, "it has neither a name nor a serial number")
    if len(shown) > _LONGEST_NAME or shown[0] in _STARTS_A_FORMULA:
        return inventory.bad.add(number, "its name is no computer name")
    texts = {
        column: values.get(column, "").lstrip(_STARTS_A_FORMULA).strip() or None for column in COLUMNS[2:]
    }
    serial = serial.lstrip(_STARTS_A_FORMULA) if serial else None
    return inventory.take(number, name, {"serial": serial or None, **texts})
