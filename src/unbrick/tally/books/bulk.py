"""Many rows at once, in statements of bounded length that are put together once and then reused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Column, Connection, Select, Table, bindparam, delete, insert, select, update

from unbrick.tally.books.prepared import Prepared

_Item = TypeVar("_Item")
_MOST_VALUES = 500
_MOST_ROWS = 10_000


def chunks(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    """The items in lists short enough for one statement."""
    iterator = iter(items)
    while chunk := list(islice(iterator, _MOST_VALUES)):
        yield chunk


def rows_of(
    connection: Connection, query: Select[Any] | Prepared, values: Mapping[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """The rows of a query, each as its own dictionary."""
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
    """The rows of a table whose column has one of the values."""
    found: list[dict[str, Any]] = []
    for chunk in chunks(values):
        found += _selected(table, column).named_rows(connection, {"wanted": chunk})
    return found


def insert_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add whole rows."""
    for start in range(0, len(rows), _MOST_ROWS):  # each is copied on its way, and there may be a million
        _inserted(table, tuple(rows[0])).run(connection, rows[start : start + _MOST_ROWS])


def update_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write whole rows over those with the same primary key."""
    if rows:
        keys = [column.name for column in table.primary_key]
        _updated(table).run(connection, [{**row, **{f"old_{key}": row[key] for key in keys}} for row in rows])


def delete_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Take away the rows with the same primary key."""
    if rows:
        keys = [column.name for column in table.primary_key]
        _deleted(table).run(connection, [{f"old_{key}": row[key] for key in keys} for row in rows])


def move_numbers(
    connection: Connection, table: Table, near: Column[Any], moved: Mapping[tuple[Any, ...], dict[str, int]]
) -> None:
    """Add to the numbers of a table; a row is made when it is needed and goes when all of it is nought.

    `moved` is by primary key; `near` is the column of it by which the rows are looked up.
    """
    moved = {place: numbers for place, numbers in moved.items() if any(numbers.values())}
    key = [column.name for column in table.primary_key]
    here = {place[key.index(near.name)] for place in moved}
    kept = {tuple(row[name] for name in key): row for row in rows_where(connection, table, near, here)}
    added: list[dict[str, Any]] = []
    changed: list[dict[str, Any]] = []
    gone: list[dict[str, Any]] = []
    for place, numbers in moved.items():
        old = kept.get(place)
        by_place = dict(zip(key, place, strict=True))
        row = {**by_place, **{name: by + (old[name] if old else 0) for name, by in numbers.items()}}
        if not any(row[name] for name in numbers):
            gone.append(row)
        else:
            (changed if old else added).append(row)
    delete_rows(connection, table, gone)
    update_rows(connection, table, changed)
    insert_rows(connection, table, added)


@cache
def _selected(table: Table, column: Column[Any]) -> Prepared:
    return Prepared(select(table).where(column.in_(bindparam("wanted", expanding=True))))


@cache
def _inserted(table: Table, columns: tuple[str, ...]) -> Prepared:
    return Prepared(insert(table), columns)


@cache
def _updated(table: Table) -> Prepared:
    keys = list(table.primary_key)
    values: dict[str, Any] = {
        column.name: bindparam(column.name) for column in table.columns if column not in keys
    }
    here = [column == bindparam(f"old_{column.name}") for column in keys]
    return Prepared(update(table).where(*here).values(values))


@cache
def _deleted(table: Table) -> Prepared:
    here = [column == bindparam(f"old_{column.name}") for column in table.primary_key]
    return Prepared(delete(table).where(*here))
