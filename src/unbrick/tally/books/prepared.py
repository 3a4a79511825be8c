"""Statements that every commit asks: put into words once, and run without SQLAlchemy in between.

A commit asks some twenty, and what SQLAlchemy does around each takes several times as long as SQLite itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Any

from sqlalchemy import Connection, Delete, Insert, Select, Update
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine.interfaces import DBAPICursor

_LIST = re.compile(r"\(__\[POSTCOMPILE_(\w+)\]\)")
_NOTHING = "SELECT NULL WHERE 1 = 0"
_DIALECT = sqlite.dialect()

Statement = Select[Any] | Insert | Update | Delete


@dataclass(frozen=True)
class _Words:
    """The text between the lists, the name of each list, and of every value in its place."""

    between: tuple[str, ...]
    lists: tuple[str, ...]
    places: tuple[str, ...]
    given: Mapping[str, Any]

    def flat(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """The values in the order of their places, those that the statement itself has among them."""
        given = self.given
        return tuple(values[name] if name in values else given[name] for name in self.places)


class Prepared:
    """One statement for good; `columns` are those that an insert fills."""

    def __init__(self, statement: Statement, columns: Sequence[str] | None = None) -> None:
        self._statement = statement
        self._columns = columns

    def rows(
        self, connection: Connection, values: Mapping[str, Any] | None = None
    ) -> Iterator[tuple[Any, ...]]:
        """The rows that it finds; a value may be a list where the statement has one."""
        return self._read(self._asked(connection, values or {}))

    def named_rows(
        self, connection: Connection, values: Mapping[str, Any] | None = None
    ) -> Iterator[dict[str, Any]]:
        """The same, each as its own dictionary."""
        cursor = self._asked(connection, values or {})
        names = tuple(column[0] for column in cursor.description)
        for row in self._read(cursor):
            yield dict(zip(names, row, strict=True))

    def run(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run it for each of these rows of values."""
        words = self._words
        cursor = connection.connection.cursor()
        cursor.executemany(words.between[0], [words.flat(row) for row in rows])
        cursor.close()

    def _asked(self, connection: Connection, values: Mapping[str, Any]) -> DBAPICursor:
        words = self._words
        text, flat = words.between[0], words.flat(values)
        if words.lists:
            lists = {name: _filled_up(values[name]) for name in words.lists}
            for name, after in zip(words.lists, words.between[1:], strict=True):
                text += f"({', '.join(repeat('?', len(lists[name]))) or _NOTHING}){after}"
            flat = tuple(
                one
                for name, value in zip(words.places, flat, strict=True)
                for one in lists.get(name, (value,))
            )
        cursor = connection.connection.cursor()
        cursor.execute(text, flat)
        return cursor

    def _read(self, cursor: DBAPICursor) -> Iterator[tuple[Any, ...]]:
        readers = self._readers
        if not readers:
            yield from cursor  # type: ignore[misc]
            return
        for row in cursor:  # type: ignore[attr-defined]
            read = list(row)
            for place, reader in readers:
                read[place] = reader(read[place])
            yield tuple(read)

    @cached_property
    def _words(self) -> _Words:
        compiled = self._statement.compile(dialect=_DIALECT, column_keys=self._columns)
        parts = _LIST.split(str(compiled))
        own = {name: value for name, value in compiled.params.items() if value is not None}
        return _Words(tuple(parts[::2]), tuple(parts[1::2]), tuple(compiled.positiontup or ()), own)

    @cached_property
    def _readers(self) -> tuple[tuple[int, Any], ...]:
        """What turns a column's values into ours (truth, bytes), by its place."""
        if not isinstance(self._statement, Select):
            return ()
        readers = (
            column.type.dialect_impl(_DIALECT).result_processor(_DIALECT, None)
            for column in self._statement.selected_columns
        )
        return tuple((place, reader) for place, reader in enumerate(readers) if reader is not None)


def _filled_up(values: Sequence[Any]) -> Sequence[Any]:
    """The values and the last one again, up to a power of two: so few texts are made of one statement."""
    count = len(values)
    return [*values, *repeat(values[-1], (1 << (count - 1).bit_length()) - count)] if count else values


def run_plain(connection: Connection, text: str) -> list[tuple[Any, ...]]:
    """Run a statement that stands there as the database takes it; gives its rows."""
    cursor = connection.connection.cursor()
    cursor.execute(text)
    return list(cursor.fetchall())
