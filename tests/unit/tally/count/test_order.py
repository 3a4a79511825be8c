"""Whatever the network does to the order, the number and the batches of events, the tally is the same."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.tally_contents import contents
from support.tally_events import START, Told, disk, uuid
from support.tally_sums import faults_of

from unbrick.model import Machine
from unbrick.tally.records import ReceivedEvent, StatementError
from unbrick.tally.store.store import Store

SOON = datetime(2024, 7, 19, 8, tzinfo=UTC)

_machines = st.builds(
    Machine,
    smbios_uuid=st.sampled_from([None, None, uuid(1), uuid(2)]),
    serial=st.sampled_from([None, "SN-1", "SN-2"]),
    disk_guid=st.sampled_from([None, disk(1), disk(1), disk(2)]),
    hostnames=st.sampled_from([(), (), ("A",), ("a",), ("B",), ("B", "A"), ("C",)]),
)
_kinds = st.sampled_from(["run-started", "locked", "unlocked", "found", "note", "from-the-future"])
_outcomes = st.sampled_from(
    ["repaired", "undone", "healthy", "found", "needs-key", "needs-hands", "failed", "scanned"]
)


@st.composite
def _event(draw: st.DrawFn) -> ReceivedEvent:
    """An event of one of a few runs, so that numbers are often taken twice with other content.

    Each run is one station's: of two that sign one run, the first to come has it.
    """
    run = draw(st.integers(1, 5))
    told = Told(
        run=run,
        machine=draw(_machines),
        site=draw(st.sampled_from([None, "north", "south"])),
        station=f"stick-{run % 2}",
    )
    sequence = draw(st.integers(1, 6))
    if draw(st.booleans()):
        event = told.tell(draw(_kinds), sequence=sequence)
    else:
        event = told.tell(
            "outcome", sequence=sequence, status=draw(_outcomes), reason=draw(st.sampled_from(["", "x"]))
        )
    # The same event always arrives at the same time: what differs is the order, not the clock.
    # All of it comes soon after the runs began: a visit is as old as it says.
    minute = int(event.event.id[:2], 16) % 60
    return replace(event, received=SOON.replace(minute=minute), station=told.station)


@st.composite
def _deliveries(draw: st.DrawFn) -> tuple[list[list[ReceivedEvent]], list[list[ReceivedEvent]]]:
    """The same events delivered twice: each time in an order, with repetitions and in batches of its own."""
    by_id = {event.event.id: event for event in draw(st.lists(_event(), min_size=1, max_size=24))}
    events = list(by_id.values())

    def delivery() -> list[list[ReceivedEvent]]:
        repeated = draw(st.lists(st.sampled_from(events), max_size=6))
        order = draw(st.permutations([*events, *repeated]))
        cuts = sorted(draw(st.sets(st.integers(1, len(order)), max_size=6)))
        return [list(order[start:end]) for start, end in zip([0, *cuts], [*cuts, len(order)], strict=True)]

    return delivery(), delivery()


def deliver(
    path: Path, batches: Sequence[Sequence[ReceivedEvent]], *, listed_at: int
) -> dict[str, list[tuple[Any, ...]]]:
    """Add the batches; before the one of that number (or after all) the inventory comes."""
    with Store.open(path) as store:
        for number, batch in enumerate([*batches, []]):
            if number == min(listed_at, len(batches)):
                inventory_comes(store, path.parent / "inventory.csv")
            store.add(batch)
        people_speak(store)
        assert faults_of(store) == ()
        assert store.summary().total == len(store.machines(limit=None))
    return contents(path)


def people_speak(store: Store) -> None:
    """After all events: a word is about the machine that has the name by then. Of two, none is meant."""
    for name, status in (("c", "re-imaged"), ("B", "replaced"), ("D", "firmware-locked")):
        with suppress(StatementError):
            store.mark(name, status, reason="by hand", who="kim", at=START + timedelta(minutes=30), new=True)
    with suppress(StatementError):
        store.unmark("B", reason="no", who="kim", at=START + timedelta(minutes=11))


def inventory_comes(store: Store, listed: Path) -> None:
    listed.write_text("name,serial,site\nB,SN-1,gone\nE,,\nC,,hall\n")
    store.import_inventory(listed)
    listed.write_text("name,serial,site\na,,ward\nD,SN-2,lab\nE,,\n")
    store.import_inventory(listed)  # not replaced: that keeps the lines of what was seen by then


@given(_deliveries(), st.integers(0, 7), st.integers(0, 7))
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_any_order_repetition_and_batches_give_the_same_tally(
    deliveries: tuple[list[list[ReceivedEvent]], list[list[ReceivedEvent]]], first: int, second: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        one, other = (Path(folder) / name for name in ("one.db", "other.db"))
        assert deliver(one, deliveries[0], listed_at=first) == deliver(other, deliveries[1], listed_at=second)
