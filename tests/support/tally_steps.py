"""Random steps on a tally, for tests that hold what is kept against what the reports add up to."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from support.tally_events import Told, disk, uuid

from unbrick.errors import UsageError
from unbrick.model import Machine
from unbrick.tally.count.decisions import What
from unbrick.tally.records import Carried, MachineRow, ReceivedEvent, StatementError
from unbrick.tally.store.store import Store

SOON = datetime(2024, 7, 19, 1, tzinfo=UTC)
"""When the events come: soon after their runs began."""

STATIONS: dict[str, tuple[str | None, bool]] = {
    "north-1": ("north", False),
    "north-2": ("north", False),
    "south-1": ("south", False),
    "everywhere": ("main", True),
    "unknown": (None, False),
}
"""The site of each station, and whether its word counts at every site."""

_STATUSES = ("repaired", "undone", "healthy", "found", "needs-key", "needs-hands", "failed", "scanned")
_KINDS = ("run-started", "locked", "found", "outcome", "outcome", "outcome")
_NAMES = ("A", "a", "B", "C", "SN-1", "SN-2")
_MANY = tuple(f"N{number:02}" for number in range(20))
_WORDS = ("A", "B", "C", "N03", "N10", "SN-1", "SN-2", "code 0", "code 1", "code 2")
_LINES = ("", "A", "B", "C", "N03", "N15", "SN-1", "SN-2")


@dataclass(frozen=True)
class Step:
    """One thing that happens to a tally; `words` tell it from others of its kind."""

    kind: str
    words: tuple[object, ...]


def random_steps(seed: int, number: int) -> list[Step]:
    """So many steps; the same ones for the same seed."""
    chance = random.Random(seed)
    return [_step(chance) for _ in range(number)]


def random_events(chance: random.Random, number: int, stations: tuple[str, ...]) -> list[ReceivedEvent]:
    """Events, no two with one number in a run of one station: each run is one station's."""
    by_place = {}
    for _ in range(number):
        one = random_event(chance, stations=stations)
        by_place[one.event.run, one.event.sequence] = one
    return list(by_place.values())


def random_event(chance: random.Random, *, stations: tuple[str, ...] = ()) -> ReceivedEvent:
    """An event of one of a few runs; each run is one station's where `stations` are given."""
    run = chance.randint(1, 8)
    station = stations[run % len(stations)] if stations else chance.choice(sorted(STATIONS))
    told = Told(
        run,
        _machine(chance),
        site=chance.choice([None, "north", "south"]),
        station=station,
    )
    kind, sequence = chance.choice(_KINDS), chance.randint(1, 4)
    if kind == "outcome":
        one = told.tell(kind, sequence=sequence, status=chance.choice(_STATUSES), reason=chance.choice("ab"))
    else:
        one = told.tell(kind, sequence=sequence, why=chance.randint(0, 2))
    site, everywhere = STATIONS[station]
    return replace(
        one,
        received=SOON + timedelta(minutes=int(one.event.id[:4], 16) % 90),
        site=site,
        everywhere=everywhere,
        carried=Carried.BY_HAND if int(one.event.id[4], 16) == 0 else Carried.NO,
    )


def _machine(chance: random.Random) -> Machine:
    return Machine(
        chance.choice([None, None, uuid(1), uuid(2)]),
        chance.choice([None, "SN-1", "SN-2", "sn-1"]),
        chance.choice([None, disk(1), disk(1), disk(2)]),
        _names(chance),
    )


def _names(chance: random.Random) -> tuple[str, ...]:
    how = chance.random()
    if how < 0.25:
        return ()
    if how < 0.75:
        return (chance.choice(_NAMES),)
    if how < 0.9:
        return tuple(chance.sample(_NAMES, 2))
    return tuple(chance.sample([*_MANY, *_NAMES], 16))


def _line(chance: random.Random) -> str:
    serial = chance.choice(["", "", "SN-1", "SN-2", "SN-3"])
    return ",".join([chance.choice(_LINES), serial, chance.choice(["", "north", "south"])])


