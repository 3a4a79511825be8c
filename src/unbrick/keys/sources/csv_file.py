"""Recovery passwords from a CSV that somebody exported: good lines work, bad ones are named by number.

Never shows a cell of the file. `csv_shapes.py` has the shapes, `settings/csv_text.py` the encodings.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Any

from unbrick.errors import UsageError
from unbrick.keys.password import PasswordError, RecoveryPassword
from unbrick.keys.sources.csv_shapes import (
    Columns,
    Row,
    count_known_cells,
    hides_passwords,
    holds_a_guid,
    read_header,
    read_rows,
)
from unbrick.keys.sources.source import Candidate
from unbrick.keys.sources.vault import Vault
from unbrick.processes.bounded import ReaderEndedError, run_bounded
from unbrick.settings import csv_text
from unbrick.settings.csv_records import (
    DELIMITERS,
    declared_delimiter,
    is_absurd,
    physical_lines,
    read_records,
    split_cells,
)
from unbrick.text import counted

SORT = csv_text.Sort(
    "a file of keys",
    "keys file",
    64 * 1024 * 1024,
    "export the keys as CSV, with the columns KeyID,RecoveryKey",
    "check the path given to --keys",
)
MOST_LINES = 1_000_000
# Of one id, and of those without an id: each costs the better part of a second.
MOST_TRIES = 20

_MOST_PROBLEMS = 1000
_MOST_WARNINGS = 5
_SAMPLED_LINES = 30
_CHARACTERS_OF_AN_ID_BEGINNING = 8
_WITHOUT_ID = ""
_DIGITS_OF_A_PASSWORD = re.compile(r"[0-9]{6}[^0-9A-Za-z]?[0-9]{6}[^0-9A-Za-z]?[0-9]{6}")
_READING_SECONDS = 3600.0  # of a pipe, which somebody may have to type a passphrase for


@dataclass(frozen=True, slots=True)
class LineProblem:
    """A line that cannot be used, by its number from 1, and why, without showing it."""

    line: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}"


_Record = tuple[str, int, RecoveryPassword]


class CsvKeySource:
    """A file of recovery passwords, found by key protector id.

    It is read once, by a process of its own that ends then: whoever has the source holds no password of it
    but those that `find` gave. `problems` are the first thousand lines that cannot be used.
    """

    interactive = False

    def __init__(self, name: str, data: bytes | IO[bytes]) -> None:
        """Read a file that messages call `name`; raises UsageError where no line can be used."""
        self.name = name
        self._vault = Vault()
        try:
            answer = run_bounded(partial(_load, name, data, self._vault), seconds=_READING_SECONDS)
        except ReaderEndedError as error:
            raise UsageError(f"{name} cannot be read: {error.message}", hint=error.hint) from error
        if "refused" in answer:
            message, hint = answer["refused"]
            raise UsageError(message, hint=hint)
        self.problems: tuple[LineProblem, ...] = tuple(LineProblem(*one) for one in answer["problems"])
        self.problem_count: int = answer["problem_count"]
        self.password_count: int = answer["password_count"]
        self._without_id: int = answer["without_id"]
        self._crowded: int = answer["crowded"]

    @classmethod
    def open(cls, path: Path, *, name: str | None = None) -> CsvKeySource:
        """Read a file or a pipe; raises UsageError: missing, a folder, binary, too large, no usable line."""
        shown = name or path.name
        with csv_text.opened(path, shown, SORT) as stream:
            return cls(shown, stream)

    @property
    def warnings(self) -> tuple[str, ...]:
        """See `KeySource.warnings`: the first few bad lines, and what will not be tried."""
        said = [f"{self.name} {problem}" for problem in self.problems[:_MOST_WARNINGS]]
        if not self.password_count:
            said.append(f"{self.name} has no recovery password in it")
        if self.problem_count > _MOST_WARNINGS:
            more = counted(self.problem_count - _MOST_WARNINGS, "more line")
            said.append(f"{self.name}: {more} cannot be used")
        if self._without_id > MOST_TRIES:
            said.append(
                f"{self.name}: {self._without_id} passwords have no key ID beside them; "
                f"of those only the first {MOST_TRIES} are tried"
            )
        if self._crowded:
            said.append(
                f"{self.name}: {self._crowded} key ID{' has' if self._crowded == 1 else 's have'} more than "
                f"{MOST_TRIES} lines; only the first {MOST_TRIES} different passwords of each are tried"
            )
        return tuple(said)

    def find(self, protector_ids: Sequence[str]) -> Iterator[Candidate]:
        """See `KeySource.find`. A password kept under another id is never tried."""
        offered: list[RecoveryPassword] = []
        for protector in (text.strip("{}").upper() for text in protector_ids):
            beginning = protector[:_CHARACTERS_OF_AN_ID_BEGINNING]
            entries = chain.from_iterable(self._vault.find(key) for key in (protector, beginning) if key)
            for line, password in _different(entries, offered):
                yield Candidate(protector, password, f"{self.name} line {line}")
        for line, password in _different(self._vault.find(_WITHOUT_ID), offered):
            yield Candidate(None, password, f"{self.name} line {line}")


def _different(
    entries: Iterable[tuple[int, RecoveryPassword]], offered: list[RecoveryPassword]
) -> Iterator[tuple[int, RecoveryPassword]]:
    """The first entries with passwords not offered yet; notes them as offered."""
    count = 0
    for line, password in entries:
        if count == MOST_TRIES:
            return
        if password not in offered:
            offered.append(password)
            count += 1
            yield line, password


def _load(name: str, data: bytes | IO[bytes], vault: Vault) -> dict[str, Any]:
    """Read a file into a vault; returns what its owner may read of it."""
    loader = _Loader()
    try:
        content = data if isinstance(data, bytes) else csv_text.read_bytes(data, name, SORT)
        loader.load(csv_text.decode(content, name, SORT), name)
    except UsageError as error:
        return {"refused": (error.message, error.hint)}
    vault.fill(loader.records)
    numbers = Counter(key for key, _, _ in loader.records)
    return {
        "problems": [(one.line, one.message) for one in loader.problems],
        "problem_count": loader.problem_count,
        "password_count": loader.password_count,
        "without_id": numbers.pop(_WITHOUT_ID, 0),
        "crowded": sum(1 for number in numbers.values() if number > MOST_TRIES),
    }


class _Loader:
    """Gathers the passwords of a text, record by record."""

    def __init__(self) -> None:
        self.records: list[_Record] = []
        self.problems: list[LineProblem] = []
        self.problem_count = 0
        self.password_count = 0
        self._columns = Columns()
        self._first = True

    def load(self, text: str, name: str) -> None:
        """Read the whole text; raises UsageError where no line can be used and it is more than a header."""
        if _is_json(text):
            raise UsageError(
                f"{name} is a JSON document, and only CSV is understood", hint=SORT.how_to_export
            )
        lines = physical_lines(text)
        if len(lines) > MOST_LINES:
            raise UsageError(f"{name} has more than a million lines, too many for a file of keys")
        delimiter = declared_delimiter(lines[0])
        if delimiter:
            lines[0] = ""
        for record in read_records(lines, delimiter or _find_delimiter(lines), self._is_one_record):
            self._take(record.number, record.cells)
        # An escrow that holds nothing yet is no mistake: the disks may need no password at all.
        only_a_header = self._columns.ids and self._columns.passwords and not self.problem_count
        if not self.password_count and not only_a_header:
            first = f" (line {self.problems[0].line}: {self.problems[0].message})" if self.problems else ""
            raise UsageError(
                f"{name} has no line with a usable recovery password{first}",
                hint="a CSV with the columns KeyID,RecoveryKey is always understood",
            )

    def _take(self, number: int, cells: list[str]) -> None:
        """Sort one record in: comment, header (another where exports were joined), passwords, problem."""
        if not cells:
            self._say(number, "it is far too long for a line of keys")
            return
        comment = cells[0].lstrip().startswith("#")
        rows = [] if comment else read_rows(cells, self._columns)
        if not any(row.password_text[:1].isdigit() for row in rows) and not holds_a_guid(cells):
            header = read_header(cells)
            if header.known or (self._first and not comment and not rows):
                self._columns = header
                self._first = False
                return
        if comment:
            return
        if not rows and any(cell.strip() for cell in cells):
            self._say(number, "there is no recovery password in it")
        self._first = self._first and not rows
        for row in rows:
            self._take_row(number, row)

    def _take_row(self, number: int, row: Row) -> None:
        if row.password_text.startswith(("{", "[")):
            self._say(number, "the JSON in it cannot be read")
            return
        try:
            password = RecoveryPassword.parse(row.password_text)
        except PasswordError as error:
            self._say(number, error.message)
            return
        self.password_count += 1
        if row.broken_id:
            self._say(number, "its key ID is not a GUID, so its password is tried only after all others")
        for protector in row.protector_ids or (_WITHOUT_ID,):
            self.records.append((protector, number, password))

    def _say(self, number: int, message: str) -> None:
        self.problem_count += 1
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(LineProblem(number, message))

    def _is_one_record(self, cells: list[str]) -> bool:
        """Whether several lines, joined by an open quotation mark, are one record with a good password."""
        if any(hides_passwords(cell) for cell in cells):
            return False
        for row in read_rows(cells, self._columns):
            try:
                RecoveryPassword.parse(row.password_text)
            except PasswordError:
                continue
            return True
        return False


def _is_json(text: str) -> bool:
    """Whether the whole text is one JSON object or array (a Graph answer, for one)."""
    if not text.lstrip().startswith(("{", "[")):
        return False
    try:
        json.loads(text)
    except RecursionError:
        return True
    except ValueError:
        return False
    return True


def _find_delimiter(lines: Sequence[str]) -> str:
    """The delimiter that gives the first lines the most cells we know; a comma in doubt."""
    sample = [line for line in lines[: _SAMPLED_LINES * 4] if line and not line.isspace()][:_SAMPLED_LINES]

    def known(delimiter: str) -> int:
        return sum(
            count_known_cells(split_cells(line, delimiter))
            for line in sample
            if not is_absurd(line, delimiter)
        )

    return max(DELIMITERS, key=known)


def open_csv(spec: str) -> CsvKeySource | None:
    """The source for any file that is there: it needs no word before it."""
    if not is_there(spec):
        return None
    return CsvKeySource.open(Path(spec), name="the keys file" if looks_like_a_password(spec) else None)


def is_there(spec: str) -> bool:
    """Whether this names a file that is there."""
    try:
        return Path(spec).exists()
    except (OSError, ValueError):
        return False


def looks_like_a_password(spec: str) -> bool:
    """Whether there are digits in it that must not be shown."""
    return _DIGITS_OF_A_PASSWORD.search(spec) is not None
