"""Passwords in a table: CSV and TSV with a header or without, of any tool, also saved again by Excel.

Columns are known by their names, which are those of CrowdStrike's BuildISO.ps1, Entra and Graph exports,
Active Directory's msFVE attributes and scripts seen in public; else by what stands in the cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from unbrick.errors import UsageError
from unbrick.keys.password import PasswordError, RecoveryPassword
from unbrick.keys.reading import document
from unbrick.keys.reading.entry import Beside, Entry, Reading
from unbrick.keys.reading.looks import (
    ID_NAMES,
    NAMES_OF_OTHER_GUIDS,
    PASSWORD_NAMES,
    beginning,
    clean,
    computers_in,
    directory_name,
    guids_in,
    ids_in,
    is_a_guid,
    looks_like_a_password,
    passwords_in,
    plain_name,
    time_in,
)
from unbrick.settings.csv_records import (
    DELIMITERS,
    declared_delimiter,
    is_absurd,
    read_records,
    split_cells,
)

MOST_LINES = 1_000_000
_SAMPLED_LINES = 30
_MOST_COMPUTERS = 4


@dataclass(frozen=True)
class _Columns:
    """Where a header says the ids and passwords are; empty where it does not say, and content decides."""

    count: int = 0
    ids: tuple[int, ...] = ()
    passwords: tuple[int, ...] = ()
    other_guids: frozenset[int] = frozenset()

    @property
    def known(self) -> bool:
        return bool(self.ids or self.passwords)


@dataclass(frozen=True)
class _Row:
    """One cell's password or passwords, as text, with what stands beside them."""

    text: str = field(repr=False)
    beside: Beside
    broken_id: bool = False


def read_table(lines: list[str], name: str) -> Reading:
    """The passwords of a table; raises UsageError where it has too many lines."""
    if len(lines) > MOST_LINES:
        raise UsageError(f"{name} has more than a million lines, too many for a file of keys")
    delimiter = declared_delimiter(lines[0])
    if delimiter:
        lines = ["", *lines[1:]]
    table = _Table()
    for record in read_records(lines, delimiter or _find_delimiter(lines), table.is_one_record):
        table.take(record.number, record.cells)
    return table.reading


class _Table:
    """Gathers the passwords of a table, record by record."""

    def __init__(self) -> None:
        self.reading = Reading()
        self._columns = _Columns()
        self._first = True

    def take(self, number: int, cells: list[str]) -> None:
        """Sort one record in: comment, header (another where exports were joined), passwords, problem."""
        if not cells:
            self.reading.complain(number, "it is far too long for a line of keys")
            return
        cells = _as_one_quoted_cell(cells) or cells
        comment = cells[0].lstrip().startswith("#")
        rows = [] if comment else _read_rows(cells, self._columns)
        if not any(row.text[:1].isdigit() for row in rows) and not any(map(guids_in, cells)):
            header = _read_header(cells)
            if header.known or (self._first and not comment and not rows):
                self._columns = header
                self.reading.has_header = header.known
                self.reading.is_an_empty_escrow = bool(header.ids and header.passwords)
                self._first = False
                return
        if comment:
            return
        if not rows and any(cell.strip() for cell in cells):
            self.reading.complain(number, "there is no recovery password in it")
        self._first = self._first and not rows
        for row in rows:
            self._take_row(number, row)

    def _take_row(self, number: int, row: _Row) -> None:
        if row.text.startswith(("{", "[")):
            self.reading.complain(number, "the JSON in it cannot be read")
            return
        try:
            passwords = [RecoveryPassword.parse(row.text)]
        except PasswordError as error:
            passwords = passwords_in(row.text)
            if not passwords:
                self.reading.complain(number, error.message)
                return
        if row.broken_id:
            self.reading.complain(
                number, "its key ID is not a GUID, so its password is tried only after all others"
            )
        for password in passwords:
            beside = row.beside if len(passwords) == 1 else _hints(row.beside)
            self.reading.entries.append(Entry(number, password, beside))

    def is_one_record(self, cells: list[str]) -> bool:
        """Whether several lines, joined by an open quotation mark, are one record with a good password."""
        if any(_hides_passwords(cell) for cell in cells):
            return False
        return any(
            row.text.startswith(("{", "[")) is False and passwords_in(row.text)
            for row in _read_rows(cells, self._columns)
        )


def _hints(beside: Beside) -> Beside:
    """Of several passwords in one record nobody knows which belongs to which id."""
    return Beside(beside.ids, False, beside.computers, beside.created)


def _read_header(cells: Sequence[str]) -> _Columns:
    # What ends with a colon is the label of a line.
    names = ["" if clean(cell).endswith(":") else plain_name(cell) for cell in cells]
    return _Columns(
        count=len(cells),
        ids=tuple(index for index, name in enumerate(names) if name in ID_NAMES),
        passwords=tuple(index for index, name in enumerate(names) if name in PASSWORD_NAMES),
        other_guids=frozenset(index for index, name in enumerate(names) if name in NAMES_OF_OTHER_GUIDS),
    )


