"""Which runs of a machine count: a run settles at most one line of the inventory and speaks for its site.

What contradicts the inventory or another site's report is kept apart and moves no number until a person
decides. Pure; the same functions serve the counting and the recount.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from unbrick.events.standing import Mark, Standing
from unbrick.tally.books.clock import MICROSECONDS_A_MINUTE
from unbrick.tally.count.decisions import Decisions
from unbrick.tally.count.names import name_key, serial_key
from unbrick.tally.count.runs import RunRecord, merge_names

Line = Mapping[str, Any]


class Kind(StrEnum):
    """What a contradiction is about."""

    INVENTORY = "inventory"
    SITE = "site"
    RUN = "run"
    LINES = "lines"
    UUID = "uuid"
    NAME = "name"
    SERIAL = "serial"
    EVENTS = "events"
    SAID_SITE = "said-site"
    MANY = "many"
    NAMESAKES = "namesakes"


class _Agrees(StrEnum):
    SERIAL = "1"
    SITE = "2"
    NAME = "3"


MICROSECONDS_A_DAY = 24 * 60 * MICROSECONDS_A_MINUTE

MOST_OTHERS = 16
"""So many lines of the inventory that a machine claims besides its own are known of it: the first ones."""


@dataclass(frozen=True)
class Claim:
    """A run that may count: the line of the inventory that it settles and by what (None: contradicts it), and
    all lines (by name) that it claims.
    """

    run: RunRecord
    line: Line | None
    how: str | None
    names: frozenset[str]


@dataclass(frozen=True)
class Judged:
    """The runs of a machine: those that count, those kept apart by why, and the line that they settle.

    `others`: the lines (by name) that they claim besides. `claims`: the runs that may count. `firsts`: the
    numbers of the first events of all runs, counted or not. `merged`: runs that count because a person said
    that their machine is this one. `discounted`: runs of stations that do not count.
    """

    key: str
    counted: Sequence[RunRecord]
    apart: Mapping[Kind, Sequence[RunRecord]] = field(default_factory=dict)
    line: Line | None = None
    others: frozenset[str] = frozenset()
    claims: Sequence[Claim] = ()
    firsts: frozenset[int] = frozenset()
    merged: frozenset[tuple[str, str]] = frozenset()
    discounted: Sequence[RunRecord] = ()

    @property
    def name_keys(self) -> frozenset[str]:
        """Every computer name of the machine, also of runs kept apart; they displace none of the others."""
        apart = merge_names(*(one.names for some in self.apart.values() for one in some))
        counted = merge_names(*(one.names for one in self.counted))
        return frozenset(map(name_key, (*counted, *apart)))

    @property
    def contradictions(self) -> set[tuple[Kind, str]]:
        """Each by its kind and subject."""
        found = {(Kind.RUN, subject_of(one)) for one in self.apart.get(Kind.RUN, ())}
        found |= {(Kind.EVENTS, subject_of(one)) for one in self.counted if one.contradicted}
        if self.apart.get(Kind.INVENTORY):
            found.add((Kind.INVENTORY, self.key))
        if self._site_would_change():
            found.add((Kind.SITE, self.key))
        if self.others:
            found.add((Kind.LINES, self.key))
        if self._is_several():
            found.add((Kind.UUID, self.key))
        return found

    def _site_would_change(self) -> bool:
        apart = self.apart.get(Kind.SITE, ())
        if not apart:
            return False
        now, then = mark_of_runs(self.counted), mark_of_runs([*self.counted, *apart])
        return (now and now.status) != (then and then.status)

    def _is_several(self) -> bool:
        """Whether several computers seem to have one firmware UUID."""
        if not self.key.startswith("smbios:"):
            return False
        own = [one for one in self.counted if one.id not in self.merged]
        serials = {serial_key(one.serial) for one in own if one.serial}
        disks = {one.disk_guid for one in own if one.disk_guid}
        names = {one.first_name_key for one in own if one.first_name_key}
        return len(serials) > 1 or (len(disks) > 1 and len(names) > 1)


def day_of(run: RunRecord) -> int:
    """The day on which a run began to arrive, in days since 1970."""
    return run.first_received // MICROSECONDS_A_DAY


def many_subject(station: str, day: int) -> str:
    """A station and a day, as `stick-07/2026-11-30`."""
    return f"{station}/{datetime.fromtimestamp(day * 86_400, UTC):%Y-%m-%d}"


def namesakes_subject(station: str, name_key: str) -> str:
    return f"{station}/{name_key}"


def subject_of(run: RunRecord) -> str:
    """A run, as contradictions and decisions name it."""
    return f"{run.run}/{run.station}"


def first_of_runs(runs: Iterable[RunRecord], decided: Decisions) -> dict[str, int]:
    """The number of the first event under each run's id, without those of discounted stations."""
    begun: dict[str, int] = {}
    for one in runs:
        if one.station not in decided.discounted:
            begun[one.run] = min(begun.get(one.run, one.first), one.first)
    return begun


