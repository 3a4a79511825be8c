"""The manual keeps up with the program: every word a report can hold is explained in it."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from unbrick.model import Status
from unbrick.standing import MachineStatus
from unbrick.tally.records import Statement


def _explained(page: str) -> set[str]:
    """The words in backticks in the first column of a page's tables."""
    text = files("unbrick.manual").joinpath(f"{page}.md").read_text(encoding="utf-8")
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| ")]
    return {word.partition(":")[0] for cell in cells for word in re.findall("`([^`]+)`", cell)}


_EXPLAINED = _explained("technician")
_EXPLAINED_TO_THE_LEAD = _explained("it-lead")


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.SCANNED])
def test_every_status_is_explained(status: Status) -> None:
    assert status.value in _EXPLAINED


@pytest.mark.parametrize("status", [*MachineStatus, *Statement])
def test_every_word_of_the_dashboard_is_explained_to_the_lead(status: MachineStatus | Statement) -> None:
    assert status.value in _EXPLAINED_TO_THE_LEAD
