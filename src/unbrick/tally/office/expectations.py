"""Brings the table of expected machines to what an inventory says, in the caller's transaction.

A list adds and corrects; for an empty cell the known value stays. Only a list that replaces the one before
removes machines, and never one that reported or that a person spoke of.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, func, select

from unbrick.tally.books.bulk import chunks, insert_rows, rows_of, rows_where, update_rows
from unbrick.tally.books.schema import expected, machine_names, machines
from unbrick.tally.count.machines import machines_with_serials, refresh
from unbrick.tally.count.runs import MOST_NAMES
from unbrick.tally.office.inventory import Inventory, Line, Problems, completed, differing_sentence
from unbrick.tally.office.inventory_headings import COLUMNS
from unbrick.tally.records import NAMED, Basis, InventoryCounts, Replacement

_NAMES_SHOWN = 5
_MANY_NAMES = select(machine_names.c.key).group_by(machine_names.c.key).having(func.count() >= MOST_NAMES)
_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Placed:
    """A line of the list, its number, and the columns in which the list contradicts itself."""

    line: Line
    number: int
    disputed: AbstractSet[str]


@dataclass
class _Plan:
    """What to do: the lines to be, by name key; `renamed` maps old keys to new ones."""

    known: dict[str, Line]
    lines: dict[str, Line] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    contradictions: Problems = field(default_factory=Problems)
    leaving: list[str] = field(default_factory=list)
    kept: int = 0
    emptied: Counter[str] = field(default_factory=Counter)


def known_lines(connection: Connection) -> list[Mapping[str, Any]]:
    return list(rows_of(connection, select(expected).order_by(expected.c.name_key)))


def foresee_replacement(connection: Connection, inventory: Inventory) -> Replacement:
    """What this list would remove if it replaced the one before."""
    plan = _plan(connection, inventory, replace=True)
    names = tuple(str(plan.known[key]["name"]) for key in plan.leaving[:_NAMES_SHOWN])
    return Replacement(frozenset(plan.leaving), names, len(plan.known), plan.kept, plan.emptied)


@dataclass(frozen=True, slots=True)
class Change:
    """A line to be, and the name keys that it replaces; `silent` ones go only if they never reported."""

    line: Line | None
    gone: tuple[str, ...] = ()
    silent: bool = False


def plan_inventory(
    connection: Connection, inventory: Inventory, leaving: frozenset[str] | None = None
) -> tuple[list[Change], InventoryCounts]:
    """What a list changes, and the counts to report once all of it is done.

    With `leaving` the list replaces the one before: of these lines (`foresee_replacement`) those are removed
    that nothing was heard of since.
    """
    plan = _plan(connection, inventory, replace=leaving is not None)
    going = [key for key in plan.leaving if key in (leaving or ())]
    added = [line for key, line in plan.lines.items() if key not in plan.known]
    updated = [line for key, line in plan.lines.items() if key in plan.known and plan.known[key] != line]
    before: dict[str, list[str]] = defaultdict(list)
    for old, new in plan.renamed.items():
        before[new].append(old)
    changes = [
        Change(line, tuple(before.pop(str(line["name_key"]), ())))
        for lines in (added, updated)
        for line in lines
    ]
    changes += [Change(None, tuple(old)) for old in before.values()]
    changes += [Change(None, (key,), silent=True) for key in going]
    moved = len([key for key in plan.renamed.values() if key not in plan.known])
    return changes, InventoryCounts(
        added=len(added) - moved,
        updated=len(updated) + moved,
        unchanged=len(plan.lines) - len(added) - len(updated),
        removed=len(going),
        bad=inventory.bad.count,
        problems=tuple(inventory.bad.first),
        contradicting=inventory.contradictions.count + plan.contradictions.count,
        contradictions=(*inventory.contradictions.first, *plan.contradictions.first),
        columns=inventory.columns.headings,
        ignored=inventory.columns.ignored,
        kept=plan.kept + len(plan.leaving) - len(going),
        emptied=plan.emptied,
    )


def apply_changes(connection: Connection, changes: Sequence[Change]) -> int:
    """Make some of the changes, also in the rows of machines; returns how many silent lines were removed."""
    silent = [key for one in changes if one.silent for key in one.gone]
    leaving = _silent_of(connection, silent)
    going = [key for one in changes if not one.silent for key in one.gone] + sorted(leaving)
    lines = {str(one.line["name_key"]): one.line for one in changes if one.line is not None}
    before = rows_where(connection, expected, expected.c.name_key, [*going, *lines])
    there = {row["name_key"] for row in before} - set(going)
    for chunk in chunks(going):
        connection.execute(delete(expected).where(expected.c.name_key.in_(chunk)))
    for added in chunks(line for key, line in lines.items() if key not in there):
        insert_rows(connection, expected, added)
    for updated in chunks(line for key, line in lines.items() if key in there):
        update_rows(connection, expected, updated)
    _refresh_lines(connection, [*lines.values(), *before])
    return len(leaving)


def _plan(connection: Connection, inventory: Inventory, *, replace: bool) -> _Plan:
    plan = _Plan({row["name_key"]: row for row in rows_of(connection, select(expected))})
    by_serial = {row["serial_key"]: key for key, row in plan.known.items() if row["serial_key"]}
    placed: dict[str, _Placed] = {}
    # Lines without a name come last: whatever the order in the list, the line with a name is kept.
    for key in sorted(inventory.lines, key=lambda one: (one in inventory.nameless, inventory.numbers[one])):
        line, owner = inventory.lines[key], by_serial.get(inventory.lines[key]["serial_key"] or "")
        disputed = inventory.disputed.get(key, _NOTHING)
        if key in inventory.nameless:
            place = owner or key
            if place in placed:
                _complete(plan, inventory, placed, place, key)
                continue
        else:
            place = key
            if owner not in {None, key} and not (replace and owner not in inventory.lines):
                line = _beside_owner(plan, inventory, str(owner), line)
        placed[place] = _Placed(line, inventory.numbers[key], disputed)
    for place, one in placed.items():
        plan.lines[place] = _joined(plan, place, one.line, one.disputed, replace=replace)
    if replace:
        _choose_leaving(connection, plan)
    return plan


def _complete(plan: _Plan, inventory: Inventory, placed: dict[str, _Placed], place: str, key: str) -> None:
    """A line without a name completes the earlier line of its machine, or is left out if that disagrees."""
    kept, line, number = placed[place], inventory.lines[key], inventory.numbers[key]
    if kept.line["serial_key"] not in {None, line["serial_key"]}:
        plan.contradictions.add(
            number,
            f"its serial number is known as that of {plan.known[place]['name']}, which has another one in"
            f" line {kept.number}; that one counts",
        )
        return
    joined, differing = completed(kept.line, line)
    if differing:
        plan.contradictions.add(number, differing_sentence(kept.number, differing))
    disputed = kept.disputed | set(differing) | inventory.disputed.get(key, _NOTHING)
    placed[place] = _Placed(joined, kept.number, disputed)


def _beside_owner(plan: _Plan, inventory: Inventory, owner: str, line: Line) -> Line:
    """A named line whose serial number is known under another key.

    It names that line where that had no name; else the serial number stays where it was known.
    """
    known = plan.known[owner]
    listed = inventory.lines.get(owner)
    if known["name_key"] == known["serial_key"] and owner not in inventory.lines:
        plan.renamed[owner] = str(line["name_key"])
        return {**line, **{column: line[column] or known[column] for column in COLUMNS[1:]}}
    if listed is not None and listed["serial_key"] not in {None, known["serial_key"]}:
        return line
    plan.contradictions.add(
        inventory.numbers[str(line["name_key"])],
        f"its serial number is known as that of {known['name']}, where it stays",
    )
    return {**line, "serial": None, "serial_key": None}


def _joined(plan: _Plan, place: str, line: Line, disputed: AbstractSet[str], *, replace: bool) -> Line:
    """The line, with known values for empty cells and for columns in which the list contradicts itself."""
    known = plan.known.get(place)
    if known is None:
        return line  # not copied: there may be a million
    joined: Line = {**line, "name_key": place}
    joined["name"] = known["name"] if known["name"] != known["serial"] else line["name"]
    if line["serial_key"] == known["serial_key"]:
        joined["serial"] = known["serial"]
    for column in COLUMNS[1:]:
        if not known[column] or (line[column] and column not in disputed):
            continue
        if replace and column not in disputed:
            plan.emptied[column] += 1
            continue
        joined[column] = known[column]
        if column == "serial":
            joined["serial_key"] = known["serial_key"]
    return joined


def _choose_leaving(connection: Connection, plan: _Plan) -> None:
    """Of the lines that the list does not name, only those go that nobody reported or spoke of."""
    absent = [key for key in plan.known if key not in plan.lines and key not in plan.renamed]
    silent = _silent_of(connection, absent)
    plan.leaving = sorted(key for key in absent if key in silent)
    plan.kept = len(absent) - len(plan.leaving)


def _silent_of(connection: Connection, names: Iterable[str]) -> set[str]:
    named = rows_where(connection, machines, machines.c.key, [NAMED + key for key in names])
    return {row["key"].removeprefix(NAMED) for row in named if row["basis"] == Basis.EXPECTED}


def _refresh_lines(connection: Connection, lines: Iterable[Mapping[str, Any]]) -> None:
    """Make anew the rows of the machines that these lines may be about, and the lines' own."""
    names = {line["name_key"] for line in lines}
    serials = {line["serial_key"] for line in lines if line["serial_key"]}
    keys = {row["key"] for row in rows_where(connection, machine_names, machine_names.c.name_key, names)}
    keys |= machines_with_serials(connection, serials)
    refresh(connection, keys, names)


def refresh_many_named(connection: Connection) -> None:
    """Refresh machines with more names than are kept: a run may claim a line by any of its own."""
    refresh(connection, set(connection.execute(_MANY_NAMES).scalars()), ())