def is_second(run: RunRecord, begun: Mapping[str, int]) -> bool:
    """Whether another station began a run with this id before."""
    return run.first > begun.get(run.run, run.first)


def standing_of_runs(runs: Iterable[RunRecord]) -> Standing:
    standing = Standing()
    for run in runs:
        for mark in run.marks:
            standing = standing.after(mark)
    return standing


def mark_of_runs(runs: Iterable[RunRecord]) -> Mark | None:
    return standing_of_runs(runs).mark


def judge(
    key: str,
    runs: Iterable[RunRecord],
    by_name: Mapping[str, Line],
    by_serial: Mapping[str, Line],
    decided: Decisions,
) -> Judged:
    """Sort the runs of a machine."""
    apart: dict[Kind, list[RunRecord]] = defaultdict(list)
    agreed: list[tuple[RunRecord, Line | None, _Agrees]] = []
    claims: list[Claim] = []
    claimed: set[str] = set()
    in_order = sorted(runs, key=lambda one: one.first)
    discounted = [one for one in in_order if one.station in decided.discounted]
    for run in in_order:
        if run.station in decided.discounted:
            continue
        if run.second and (Kind.RUN, subject_of(run)) not in decided.counted:
            apart[Kind.RUN].append(run)
            continue
        line, how = _claim(run, by_name, by_serial)
        if how is None and (Kind.INVENTORY, key) not in decided.counted:
            apart[Kind.INVENTORY].append(run)
            claims.append(Claim(run, None, None, frozenset()))
            continue
        names = run.name_keys & by_name.keys()
        if run.serial and (named := by_serial.get(serial_key(run.serial))):
            names |= {named["name_key"]}
        claimed |= names
        agreed.append((run, line, how or _Agrees.SITE))
        claims.append(Claim(run, line, how or _Agrees.SITE, names))
    lines = [(how, line["name_key"], line) for _, line, how in agreed if line]
    settled = min(lines, key=lambda one: one[:2])[2] if lines else None
    homes = _homes(agreed, settled)
    counted = []
    for run, _, how in agreed:
        at_home = run.everywhere or how is not _Agrees.NAME or not run.site or plain_site(run.site) in homes
        if at_home or (Kind.SITE, key) in decided.counted:
            counted.append(run)
        else:
            apart[Kind.SITE].append(run)
    others = sorted(claimed - ({settled["name_key"]} if settled else set()))
    firsts = frozenset(run.first for run in in_order)
    merged = frozenset(run.id for run in counted if decided.is_merged(run))
    known = frozenset(others[:MOST_OTHERS])
    return Judged(key, counted, apart, settled, known, claims, firsts, merged, discounted)


def _homes(agreed: Sequence[tuple[RunRecord, Line | None, _Agrees]], line: Line | None) -> set[str]:
    """The sites of a machine: its line's and those that agree with it, else the first that reported."""
    local = [(plain_site(run.site), how) for run, _, how in agreed if run.site and not run.everywhere]
    homes = {site for site, how in local if how is not _Agrees.NAME}
    if line and line["site"]:
        homes.add(plain_site(line["site"]))
    return homes or {site for site, _ in local[:1]}


def _claim(
    run: RunRecord, by_name: Mapping[str, Line], by_serial: Mapping[str, Line]
) -> tuple[Line | None, _Agrees | None]:
    """The one line that a run settles and by what they agree (None: they do not)."""
    claimed = [by_name[name] for name in sorted(run.name_keys) if name in by_name]
    if not claimed:
        line = by_serial.get(serial_key(run.serial)) if run.serial else None
        return line, _Agrees.SERIAL if line else _Agrees.NAME
    agreeing = [(how, line["name_key"], line) for line in claimed if (how := _agreement(run, line))]
    if not agreeing:
        return claimed[0], None
    how, _, line = min(agreeing, key=lambda one: one[:2])
    return line, how


def _agreement(run: RunRecord, line: Line) -> _Agrees | None:
    if run.serial and line["serial_key"]:
        return _Agrees.SERIAL if serial_key(run.serial) == line["serial_key"] else None
    if run.everywhere:
        return _Agrees.SITE
    if line["site"]:
        return _Agrees.SITE if plain_site(line["site"]) == plain_site(run.site or "") else None
    return None if line["serial_key"] else _Agrees.NAME


def plain_site(site: str) -> str:
    """A site as it is compared: `St. Mary's` in a list is the `st-marys` of an enrolment."""
    return "".join(c for c in site.casefold() if c.isalnum())
