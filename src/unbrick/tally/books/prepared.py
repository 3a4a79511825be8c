"""Statements that every commit asks: compiled to text once, and run on SQLite's own cursor.

A commit asks some forty, and what SQLAlchemy does around each takes several times as long as SQLite itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Delete, Insert, Select, Update
from sqlalchemy.dialects import sqlite

_LIST = re.compile(r"\(__\[POSTCOMPILE_(\w+)\]\)")
_NOTHING = "SELECT NULL WHERE 1 = 0"
_DIALECT = sqlite.dialect()

Statement = Select[Any] | Insert | Update | Delete
Values = Mapping[str, Any]


class Prepared:
    """One statement. `columns` are those that an insert fills; a value may be a list where a statement has
    an expanding parameter.
    """

    def __init__(self, statement: Statement, columns: Sequence[str] | None = None) -> None:
        self._statement = statement
        self._columns = columns
        self._texts: dict[tuple[int, ...], str] = {}
        self._names: tuple[str, ...] = ()

    def named_rows(self, connection: Connection, values: Values | None = None) -> list[dict[str, Any]]:
        """The rows that it finds."""
        text, flat = self._with_lists({**self._given, **(values or {})})
        cursor = connection.connection.cursor()
        cursor.execute(text, flat)
        if not self._names:
            self._names = tuple(column[0] for column in cursor.description)
        found = [dict(zip(self._names, row, strict=True)) for row in cursor.fetchall()]
        for name, reader in self._readers:
            for row in found:
                row[name] = reader(row[name])
        return found

    def run(self, connection: Connection, rows: Sequence[Values]) -> None:
        """Run it for each of these rows of values; it has no lists."""
        cursor = connection.connection.cursor()
        cursor.executemany(self._between[0], [self._flat({**self._given, **row}) for row in rows])
        cursor.close()

    def _with_lists(self, values: dict[str, Any]) -> tuple[str, Sequence[Any]]:
        if not self._lists:
            return self._between[0], self._flat(values)
        lists = {name: _filled_up(values[name]) for name in self._lists}
        lengths = tuple(map(len, lists.values()))
        text = self._texts.get(lengths)
        if text is None:
            marks = (f"({', '.join('?' * length) or _NOTHING})" for length in lengths)
            text = self._between[0] + "".join(map(str.__add__, marks, self._between[1:]))
            self._texts[lengths] = text
        flat: list[Any] = []
        for name in self._places:
            flat += lists[name] if name in lists else (values[name],)
        return text, flat

    @cached_property
    def _compiled(self) -> Any:
        return self._statement.compile(dialect=_DIALECT, column_keys=self._columns)

    @cached_property
    def _between(self) -> tuple[str, ...]:
        """The text around the lists."""
        return tuple(_LIST.split(str(self._compiled))[::2])

    @cached_property
    def _lists(self) -> tuple[str, ...]:
        return tuple(_LIST.split(str(self._compiled))[1::2])

    @cached_property
    def _places(self) -> tuple[str, ...]:
        """The name of the value for each `?` and each list, in their order."""
        return tuple(self._compiled.positiontup or ())

    @cached_property
    def _given(self) -> dict[str, Any]:
        """The values that the statement itself has."""
        return {name: value for name, value in self._compiled.params.items() if value is not None}

    @cached_property
    def _flat(self) -> Any:
        """What puts values in the order of their places, as a tuple."""
        if len(self._places) > 1:
            return itemgetter(*self._places)
        return lambda values: tuple(values[name] for name in self._places)

    @cached_property
    def _readers(self) -> tuple[tuple[str, Any], ...]:
        """What turns a column's values into Python's (truth, bytes), by its name."""
        if not isinstance(self._statement, Select):
            return ()
        readers = (
            (str(column.key), column.type.dialect_impl(_DIALECT).result_processor(_DIALECT, None))
            for column in self._statement.selected_columns
        )
        return tuple((name, reader) for name, reader in readers if reader is not None)


def _filled_up(values: Sequence[Any]) -> Sequence[Any]:
    """The values and the last one again, up to a power of two: so few texts are made of one statement."""
    count = len(values)
    missing = (1 << (count - 1).bit_length()) - count if count else 0
    return [*values, *[values[-1]] * missing] if missing else values


def run_plain(connection: Connection, text: str) -> list[tuple[Any, ...]]:
    """Run a statement that is SQLite's text already; gives its rows."""
    cursor = connection.connection.cursor()
    cursor.execute(text)
    return list(cursor.fetchall())
