"""What people decided where reports contradict each other or the inventory; each can be taken back."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, insert, select, update

from unbrick.errors import UsageError
from unbrick.tally.books.clock import microseconds, present
from unbrick.tally.books.prepared import Prepared
from unbrick.tally.books.schema import decisions
from unbrick.tally.count.names import serial_key
from unbrick.tally.count.runs import RunRecord
from unbrick.text import is_seen, printable

APART = "\x1f"
"""Joins the key of a machine that was split to what tells its runs apart: no name or serial holds it."""

NO_END = 2**62

_IN_FORCE = Prepared(select(decisions).where(decisions.c.undone_at.is_(None)).order_by(decisions.c.number))


class What(StrEnum):
    """What was decided."""

    COUNT = "count"
    DISMISS = "dismiss"
    DISCOUNT = "discount"
    MERGE = "merge"
    SPLIT = "split"


@dataclass(frozen=True)
class Decisions:
    """Those in force: contradictions (kind and subject) that count or are dismissed, stations that do not
    count, machines (by key) that are another one or that are several. `spans` are, of each contradiction
    that grows (by kind and place), the numbers after which and up to which each decision holds.
    """

    counted: frozenset[tuple[str, str]] = frozenset()
    dismissed: frozenset[tuple[str, str]] = frozenset()
    discounted: frozenset[str] = frozenset()
    merged: Mapping[str, str] = field(default_factory=dict)
    split: Mapping[str, str] = field(default_factory=dict)
    spans: Mapping[tuple[str, str], Mapping[int, int]] = field(default_factory=dict)

    def subject_at(self, kind: str, place: str, number: int) -> str:
        """The subject of a contradiction of a station that grows, for what arrived under this number.

        A decision is of what was there when it was made: what came later is another contradiction.
        """
        spans = self.spans.get((kind, place), {})
        within = [begin for begin, end in spans.items() if begin < number <= end]
        begin = max(within or [end for end in spans.values() if end < number], default=0)
        return f"{place}{APART}{begin}" if begin else place

    def span_of(self, kind: str, subject: str) -> tuple[str, int, int]:
        """The place of such a subject, and from which number (exclusive) to which it goes."""
        place, begin = place_and_begin(subject)
        spans = self.spans.get((kind, place), {})
        later = min((one for one in spans if one > begin), default=NO_END)
        return place, begin, spans.get(begin, later)

    def counts(self, kind: str, place: str, number: int) -> bool:
        """Whether a person let it count."""
        return (kind, self.subject_at(kind, place, number)) in self.counted

    def key_of(self, key: str, run: RunRecord) -> str:
        """The key of the machine that a run counts for, where `key` is what the run itself shows."""
        key = self._part_of(key, run)
        seen = {key}
        while (other := self.merged.get(key)) is not None and other not in seen:
            seen.add(other)
            key = other
        return key

    def is_merged(self, run: RunRecord) -> bool:
        """Whether a person said that the machine which a run itself shows is another one."""
        if not self.merged:
            return False
        if run.smbios_uuid:
            return self._part_of(f"smbios:{run.smbios_uuid}", run) in self.merged
        shown = {f"disk:{run.disk_guid}", f"disk:{run.disk_guid}:{run.first_name_key}"}
        shown |= {f"serial:{(run.serial or '').upper()}", f"name:{run.first_name_key}"}
        return any(self._part_of(key, run) in self.merged for key in shown)

    def _part_of(self, key: str, run: RunRecord) -> str:
        """The key of the part of a machine that was split to which a run belongs."""
        by = self.split.get(key)
        if by is None:
            return key
        serial = serial_key(run.serial) if run.serial else None
        value = {"disk": run.disk_guid, "serial": serial, "name": run.first_name_key}[by]
        return f"{key}{APART}{value}" if value else key


def read_decisions(connection: Connection) -> Decisions:
    """The decisions in force; the later one counts where two speak of the same."""
    found: dict[str, dict[tuple[str, str], str]] = {what.value: {} for what in What}
    spans: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for row in _IN_FORCE.named_rows(connection):
        found[row["what"]][row["kind"], row["subject"]] = row["other"]
        if row["kind"] and row["other"]:
            place, begin = place_and_begin(row["subject"])
            spans[row["kind"], place][begin] = int(row["other"])
    return Decisions(
        counted=frozenset(found[What.COUNT]),
        dismissed=frozenset(found[What.DISMISS]),
        discounted=frozenset(subject for _, subject in found[What.DISCOUNT]),
        merged={subject: other for (_, subject), other in found[What.MERGE].items()},
        split={subject: other for (_, subject), other in found[What.SPLIT].items()},
        spans=spans,
    )


def place_and_begin(subject: str) -> tuple[str, int]:
    """What `subject_at` made a subject of."""
    place, _, begin = subject.partition(APART)
    return place, int(begin or 0)


def kept_reason(reason: str) -> str:
    """A person's reason as it is kept: whole, on one printable line."""
    return printable(reason, " ").strip()


def decide(
    connection: Connection,
    what: What,
    subject: str,
    *,
    kind: str = "",
    other: str = "",
    called: Sequence[str] = (),
    reason: str,
    who: str,
    at: datetime | None = None,
) -> None:
    """Write a decision down, in place of one of the same kind on the same subject.

    `called` is what the person called the machines, so that it can always be taken back by that.
    """
    if not is_seen(reason):
        raise UsageError("a decision needs a reason", hint="say in a few words why: --reason TEXT")
    take_back(connection, what, subject, kind=kind, who=who, at=at)
    row = {
        "what": what.value,
        "kind": kind,
        "subject": subject,
        "other": other,
        "called": json.dumps(called, ensure_ascii=False),
        "reason": kept_reason(reason),
        "who": who,
        "at": microseconds(at or present()),
    }
    connection.execute(insert(decisions), row)


def take_back(
    connection: Connection, what: What, subject: str, *, kind: str = "", who: str, at: datetime | None = None
) -> bool:
    """Take a decision back; False where there is none."""
    here = (
        (decisions.c.what == what.value)
        & (decisions.c.kind == kind)
        & (decisions.c.subject == subject)
        & decisions.c.undone_at.is_(None)
    )
    values: dict[str, Any] = {"undone_by": who, "undone_at": microseconds(at or present())}
    return connection.execute(update(decisions).where(here).values(values)).rowcount > 0
