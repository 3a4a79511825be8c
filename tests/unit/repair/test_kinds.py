"""What every kind of action has, and what a person reads of one."""

from __future__ import annotations

from dataclasses import replace

import click
import pytest
from support.endings import ended
from support.repair_journal import ENTRY
from support.switch_file import PATH, SwitchFile

from unbrick.cli.terminal.wording import report_lines, run_lines
from unbrick.model import Action, ActionState, EarlierRun, RunState, Status
from unbrick.recovery.case import Goal
from unbrick.repair.actions.kind import ActionKind
from unbrick.repair.actions.kinds import KINDS
from unbrick.repair.actions.quarantine_file import QuarantineFile

ALL: list[type[ActionKind]] = [QuarantineFile, SwitchFile]


@pytest.mark.parametrize("kind", ALL)
def test_a_kind_has_a_word_for_each_state(kind: type[ActionKind]) -> None:
    assert set(kind.WORDS.repair) == set(kind.WORDS.undo) == {*ActionState}
    assert set(kind.WORDS.listed) == {ActionState.DONE, ActionState.UNDONE}
    assert kind.plan(()) == ()


def test_the_table_is_by_the_kinds_own_words() -> None:
    assert {kind.KIND: kind for kind in ALL if kind is not SwitchFile} == KINDS


def test_an_event_tells_of_a_moved_file_what_the_tally_counts() -> None:
    assert ENTRY.to_action(ActionState.DONE).to_facts() == {
        "path": ENTRY.source,
        "playbook": ENTRY.playbook,
        "sha256": ENTRY.sha256,
        "state": "done",
    }


@pytest.mark.parametrize(
    ("goal", "state", "word"),
    [
        (Goal.REPAIR, ActionState.PLANNED, "would turn off"),
        (Goal.REPAIR, ActionState.DONE, "turned off"),
        (Goal.UNDO, ActionState.UNDONE, "turned on"),
        (Goal.PURGE, ActionState.DONE, "deleted for good"),
    ],
)
def test_a_kind_says_itself_what_was_done(
    monkeypatch: pytest.MonkeyPatch, goal: Goal, state: ActionState, word: str
) -> None:
    monkeypatch.setitem(KINDS, SwitchFile.KIND, SwitchFile)
    report = ended(Status.REPAIRED)
    action = Action(SwitchFile.KIND, PATH, "some-incident", state)
    shown = replace(report, installations=(replace(report.installations[0], actions=(action,)),))
    assert f"    {word}: {PATH}" in [click.unstyle(line) for line in report_lines(shown, goal=goal)]
    run = EarlierRun("r", "2024-07-19T06:12:03Z", None, RunState.REPAIRED, actions=(action,))
    if state is ActionState.DONE:
        assert f"    off: {PATH}" in [click.unstyle(line) for line in run_lines(replace(report, runs=(run,)))]
