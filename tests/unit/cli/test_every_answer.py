"""Every answer of a verb says one thing to do, and it fits the status."""

from __future__ import annotations

from itertools import product

import click
import pytest
from support.endings import ended

from unbrick.cli.terminal.wording import report_lines
from unbrick.errors import Reason
from unbrick.model import Status
from unbrick.recovery.case import Goal

_TROUBLED = {Status.FAILED, Status.NEEDS_HANDS, Status.NEEDS_KEY}


@pytest.mark.parametrize("goal", [Goal.DIAGNOSE, Goal.REPAIR, Goal.UNDO])
def test_an_answer_says_one_thing_to_do(goal: Goal) -> None:
    for status, reason, done in product(Status, (None, *Reason), (False, True)):
        lines = [click.unstyle(line) for line in report_lines(ended(status, reason, done=done), goal=goal)]
        todo = [line for line in lines if "what to do: " in line]
        assert len(todo) == (status is not Status.SCANNED or reason is not None), lines
        if status in _TROUBLED:
            assert not any("restart this machine" in line for line in lines), lines
        moved = done and status is not Status.NEEDS_KEY  # nothing behind a lock was
        assert any("to put it back" in line for line in lines) == (moved and goal is Goal.REPAIR), lines
