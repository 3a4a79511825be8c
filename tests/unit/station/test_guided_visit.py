"""A guided visit to a machine that was repaired before: each answer does what it says."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from support.endings import ended

from unbrick.errors import Reason
from unbrick.keys.chain import KeyChain
from unbrick.model import DiskReport, EarlierRun, RunState, Status
from unbrick.recovery.case import Goal
from unbrick.station.guided_visit import GuidedVisit
from unbrick.station.stick.settings import Settings
from unbrick.station.targets import Target
from unbrick.station.telling.reports import Reports
from unbrick.station.telling.screens import Question, Screens
from unbrick.station.unattended import Visit

START_WINDOWS, LOOK_AGAIN, TAKE_BACK = range(3)


class Person(Screens):
    """Answers without a terminal."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers)

    def ask(self, question: Question) -> int:
        return self.answers.pop(0)


@dataclass(frozen=True)
class Recorded(Visit):
    """Reports what the test wants, and keeps what was ordered."""

    reports_to_come: list[DiskReport] = field(default_factory=list)
    ordered: list[Goal] = field(default_factory=list)

    def work_on(self, target: Target, *, discard: bool = False, goal: Goal = Goal.REPAIR) -> DiskReport:
        self.ordered.append(goal)
        return self.reports_to_come.pop(0)


def visited(
    person: Person, *reports: DiskReport, only_looks: str | None = None
) -> tuple[DiskReport, list[Goal]]:
    """The report that the visit ends with, and what it did for that."""
    visit = Recorded(
        Settings(only_looks=only_looks),
        "0123456789abcdef",
        KeyChain(()),
        cast(Reports, None),
        (),
        lambda report: None,
        lambda error: None,
        reports_to_come=list(reports),
    )
    report = GuidedVisit(visit, person, ()).work_on(Target(Path("/dev/sda")))
    assert not person.answers, "a question was not asked"
    return report, visit.ordered


BEFORE = EarlierRun("r", "2026-11-25T08:00:00Z", "0123", RunState.REPAIRED)
ALREADY = replace(ended(Status.HEALTHY), runs=(BEFORE,))


def test_a_repaired_machine_is_left_alone() -> None:
    assert visited(Person(START_WINDOWS), ALREADY) == (ALREADY, [Goal.REPAIR])


def test_a_machine_that_does_not_start_is_looked_at_again() -> None:
    found_now = ended(Status.REPAIRED)
    assert visited(Person(LOOK_AGAIN), ALREADY, found_now) == (found_now, [Goal.REPAIR, Goal.REPAIR])


def test_looking_again_asks_again_where_nothing_is_found() -> None:
    person = Person(LOOK_AGAIN, START_WINDOWS)
    assert visited(person, ALREADY, ALREADY) == (ALREADY, [Goal.REPAIR, Goal.REPAIR])


def test_a_repair_is_taken_back() -> None:
    undone = ended(Status.UNDONE)
    assert visited(Person(TAKE_BACK), ALREADY, undone) == (undone, [Goal.REPAIR, Goal.UNDO])


def test_nothing_is_asked_where_no_answer_could_be_followed() -> None:
    assert visited(Person(), ALREADY, only_looks="nobody has signed") == (ALREADY, [Goal.REPAIR])
    asleep = ended(Status.NEEDS_HANDS, Reason.HIBERNATED)
    assert visited(Person(), asleep, only_looks="nobody has signed") == (asleep, [Goal.REPAIR])
