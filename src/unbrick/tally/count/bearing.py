"""Which runs of a machine bear on its row: those that hold a maximum, a minimum or a part of a union. Pure.

A machine may have tens of thousands of runs, and its row is made of such parts. The runs that bear say all
that the others say, whatever is added later; so an event reads only these. The last runs always bear and
stand for no others: they still change. Where something was taken away (a run that stood for others says less,
a person decides, the inventory changes), all runs are compared anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from enum import IntEnum
from typing import Any

from unbrick.tally.count.counted_runs import MOST_OTHERS, Claim, Judged, Kind, standing_of_runs
from unbrick.tally.count.names import name_key, serial_key
from unbrick.tally.count.newcomers import first_asking
from unbrick.tally.count.runs import MOST_NAMES, RunRecord

RECENT = 16
"""So many of the last runs always bear; with twice as many, the older ones are compared."""


class Bears(IntEnum):
    """Not at all; for now, before it was compared; or standing for others."""

    NOT = 0
    RECENT = 1
    STANDS = 2


def says_no_less(before: RunRecord, after: RunRecord) -> bool:
    """Whether a run that stood for others still does after it changed."""
    told = ("smbios_uuid", "disk_guid", "names", "serial", "site", "everywhere", "second", "first", "place")
    if any(getattr(before, name) != getattr(after, name) for name in told):
        return False
    return all(
        old is None or (new is not None and not new < old)
        for old, new in zip(_grows(before), _grows(after), strict=True)
    )


def is_due(runs: Iterable[RunRecord]) -> bool:
    """Whether so many bear that were not compared yet."""
    return sum(one.bears == Bears.RECENT for one in runs) > 2 * RECENT


def thin(
    judged: Judged, runs: Collection[RunRecord], meant: AbstractSet[int | None] = frozenset()
) -> dict[tuple[str, str], Bears]:
    """What each of the runs of one machine is. Runs whose first event is `meant` by a statement stay: without
    them the statement would not be the machine's.
    """
    in_order = sorted(runs, key=lambda one: (one.last_seen, one.id))
    recent = {one.id for one in in_order[-RECENT:]}
    alike: dict[Hashable, list[Claim]] = defaultdict(list)
    for claim in judged.claims:
        if claim.run.id not in recent:
            is_merged = claim.run.id in judged.merged
            alike[claim.how, claim.run.site, claim.run.everywhere, is_merged].append(claim)
    # Each of these is a contradiction by itself, or holds a word; a station's that does not count is neither.
    alone = [*judged.apart.get(Kind.RUN, ()), *(one.run for one in judged.claims if one.run.contradicted)]
    stand = {one.id for one in alone} | {one.id for one in runs if one.first in meant}
    for claims in alike.values():
        stand |= _holders(claims)
    found = {one.id: Bears.STANDS if one.id in stand else Bears.NOT for one in runs}
    return found | dict.fromkeys(recent, Bears.RECENT)


def _grows(run: RunRecord) -> tuple[Any, ...]:
    """The values of which a machine has the greatest."""
    standing = standing_of_runs([run])
    marks = standing.marks
    return (
        run.last_seen,
        standing.proof,
        standing.look,
        standing.state,
        max((mark.number for mark in marks if mark.looked_inside), default=None),
        max((mark.number for mark in marks if mark.found_trouble), default=None),
    )


def _holders(claims: Sequence[Claim]) -> set[tuple[str, str]]:
    """Of runs that count alike, those that say all that the others do."""
    runs = [claim.run for claim in claims]
    in_order = sorted(runs, key=lambda one: (one.place, one.id))
    holders = {in_order[-1].id, *(one.id for one in first_asking(runs))}
    for told in ("serial", "disk_guid"):
        holders |= {one.id for one in [one for one in in_order if getattr(one, told)][-1:]}
    grown = [(_grows(one), one) for one in in_order]
    for part in range(len(_grows(runs[0]))):
        having = [
            (values[part], place) for place, (values, _) in enumerate(grown) if values[part] is not None
        ]
        if having:
            holders.add(in_order[max(having)[1]].id)
    holders |= _first_two(runs, lambda one: serial_key(one.serial) if one.serial else None)
    holders |= _first_two(runs, lambda one: one.disk_guid)
    holders |= _first_two(runs, lambda one: one.first_name_key)
    lines = sorted((claim.line["name_key"], claim.run.id) for claim in claims if claim.line)
    holders |= {id_ for _, id_ in lines[:1]}
    names = [(name_key(name), len(name), name, one.id) for one in runs for name in one.names]
    holders |= _smallest(((key, (length, name), id_) for key, length, name, id_ in names), MOST_NAMES)
    claimed = ((name, (0, ""), claim.run.id) for claim in claims for name in claim.names)
    return holders | _smallest(claimed, MOST_OTHERS + 1)


def _first_two(runs: Iterable[RunRecord], value: Callable[[RunRecord], str | None]) -> set[tuple[str, str]]:
    """Two runs with different values, where there are such."""
    found: dict[str, tuple[str, str]] = {}
    for one in runs:
        shown = value(one)
        if shown and len(found) < 2:
            found.setdefault(shown, one.id)
    return set(found.values())


def _smallest(
    said: Iterable[tuple[str, tuple[int, str], tuple[str, str]]], most: int
) -> set[tuple[str, str]]:
    """The runs with the first `most` keys in order, each key as it is written best."""
    best: dict[str, tuple[tuple[int, str], tuple[str, str]]] = {}
    for key, written, id_ in said:
        best[key] = min(best.get(key, (written, id_)), (written, id_))
    return {best[key][1] for key in sorted(best)[:most]}
