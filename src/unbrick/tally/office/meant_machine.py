"""Which machine a person means: exactly one known machine; a typing error never makes a new one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from typing import Any

from sqlalchemy import Column, Connection, select

from unbrick.events.short_code import ALPHABET, LENGTH, is_short_code, plain_code
from unbrick.tally.books.bulk import rows_of, rows_where
from unbrick.tally.books.schema import expected, machine_names, machines, runs
from unbrick.tally.count.names import name_key, serial_key
from unbrick.tally.count.rows import Row
from unbrick.tally.records import NAMED, MachineRow, StatementError
from unbrick.tally.show.finding import find_keys
from unbrick.tally.show.summary import machine_row_of

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
_LONGEST_NAME = 64
_MOST_LISTED = 8
_MOST_SUGGESTED = 5
_MOST_COMPARED = 200
_ALIKE = 0.75


def meant_row(connection: Connection, wanted: str, *, new: bool, unseen: bool) -> Row | None:
    """The row of the machine that a name, serial number or sticker code means.

    `unseen` looks for one that no medium has seen. None where it is unknown and may be `new`; raises
    StatementError where it may not, where several are meant, and where `unseen` means one that was seen.
    """
    rows = rows_where(connection, machines, machines.c.key, find_keys(connection, wanted))
    by_serial = [row for row in rows if row["serial"] and serial_key(row["serial"]) == serial_key(wanted)]
    rows = by_serial or rows
    if unseen:
        rows = _unseen(rows, wanted)
    if len(rows) > 1:
        raise StatementError(
            f"{len(rows)} machines are called {wanted}, so it is not clear which one is meant",
            hint=f"name it by the code on its sticker: {_listed(rows)}",
        )
    if rows:
        return rows[0]
    if new:
        return None
    alike = near_misses(connection, wanted)
    suggestion = f"do you mean {', '.join(alike)}? " if alike else ""
    slip = "" if alike or not _is_like_a_code(wanted) else "if it is a sticker code, read it again. "
    raise StatementError(
        f"nobody knows a machine {wanted}: no report and no inventory has that name, serial number or code",
        hint=f"{suggestion}{slip}To count one that is in no list: --new",
    )


def _unseen(rows: list[dict[str, Any]], wanted: str) -> list[dict[str, Any]]:
    unseen = [row for row in rows if row["key"].startswith(NAMED)]
    if rows and not unseen:
        raise StatementError(
            f"a medium has seen every machine that is called {wanted}: {_listed(rows)}",
            hint="leave out --unseen; another computer of that name counts once a medium has seen it",
        )
    return unseen


def _listed(rows: Iterable[Row]) -> str:
    found = sorted(map(machine_row_of, rows), key=lambda one: (one.code or "", one.name))
    listed = [_shown(one) for one in found[:_MOST_LISTED]]
    if len(found) > _MOST_LISTED:
        listed.append(f"and {len(found) - _MOST_LISTED} more (unbrick tally status --find)")
    return "; ".join(listed)


def _shown(one: MachineRow) -> str:
    where = f" at {one.site}" if one.site else ""
    if one.code is None:
        return f"{one.name}{where}, which no medium has seen (--unseen)"
    seen = f", last seen {one.last_seen:%Y-%m-%d %H:%M} UTC" if one.last_seen else ""
    return f"{one.code} ({one.name}{where}{seen})"


def near_misses(connection: Connection, wanted: str) -> list[str]:
    """The machines whose name, serial number or code is written most like `wanted`, the likest first."""
    key = name_key(wanted)
    if not key or len(key) > _LONGEST_NAME:
        return []
    found: dict[str, float] = {}
    slips = sorted(_slips(key, _LETTERS))
    for row in _rows_like(connection, key, slips):
        likeness = SequenceMatcher(None, key, row["name_key"]).ratio()
        if likeness >= _ALIKE:
            found[row["name"]] = max(likeness, found.get(row["name"], 0.0))
    for line in (
        *_with(connection, machines.c.serial_key, slips),
        *_with(connection, expected.c.serial_key, slips),
    ):
        found[f"{line['name']} (serial number {line['serial']})"] = 1.0
    if _is_like_a_code(wanted):
        codes = sorted(filter(is_short_code, _slips(plain_code(wanted), ALPHABET)))
        for run in _with(connection, runs.c.code, codes):
            for row in rows_where(connection, machines, machines.c.key, [run["machine"]]):
                found[f"{machine_row_of(row).code} ({row['name']})"] = 1.0
    return sorted(found, key=lambda name: (-found[name], name))[:_MOST_SUGGESTED]


def _rows_like(connection: Connection, key: str, slips: list[str]) -> Iterator[Row]:
    """Rows of table `machines` whose name is one slip away, or has the same beginning."""
    yield from _with(connection, machines.c.name_key, slips)
    keys = {row["key"] for row in _with(connection, machine_names.c.name_key, slips)}
    yield from rows_where(connection, machines, machines.c.key, keys)
    begin = key[: max(3, len(key) // 2)]
    here = machines.c.name_key.between(begin, begin + "\U0010ffff")
    yield from rows_of(
        connection, select(machines).where(here).order_by(machines.c.name_key).limit(_MOST_COMPARED)
    )


def _with(connection: Connection, column: Column[Any], values: Iterable[str]) -> list[dict[str, Any]]:
    return rows_where(connection, column.table, column, values)


def _slips(text: str, letters: str) -> set[str]:
    """All texts with one letter more, less or different, or two exchanged."""
    parts = [(text[:index], text[index:]) for index in range(len(text) + 1)]
    return {
        *(left + right[1:] for left, right in parts if right),
        *(left + right[1] + right[0] + right[2:] for left, right in parts if len(right) > 1),
        *(left + letter + right[1:] for left, right in parts if right for letter in letters),
        *(left + letter + right for left, right in parts for letter in letters),
    } - {text, ""}


def _is_like_a_code(wanted: str) -> bool:
    plain = plain_code(wanted)
    return abs(len(plain) - LENGTH) <= 1 and plain.isalnum() and not plain.isalpha()
