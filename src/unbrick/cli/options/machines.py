"""A machine of the tally: how it is named on the command line, and how an answer shows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from unbrick.tally.records import MachineLine, MachineRow, Said
    from unbrick.tally.store.store import Store

machine_argument = click.argument("machine")
new_option = click.option("--new", is_flag=True, help="Count MACHINE also where nobody knows it.")
unseen_option = click.option(
    "--unseen", is_flag=True, help="Of several that are called so, the one that no medium has seen."
)


def which(row: MachineRow) -> dict[str, str]:
    """How the audit names a machine."""
    return {"name": row.name, "machine": row.code or row.key}


def row_line(row: MachineRow) -> str:
    """How a machine stands now."""
    return f"{row.name}: {row.status}" + (f" ({row.reason})" if row.reason else "") + held_words(row)


def held_words(row: MachineRow) -> str:
    """That a machine does not count, and what decides on it; empty where it counts."""
    return f"; not counted: contradiction {row.held_by}" if row.held else ""


def row_document(row: MachineRow | MachineLine) -> dict[str, Any]:
    """A machine of the list of all."""
    return {"name": row.name, "site": row.site, "status": row.status, "reason": row.reason}


def machine_documents(store: Store, rows: Iterable[MachineRow]) -> list[dict[str, Any]]:
    """Machines with all that persons said of them."""
    return [
        {
            **row_document(row),
            "code": row.code,
            "held_by": row.held_by,
            "marks": _said_documents(row, store.said_of(row)),
        }
        for row in rows
    ]


def said_lines(row: MachineRow, said: Sequence[Said]) -> Iterator[str]:
    """What persons said of a machine: who, when, why, whether it was taken back, and whether it counts."""
    counting = _counting(row, said)
    standing = [one for one in said if one.taken_back_at is None]
    for one in said:
        line = f"{one.at:%Y-%m-%d %H:%M} UTC {one.status} by {one.who}" + _why(one.reason)
        if one.taken_back_at is not None:
            line += f"; taken back {one.taken_back_at:%Y-%m-%d %H:%M} UTC by {one.taken_back_by}"
            line += _why(one.taken_back_why)
        elif counting is None and one is standing[-1]:
            line += "; what a medium found later counts"
        yield line


def _said_documents(row: MachineRow, said: Sequence[Said]) -> list[dict[str, object]]:
    counting = _counting(row, said)
    return [
        {
            "status": one.status,
            "reason": one.reason,
            "who": one.who,
            "at": one.at.isoformat(),
            "taken_back": {
                "who": one.taken_back_by,
                "reason": one.taken_back_why,
                "at": one.taken_back_at.isoformat(),
            }
            if one.taken_back_at is not None
            else None,
            "counts": one is counting,
        }
        for one in said
    ]


def _counting(row: MachineRow, said: Sequence[Said]) -> Said | None:
    standing = [one for one in said if one.taken_back_at is None]
    return standing[-1] if standing and row.marked_by is not None else None


def _why(reason: str | None) -> str:
    return f": {reason}" if reason else ""
