"""What goes into the store and what comes out, as frozen data.

Times are aware datetimes in UTC by the tally's own clock, unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import NamedTuple

from unbrick.errors import FailedError, UsageError
from unbrick.events.event import Event
from unbrick.events.short_code import code_of_key
from unbrick.events.standing import MachineStatus
from unbrick.events.wire import SignedEvent
from unbrick.text import are


class StoreError(FailedError):
    """The tally's database cannot be used: missing, damaged, locked for too long, or of a newer unbrick."""


class StoreFullError(StoreError):
    """The disk below the database is full. Nothing of the batch was kept; the same call works later."""


UNMARKED = "tally.mark, which says what was acknowledged, is missing or damaged"


@dataclass(frozen=True)
class Loss:
    """What was acknowledged and is not in the database: reports (`events`), and changes of any kind, of which
    some are `acts` of persons. Where the register of stations is an older copy, `trust` counts the changes
    that it lacks, and `revocations` those that revoked a station; `register` says what is wrong with it where
    nobody can count them.

    `other`: it is another database or an old copy, so that the numbers are upper bounds. `gone`: there is no
    database. `damaged`: more may be missing. `unmarked`: there is no mark to compare with. `strange`: the
    files here that are another tally's, and the verb.
    """

    events: int
    changes: int
    other: bool = False
    gone: bool = False
    damaged: bool = False
    unmarked: bool = False
    strange: str = ""
    acts: int = 0
    trust: int = 0
    revocations: int = 0
    register: str = ""

    def __str__(self) -> str:
        if self.register:
            return f"{self.register}: whether changes of who may report are missing cannot be told"
        if self.trust:
            what = "change" if self.trust == 1 else "changes"
            some = f", {self.revocations} of them revoked a station" if self.revocations else ""
            return (
                f"stations.json is an older copy: {self.trust} {what} of who may report"
                f" {are(self.trust)} missing{some}"
            )
        if not self.acts or not (self.events or self.gone or self.other or self.damaged):
            return self._reports()
        what = "act" if self.acts == 1 else "acts"
        return f"{self._reports()}, and {self.acts} {what} of persons at the tally (marks, decisions, lists)"

    def _reports(self) -> str:
        if self.strange:
            return (
                f"{self.strange} of another tally: whether acknowledged reports of this one are missing "
                "cannot be told"
            )
        if self.unmarked:
            what = "the tally's database is gone, and tally.mark with it" if self.gone else UNMARKED
            return f"{what}: whether acknowledged reports are missing cannot be told"
        if self.gone:
            return f"the tally's database is gone: {_acknowledged(self.events)} missing"
        if self.damaged:
            return f"at least {_acknowledged(self.events)} missing, and tally.db is damaged"
        if self.other:
            return f"tally.db is another one, or an old copy: up to {_acknowledged(self.events)} missing"
        if self.events:
            return f"{_acknowledged(self.events)} missing"
        what = "change" if self.changes == 1 else "changes"
        return (
            f"{self.changes} {what} made at the tally (marks, decisions, lists) {are(self.changes)} missing"
        )


def _acknowledged(number: int) -> str:
    return f"{number} acknowledged report{'' if number == 1 else 's'} {are(number)}"


class LossError(StoreError):
    """The database has less than was acknowledged: no write until a person has decided."""

    def __init__(self, loss: Loss, *, hint: str, reason: str) -> None:
        super().__init__(str(loss), hint=hint, reason=reason)
        self.loss = loss


class StatementError(UsageError):
    """A person's statement is refused: an unknown word or machine, or a name that two machines have."""


class Statement(StrEnum):
    """What a person may say of a machine (`tally mark`, `tally confirm`)."""

    CONFIRMED = "confirmed"
    FIXED_BY_REBOOTS = "fixed-by-reboots"
    RE_IMAGED = "re-imaged"
    REPLACED = "replaced"
    RETIRED = "retired"
    NOT_AFFECTED = "not-affected"
    FIRMWARE_LOCKED = "firmware-locked"
    HANDS_OFF_MEDICAL = "hands-off-medical"
    HANDS_OFF_EVIDENCE = "hands-off-evidence"


class Basis(StrEnum):
    """What a machine's status rests on: its signed events, a person's statement, or the inventory alone."""

    PROVED = "proved"
    MARKED = "marked"
    EXPECTED = "expected"


FINISHED = frozenset(
    {
        MachineStatus.REPAIRED,
        MachineStatus.CONFIRMED,
        MachineStatus.HEALTHY,
        Statement.FIXED_BY_REBOOTS,
        Statement.RE_IMAGED,
        Statement.REPLACED,
        Statement.RETIRED,
        Statement.NOT_AFFECTED,
        Statement.HANDS_OFF_MEDICAL,
        Statement.HANDS_OFF_EVIDENCE,
    }
)
"""The statuses that leave nothing to do."""

WORKED = frozenset({Statement.CONFIRMED, Statement.FIXED_BY_REBOOTS, Statement.RE_IMAGED, Statement.REPLACED})
"""Work at a machine, which counts for the pace; the other words sort machines out at a desk."""

NAMED = "named:"
"""The prefix of the key of a machine that has not reported: known from the inventory or a person only."""


class Carried(IntEnum):
    """Whether an event was made some time before it came, so that it says nothing of the pace."""

    NO = 0
    BY_HAND = 1
    LATE = 2  # it waited in its station's outbox


@dataclass(frozen=True)
class ReceivedEvent:
    """A verified event on its way into the store. `station`: whose key signed it. `site`: the station's by
    its enrolment, None where its key was accepted without one. `everywhere`: it counts at every site.
    """

    signed: SignedEvent
    event: Event
    station: str
    received: datetime
    carried: Carried = Carried.NO
    site: str | None = None
    everywhere: bool = False


