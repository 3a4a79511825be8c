"""A guided visit: few questions, each with what is needed to answer it, and each answer does what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest
from support.endings import FAULTY, ended
from support.recovery_passwords import make_guid, make_password
from support.switch_file import PATH, SwitchFile

from unbrick.errors import Reason
from unbrick.keys.chain import KeyChain
from unbrick.keys.password import RecoveryPassword
from unbrick.model import Action, DiskReport, EarlierRun, RunState, Status
from unbrick.recovery.case import Goal
from unbrick.repair.actions.kinds import KINDS
from unbrick.station.guided_visit import (
    Earlier,
    GuidedKeySource,
    GuidedVisit,
    ask_about_earlier_repair,
    ask_to_discard,
    confirm_plan,
)
from unbrick.station.stick.settings import Settings
from unbrick.station.targets import Target
from unbrick.station.telling.reports import Reports
from unbrick.station.telling.screens import Question, Screens
from unbrick.station.unattended import Visit

START_WINDOWS, LOOK_AGAIN, TAKE_BACK = range(3)


class Person(Screens):
    """Answers without a terminal, and keeps what was asked."""

    def __init__(self, *, answers: Sequence[int] = (), passwords: Sequence[str | None] = ()) -> None:
        self._answers = list(answers)
        self._passwords = list(passwords)
        self.asked: list[Question] = []
        self.tried_wrong: list[bool] = []
        self.shown: list[str] = []

    def ask(self, question: Question) -> int:
        self.asked.append(question)
        return self._answers.pop(0)

    def ask_password(
        self, protector_ids: Sequence[str], *, tried_wrong: bool = False
    ) -> RecoveryPassword | None:
        self.tried_wrong.append(tried_wrong)
        password = self._passwords.pop(0)
        return RecoveryPassword.parse(password) if password else None

    def progress(self, words: str, machine: str | None = None) -> None:
        self.shown.append(words)


def planned(files: int = 2) -> DiskReport:
    """A disk with a plan for some files."""
    report = ended(Status.FOUND, name="PC-17")
    actions = tuple(
        Action("quarantine-file", FAULTY.replace("32", f"{number:02d}"), "crowdstrike-cf291")
        for number in range(files)
    )
    return replace(report, installations=(replace(report.installations[0], actions=actions),))


def test_the_keyboard_is_asked_until_it_opens() -> None:
    person = Person(passwords=[make_password(1), make_password(2), make_password(3), None])
    source = GuidedKeySource(person)
    assert (source.interactive, source.warnings) == (True, ())
    chain = KeyChain([source])
    found = [candidate.password for candidate in chain.unlock_candidates([make_guid(1)])]
    assert found == [RecoveryPassword.parse(make_password(number)) for number in (1, 2, 3)]
    assert person.tried_wrong == [False, True, True, True]
    assert person.shown == ["Trying the recovery key"] * 3


def test_i_do_not_have_it_is_an_answer() -> None:
    person = Person(passwords=[make_password(1), None])
    assert len(list(GuidedKeySource(person).find([make_guid(1)]))) == 1
    assert person.tried_wrong == [False, True]


@pytest.mark.parametrize(("answer", "agreed"), [(0, True), (1, False)])
def test_one_question_before_anything_is_written(answer: int, agreed: bool) -> None:
    person = Person(answers=[answer])
    assert confirm_plan(person, "Dell OptiPlex 7090, 5CG1234XYZ")(planned()) is agreed
    (question,) = person.asked
    said = " ".join(question.lines)
    assert "PC-17 (Dell OptiPlex 7090, 5CG1234XYZ)" in said
    assert "2 files" in said
    assert FAULTY.rpartition("\\")[2].replace("32", "00") in said
    assert "can be put back" in said
    assert question.choices[0].startswith("Yes")
    assert question.machine == "PC-17"


def test_a_long_plan_names_its_first_files_only() -> None:
    person = Person(answers=[0])
    confirm_plan(person)(planned(40))
    assert "40 files" in " ".join(person.asked[0].lines)
    assert "and 37 more" in " ".join(person.asked[0].lines)


def test_taking_a_repair_back_is_asked_in_its_own_words() -> None:
    person = Person(answers=[0])
    assert confirm_plan(person, undoing=True)(planned(1)) is True
    assert "brings the fault back" in " ".join(person.asked[0].lines)


def test_each_kind_of_action_asks_in_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, SwitchFile.KIND, SwitchFile)
    plan = planned(2)
    (installation,) = plan.installations
    switch = Action(SwitchFile.KIND, PATH, "some-incident")
    both = replace(installation, actions=(*installation.actions, switch))
    person = Person(answers=[0])
    confirm_plan(person)(replace(plan, installations=(both,)))
    _, moved, _, turned, _ = person.asked[0].lines
    assert (moved[:33], turned) == (
        "It has the fault, in 2 files (C-0",
        "It has the fault: 1 setting (switch.txt) turned on.",
    )


@pytest.mark.parametrize("undoing", [False, True])
def test_finishing_what_was_cut_off_is_asked_in_its_own_words(undoing: bool) -> None:
    person = Person(answers=[0])
    assert confirm_plan(person, undoing=undoing)(planned(0)) is True
    (question,) = person.asked
    said = " ".join([question.title, *question.lines, *question.choices])
    assert "cut off" in said
    assert "0 files" not in said
    assert "PC-17" in said


@pytest.mark.parametrize("answer", Earlier)
def test_a_machine_that_was_repaired_before_is_not_repaired_again_unasked(answer: Earlier) -> None:
    person = Person(answers=[list(Earlier).index(answer)])
    assert ask_about_earlier_repair(person, "PC-17", "2026-11-25 by medium 01234567") is answer
    assert "2026-11-25 by medium 01234567" in person.asked[0].lines[0]


@pytest.mark.parametrize("reason", [Reason.HIBERNATED, Reason.UNCLEAN_LOG])
def test_what_would_be_lost_is_given_up_by_a_person_only(reason: Reason) -> None:
    report = ended(Status.NEEDS_HANDS, reason)
    careful, bold = Person(answers=[0]), Person(answers=[1])
    assert ask_to_discard(careful, report) is False
    assert ask_to_discard(bold, report) is True
    assert "lost" in " ".join(bold.asked[0].lines)


@pytest.mark.parametrize(
    "reason", [one for one in Reason if one not in (Reason.HIBERNATED, Reason.UNCLEAN_LOG)]
)
def test_nothing_else_can_be_given_up(reason: Reason) -> None:
    assert ask_to_discard(Person(), ended(Status.NEEDS_HANDS, reason)) is False


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
    assert not person._answers, "a question was not asked"
    return report, visit.ordered


BEFORE = EarlierRun("r", "2026-11-25T08:00:00Z", "0123", RunState.REPAIRED)
ALREADY = replace(ended(Status.HEALTHY), runs=(BEFORE,))


def test_a_repaired_machine_is_left_alone() -> None:
    assert visited(Person(answers=[START_WINDOWS]), ALREADY) == (ALREADY, [Goal.REPAIR])


def test_a_machine_that_does_not_start_is_looked_at_again() -> None:
    found_now = ended(Status.REPAIRED)
    assert visited(Person(answers=[LOOK_AGAIN]), ALREADY, found_now) == (
        found_now,
        [Goal.REPAIR, Goal.REPAIR],
    )


def test_looking_again_asks_again_where_nothing_is_found() -> None:
    person = Person(answers=[LOOK_AGAIN, START_WINDOWS])
    assert visited(person, ALREADY, ALREADY) == (ALREADY, [Goal.REPAIR, Goal.REPAIR])


def test_a_repair_is_taken_back() -> None:
    undone = ended(Status.UNDONE)
    assert visited(Person(answers=[TAKE_BACK]), ALREADY, undone) == (undone, [Goal.REPAIR, Goal.UNDO])


def test_nothing_is_asked_where_no_answer_could_be_followed() -> None:
    assert visited(Person(), ALREADY, only_looks="nobody has signed") == (ALREADY, [Goal.REPAIR])
    asleep = ended(Status.NEEDS_HANDS, Reason.HIBERNATED)
    assert visited(Person(), asleep, only_looks="nobody has signed") == (asleep, [Goal.REPAIR])