def _step(chance: random.Random) -> Step:
    kinds: dict[str, tuple[int, Callable[[], tuple[object, ...]]]] = {
        "add": (50, lambda: tuple(random_event(chance) for _ in range(chance.choice([1, 1, 1, 2, 4])))),
        "list": (
            12,
            lambda: (chance.random() < 0.3, *(_line(chance) for _ in range(chance.randint(1, 4)))),
        ),
        "mark": (
            11,
            lambda: (
                chance.choice(_WORDS),
                chance.choice(["re-imaged", "replaced", "confirmed"]),
                chance.random() < 0.5,
                chance.random() < 0.25,
            ),
        ),
        "unmark": (5, lambda: (chance.choice(_WORDS), chance.random() < 0.2)),
        "merge": (5, lambda: (chance.choice(_WORDS), chance.choice(_WORDS))),
        "unmerge": (3, lambda: (chance.choice(_WORDS),)),
        "split": (5, lambda: (chance.choice(_WORDS), chance.choice(["disk", "serial", "name"]))),
        "unsplit": (3, lambda: (chance.choice(_WORDS),)),
        "discount": (6, lambda: (chance.choice(sorted(STATIONS)), chance.random() < 0.6)),
        "settle": (6, lambda: (chance.randint(0, 5), chance.choice([What.COUNT, What.DISMISS, None]))),
        "rebuild": (1, lambda: ()),
    }
    kind = chance.choices(list(kinds), [often for often, _ in kinds.values()])[0]
    return Step(kind, kinds[kind][1]())


def take_step(store: Store, folder: Path, step: Step) -> MachineRow | None:
    """Do it; what the tally refuses changes nothing. Gives the row of a machine that was marked."""
    with suppress(UsageError, StatementError):
        return _DOING[step.kind](store, folder, *step.words)
    return None


def _add(store: Store, _: Path, *events: ReceivedEvent) -> None:
    store.add(events)


def _list(store: Store, folder: Path, replaces: bool, *lines: str) -> None:
    (folder / "list.csv").write_text("\n".join(["name,serial,site", *lines]) + "\n")
    store.import_inventory(folder / "list.csv", replace=replaces)


def _mark(store: Store, _: Path, word: str, status: str, new: bool, unseen: bool) -> MachineRow:
    wanted = _meant(store, word)
    if status == "confirmed":
        row = store.confirm(wanted, who="kim", new=new, unseen=unseen)
    else:
        row = store.mark(wanted, status, reason="by hand", who="kim", new=new, unseen=unseen)
    assert row.status == status, f"a mark had no effect: {row}"
    return row


def _unmark(store: Store, _: Path, word: str, unseen: bool) -> None:
    store.unmark(_meant(store, word), reason="no", who="kim", unseen=unseen)


def _merge(store: Store, _: Path, one: str, other: str) -> None:
    store.merge(_meant(store, one), _meant(store, other), reason="x", who="kim")


def _unmerge(store: Store, _: Path, word: str) -> None:
    store.unmerge(_meant(store, word), who="kim")


def _split(store: Store, _: Path, word: str, by: str) -> None:
    store.split(_meant(store, word), by=by, reason="x", who="kim")


def _unsplit(store: Store, _: Path, word: str) -> None:
    store.unsplit(_meant(store, word), who="kim")


def _discount(store: Store, _: Path, station: str, discounted: bool) -> None:
    store.discount(station, discounted=discounted, reason="x", who="kim")


def _settle(store: Store, _: Path, which: int, what: What | None) -> None:
    if found := store.disputes():
        store.settle(found[which % len(found)].code, what, reason="x", who="kim")


def _rebuild(store: Store, _: Path) -> None:
    store.rebuild()


_DOING: dict[str, Callable[..., MachineRow | None]] = {
    "add": _add,
    "list": _list,
    "mark": _mark,
    "unmark": _unmark,
    "merge": _merge,
    "unmerge": _unmerge,
    "split": _split,
    "unsplit": _unsplit,
    "discount": _discount,
    "settle": _settle,
    "rebuild": _rebuild,
}


def _meant(store: Store, word: str) -> str:
    """A name or a serial number as it is; for `code 0` that of the first machine that shows one."""
    if not word.startswith("code "):
        return word
    codes = [row.code for row in store.machines(limit=None) if row.code]
    return codes[int(word[5:]) % len(codes)] if codes else "A"