@dataclass(frozen=True)
class MachineRow:
    """One machine as it is counted. `status` is a MachineStatus or a Statement.

    `name` is never empty: a computer name, else what identifies the machine. `run` and `station` are of the
    event that gave the status, None where a person or the inventory did. `priority` is the inventory's text;
    `site` the inventory's, else the station's. `held` is the contradiction by which it counts nowhere, as its
    kind and subject.
    """

    key: str
    name: str
    status: str
    basis: Basis
    reason: str | None = None
    site: str | None = None
    service: str | None = None
    priority: str | None = None
    owner: str | None = None
    serial: str | None = None
    run: str | None = None
    station: str | None = None
    last_seen: datetime | None = None
    marked_by: str | None = None
    marked_at: datetime | None = None
    held: str | None = None

    @property
    def code(self) -> str | None:
        """The code that a station shows for the sticker; None where the machine has not reported."""
        if self.key.startswith(NAMED):
            return None
        kind, _, rest = self.key.partition(":")
        # The key of a clone of a disk ends with its name, which a station's code does not have.
        return code_of_key(f"disk:{rest.partition(':')[0]}" if kind == "disk" else self.key)

    @property
    def held_by(self) -> str | None:
        """The code of that contradiction."""
        return code_of_key(f"contradiction:{self.held}") if self.held else None


class MachineLine(NamedTuple):
    """One machine in the list of all, as a script reads it."""

    name: str
    site: str | None
    status: str
    reason: str | None


@dataclass(frozen=True)
class Said:
    """A person's statement on a machine (`status` is a Statement), and who took it back, if it was."""

    status: str
    reason: str | None
    who: str
    at: datetime
    taken_back_by: str | None = None
    taken_back_why: str | None = None
    taken_back_at: datetime | None = None


@dataclass(frozen=True)
class RecentEvent:
    """One of the latest events; `name` and `site` are of the machine that it counts for now."""

    id: str
    run: str
    sequence: int
    kind: str
    step: str | None
    status: str | None
    reason: str | None
    name: str
    site: str | None
    station: str
    received: datetime
    at: str


@dataclass(frozen=True)
class Rates:
    """Machines a minute, over the last 5 and 60 minutes (or since the first event, if later)."""

    repaired_last_5: float = 0.0
    repaired_last_60: float = 0.0
    finished_last_5: float = 0.0
    finished_last_60: float = 0.0


@dataclass(frozen=True)
class Estimate:
    """Minutes until all machines that are not stuck are finished, at the pace of the window; in nine of ten
    cases between the bounds if that pace holds. `latest` is None where the count is too small for a bound.
    """

    minutes: float
    earliest: float
    latest: float | None
    counted: int
    window: float


@dataclass(frozen=True)
class Summary:
    """The tally in numbers. Every machine is in `total`, `by_status` and one site exactly once.

    `reasons` is status → reason → machines (where there is a reason), `sites` is site (`""`: none known) →
    status → machines. `proved`, `marked` and `expected` split `by_status` by `Basis`. `contradictions` counts
    those not settled, `uncounted` the machines that are in no number because of any, `undecided` those of
    them not settled, `held` those beyond what stations may bring, `without_identity` (one of `numbers`) the
    visits that showed nothing to identify a machine by. `not_listed` counts machines that reported and are
    not in the inventory, by station (`""`: by a person), where there is an inventory. `oddities` counts
    events that contradict an earlier one of the same run and number. `last_finished` is when a medium last
    finished a machine and reported it at once; `stalled`: too long ago to believe the hour's pace.
    """

    total: int = 0
    by_status: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    sites: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    proved: Mapping[str, int] = field(default_factory=dict)
    marked: Mapping[str, int] = field(default_factory=dict)
    expected: int = 0
    finished: int = 0
    remaining: int = 0
    events: int = 0
    oddities: int = 0
    contradictions: int = 0
    uncounted: int = 0
    undecided: int = 0
    held: int = 0
    numbers: Mapping[str, int] = field(default_factory=dict)
    not_listed: Mapping[str, int] = field(default_factory=dict)
    first_event: datetime | None = None
    last_event: datetime | None = None
    last_finished: datetime | None = None
    stalled: bool = False
    rates: Rates = field(default_factory=Rates)
    estimate: Estimate | None = None

    @property
    def without_identity(self) -> int:
        return self.numbers.get("without_identity", 0)


@dataclass(frozen=True)
class LineProblem:
    """A line of the inventory that cannot be used, by its number from 1; `message` shows no cell."""

    line: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}"


@dataclass(frozen=True)
class InventoryCounts:
    """What an import did. `problems` are at most a hundred of the `bad` lines, `contradictions` at most a
    hundred of the `contradicting` ones: they contradict another line or what is known.

    `columns` maps our columns to the list's headings, `ignored` are its other headings. Where the list
    replaced another, `kept` are machines that it lacks and that stay, because they reported or have a
    statement, and `emptied` says how many cells of a column lost their value.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    bad: int = 0
    problems: tuple[LineProblem, ...] = ()
    contradicting: int = 0
    contradictions: tuple[LineProblem, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    kept: int = 0
    emptied: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Replacement:
    """What a list would take away if it replaced the one before: the keys and some names of the machines
    that would go, how many machines there are in all; `kept` and `emptied` as in InventoryCounts.
    """

    leaving: frozenset[str] = frozenset()
    names: tuple[str, ...] = ()
    of: int = 0
    kept: int = 0
    emptied: Mapping[str, int] = field(default_factory=dict)
