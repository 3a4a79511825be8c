"""The manual keeps up with the program: every word a report can hold is explained in it."""

from __future__ import annotations

from importlib.resources import files

import pytest

from unbrick.errors import Reason
from unbrick.model import Status

_PAGE = files("unbrick.manual").joinpath("technician.md").read_text(encoding="utf-8")
_EXPLAINED = {
    word.strip(" `").partition(":")[0]
    for line in _PAGE.splitlines()
    if line.startswith("| `")
    for word in line.split("|")[1].split(",")
}


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_explained(reason: Reason) -> None:
    assert reason.value in _EXPLAINED


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.SCANNED])
def test_every_status_is_explained(status: Status) -> None:
    assert status.value in _EXPLAINED
