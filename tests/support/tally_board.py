"""Boards for the tally's screens: invented numbers and machines, without a store."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from rich.console import Console, RenderableType

from unbrick.tally.records import FINISHED, Basis, Estimate, MachineRow, Rates, RecentEvent, Summary
from unbrick.tally.show.board import NEEDS_A_PERSON, Board

NOW = datetime(2026, 7, 19, 14, 3, 22, tzinfo=UTC)


def summary(
    counts: Mapping[str, int],
    *,
    marked: Mapping[str, int] | None = None,
    reasons: Mapping[str, Mapping[str, int]] | None = None,
    sites: Mapping[str, Mapping[str, int]] | None = None,
    estimate: Estimate | None = None,
    pace: float = 0.0,
) -> Summary:
    """A summary whose parts agree: `counts` is everything by status, `marked` the part of it by hand."""
    marked = marked or {}
    total = sum(counts.values())
    finished = sum(number for status, number in counts.items() if status in FINISHED)
    return Summary(
        total=total,
        by_status=counts,
        reasons=reasons or {},
        sites=sites if sites is not None else {"st-marys": counts} if counts else {},
        proved={s: n - marked.get(s, 0) for s, n in counts.items() if s != "expected"},
        marked=marked,
        expected=counts.get("expected", 0),
        finished=finished,
        remaining=total - finished,
        last_event=NOW - timedelta(seconds=20) if total else None,
        last_finished=NOW - timedelta(minutes=1) if finished else None,
        rates=Rates(pace, pace, pace, pace),
        estimate=estimate,
    )


def row(name: str, status: str, reason: str | None = None, site: str | None = "st-marys") -> MachineRow:
    """A machine of the list."""
    return MachineRow(f"disk:{name}", name, status, Basis.PROVED, reason, site, run=f"run of {name}")


def recent(
    name: str, status: str | None = "repaired", *, seconds_ago: int = 0, site: str = "st-marys"
) -> RecentEvent:
    """An outcome that has just arrived."""
    received = NOW - timedelta(seconds=seconds_ago)
    return RecentEvent(
        "0" * 64,
        "20260719T140000Z-abcdef",
        9,
        "outcome",
        None,
        status,
        None,
        name,
        site,
        "stick-1",
        received,
        "2009-01-01T00:00:00.000000Z",
    )


def board(numbers: Summary, *rows: MachineRow, events: tuple[RecentEvent, ...] = ()) -> Board:
    """A board at `NOW`; the rows go to the list they belong to."""
    keys = tuple(one for one in rows if one.status == "needs-key")
    persons = tuple(one for one in rows if one.status in NEEDS_A_PERSON)
    key_ids = {one.run: ("0B8E2F9C-1111-2222-3333-444455556666",) for one in keys if one.run}
    return Board(NOW, numbers, keys, persons, key_ids, events)


def nine() -> Board:
    """A small site, well on its way."""
    numbers = summary(
        {"repaired": 4, "re-imaged": 1, "healthy": 1, "needs-key": 1, "needs-hands": 1, "expected": 1},
        marked={"re-imaged": 1},
        reasons={"needs-key": {"key-missing": 1}, "needs-hands": {"hibernated": 1}},
        sites={
            "st-marys": {"repaired": 4, "needs-key": 1},
            "elm-road": {"healthy": 1, "re-imaged": 1, "needs-hands": 1, "expected": 1},
        },
        pace=0.8,
    )
    return board(
        numbers,
        row("PHARMACY-004", "needs-key", "key-missing"),
        row("LAB-008", "needs-hands", "hibernated", "elm-road"),
        events=tuple(recent(f"WARD-{n:03}", seconds_ago=9 * n) for n in range(6)),
    )


def two_hundred_thousand() -> Board:
    """A whole health service: every status, four hundred sites, more stuck than any screen holds."""
    counts = {
        "confirmed": 20_000, "repaired": 70_000, "healthy": 9_000, "re-imaged": 900, "retired": 100,
        "found": 40, "unlocked": 30, "locked": 20, "seen": 10, "undone": 5,
        "needs-key": 12_345, "needs-hands": 6_789, "failed": 61, "expected": 80_700,
    }  # fmt: skip
    sites = {f"site-{n:03}": {"repaired": 175, "expected": 225 + n % 100} for n in range(400)}
    numbers = summary(
        counts,
        marked={"re-imaged": 900, "retired": 100, "confirmed": 20_000},
        reasons={"needs-hands": {"hibernated": 4_000, "raid-member": 2_789}},
        sites=sites,
        estimate=Estimate(740.0, 700.0, 790.0, 8_000, 60.0),
        pace=135.4,
    )
    rows = [row(f"WARD-{n:05}", "needs-key", "key-missing") for n in range(100)]
    rows += [row(f"LAB-{n:05}", "needs-hands", "hibernated") for n in range(100)]
    return board(numbers, *rows, events=tuple(recent(f"OFFICE-{n:05}") for n in range(100)))


def shown(renderable: RenderableType, width: int, height: int) -> list[str]:
    """The lines that a terminal of this size would show, without their colours."""
    file = io.StringIO()
    console = Console(file=file, width=width, height=height, color_system=None, force_terminal=True)
    console.print(renderable, end="")
    return file.getvalue().split("\n")
