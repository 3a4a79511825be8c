"""Queries about many values, in statements of bounded length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Column, Connection, Select, Table, select

_Item = TypeVar("_Item")
_MOST_VALUES = 500


def chunks(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    """The items in lists short enough for one statement."""
    iterator = iter(items)
    while chunk := list(islice(iterator, _MOST_VALUES)):
        yield chunk


def rows_of(connection: Connection, query: Select[Any]) -> Iterator[dict[str, Any]]:
    """The rows of a query, each as its own dictionary."""
    for row in connection.execute(query).mappings():
        yield {str(name): value for name, value in row.items()}


def rows_where(
    connection: Connection, table: Table, column: Column[Any], values: Iterable[Any]
) -> list[Mapping[str, Any]]:
    """The rows of a table whose column has one of the values."""
    found: list[Mapping[str, Any]] = []
    for chunk in chunks(values):
        found += rows_of(connection, select(table).where(column.in_(chunk)))
    return found
