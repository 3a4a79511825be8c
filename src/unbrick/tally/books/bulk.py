"""Many rows at once, in statements of bounded length that are compiled once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Select,
    Table,
    bindparam,
    delete,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects import sqlite

from unbrick.tally.books.prepared import Prepared

_Item = TypeVar("_Item")
_MOST_VALUES = 500
_MOST_ROWS = 10_000


def chunks(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    """Lists short enough for one statement."""
    iterator = iter(items)
    while chunk := list(islice(iterator, _MOST_VALUES)):
        yield chunk


def rows_of(
    connection: Connection, query: Select[Any] | Prepared, values: Mapping[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    if isinstance(query, Prepared):
        yield from query.named_rows(connection, values)
        return
    result = connection.execute(query, values or {})
    names = tuple(result.keys())
    for row in result:
        yield dict(zip(names, row, strict=True))


def rows_where(
    connection: Connection, table: Table, column: Column[Any], values: Iterable[Any]
) -> list[dict[str, Any]]:
    return rows_for(connection, _selected(table, column), values)


def rows_for(connection: Connection, query: Prepared, wanted: Iterable[Any]) -> list[dict[str, Any]]:
    """The rows of a query whose list is `wanted`."""
    return [row for chunk in chunks(wanted) for row in query.named_rows(connection, {"wanted": chunk})]


def insert_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    for start in range(0, len(rows), _MOST_ROWS):  # each is copied on its way, and there may be a million
        _inserted(table, tuple(rows[0])).run(connection, rows[start : start + _MOST_ROWS])


def update_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write whole rows over those with the same primary key."""
    if rows:
        _updated(table).run(connection, rows)


def delete_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Take away the rows with the same primary key."""
    if rows:
        _deleted(table).run(connection, rows)


@cache
def key_of(table: Table) -> tuple[str, ...]:
    """The names of the columns of its primary key."""
    return tuple(column.name for column in table.primary_key)


def move_numbers(
    connection: Connection, table: Table, moved: Mapping[tuple[Any, ...], dict[str, int]]
) -> None:
    """Add to the numbers of a table, by primary key; a row is made when it is needed and goes when all of it
    is nought.
    """
    key = key_of(table)
    rows = [
        {**dict(zip(key, place, strict=True)), **numbers}
        for place, numbers in moved.items()
        if any(numbers.values())
    ]
    if rows:
        numbers = tuple(name for name in rows[0] if name not in key)
        _added_to(table, numbers).run(connection, rows)
        lessened = [row for row in rows if any(row[name] < 0 for name in numbers)]
        if lessened:
            _without_nought(table, numbers).run(connection, lessened)


@cache
def _selected(table: Table, column: Column[Any]) -> Prepared:
    return Prepared(select(table).where(column.in_(bindparam("wanted", expanding=True))))


@cache
def _inserted(table: Table, columns: tuple[str, ...]) -> Prepared:
    return Prepared(insert(table), columns)


@cache
def _updated(table: Table) -> Prepared:
    values: dict[str, Any] = {
        column.name: bindparam(column.name) for column in table.columns if not column.primary_key
    }
    return Prepared(update(table).where(*_has_key(table)).values(values))


@cache
def _deleted(table: Table) -> Prepared:
    return Prepared(delete(table).where(*_has_key(table)))


@cache
def _added_to(table: Table, numbers: tuple[str, ...]) -> Prepared:
    here = sqlite.insert(table)
    sums = {name: table.c[name] + here.excluded[name] for name in numbers}
    key = key_of(table)
    return Prepared(here.on_conflict_do_update(index_elements=key, set_=sums), (*key, *numbers))


@cache
def _without_nought(table: Table, numbers: tuple[str, ...]) -> Prepared:
    return Prepared(delete(table).where(*_has_key(table), *(table.c[name] == literal(0) for name in numbers)))


def _has_key(table: Table) -> list[ColumnElement[bool]]:
    return [column == bindparam(column.name) for column in table.primary_key]