def _read_rows(cells: Sequence[str], columns: _Columns) -> list[_Row]:
    """The passwords of one record; empty where it has none.

    A record with more cells than the header (a comma in an unquoted name) is judged by content alone.
    """
    if len(cells) > columns.count:
        columns = _Columns(len(cells))
    texts = [cell and clean(cell) for cell in cells]
    rows: list[_Row] = []
    plain: list[int] = []
    for index, text in enumerate(texts):
        if not text or index in columns.ids:
            continue
        if text[:1] in ("{", "[") and (parsed := document.parse(text)) is not None:
            rows.extend(_Row(found.text, found.beside, found.broken_id) for found in document.walk(parsed))
        elif index in columns.passwords or (not columns.passwords and _holds_passwords(text)):
            plain.append(index)
    if plain:
        beside, broken = _beside(cells, texts, columns, plain)
        if len(plain) > 1:
            beside = _hints(beside)
        rows.extend(_Row(texts[index], beside, broken) for index in plain)
    return rows


def _holds_passwords(text: str) -> bool:
    return looks_like_a_password(text) or (len(text) > 48 and bool(passwords_in(text)))


def _beside(
    cells: Sequence[str], texts: Sequence[str], columns: _Columns, passwords: Sequence[int]
) -> tuple[Beside, bool]:
    """What a record says beside its passwords, and whether an id was there but could not be read."""
    named: list[str] = []
    hinted: list[str] = []
    computers: list[str] = []
    created = ""
    broken = False
    for index, text in enumerate(texts):
        if not text or index in columns.other_guids:
            continue
        if directory := directory_name(text):
            named.append(directory[0])
            created = time_in(directory[1])
            computers.extend(computers_in(text.rpartition("}")[2].lstrip("\\,")))
        elif index in columns.ids:
            found = ids_in(cells[index])
            broken = broken or not found
            named.extend(found)
        elif index not in passwords:
            if is_a_guid(text):
                hinted.extend(guids_in(text))
                continue
            if (start := beginning(text)) is not None:
                hinted.append(start)
            created = created or time_in(text)
            computers.extend(computers_in(text))
    within = [guid for index in passwords for guid in guids_in(texts[index])]
    certain = len(set(named)) == 1 and not within
    ids = tuple(dict.fromkeys(named if certain else [*named, *within, *hinted]))
    beside = Beside(ids, certain, tuple(dict.fromkeys(computers))[:_MOST_COMPUTERS], created)
    return beside, broken and not ids


def _hides_passwords(cell: str) -> bool:
    """Whether a plain cell over several lines has lines with more than a password: good lines of the table
    that a stray quotation mark joined."""
    text = clean(cell)
    if "\n" not in text or text[:1] in ("{", "["):
        return False
    lines = [line for line in map(clean, text.split("\n")) if line]
    return any(passwords_in(line) and not looks_like_a_password(line) for line in lines)


def _as_one_quoted_cell(cells: list[str]) -> list[str] | None:
    """The cells of a line that Excel has saved again as one quoted cell; None for every other record."""
    filled = [cell for cell in cells if cell.strip()]
    if len(filled) != 1 or not any(delimiter in filled[0] for delimiter in DELIMITERS):
        return None
    if filled[0].lstrip()[:1] in ("{", "[", "#") or is_absurd(filled[0], ","):
        return None
    inner = max((split_cells(filled[0], delimiter) for delimiter in DELIMITERS), key=_count_known_cells)
    return inner if len(inner) > 1 and _count_known_cells(inner) else None


def _count_known_cells(cells: Sequence[str]) -> int:
    """How many cells are a column name, a GUID or a password by their looks: tells delimiters apart."""
    texts = [clean(cell) for cell in cells]
    return sum(
        1
        for text in texts
        if looks_like_a_password(text)
        or is_a_guid(text)
        or plain_name(text) in ID_NAMES | PASSWORD_NAMES | NAMES_OF_OTHER_GUIDS
    )


def _find_delimiter(lines: Sequence[str]) -> str:
    """The delimiter under which the first lines have the most cells we know; a comma in doubt."""
    sample = [line for line in lines[: _SAMPLED_LINES * 4] if line and not line.isspace()][:_SAMPLED_LINES]

    def known(delimiter: str) -> int:
        return sum(map(_count_known_cells, _cells_of(sample, delimiter)))

    return max(DELIMITERS, key=known)


def _cells_of(lines: Sequence[str], delimiter: str) -> Iterator[list[str]]:
    return (split_cells(line, delimiter) for line in lines if not is_absurd(line, delimiter))
