"""What a trouble is called on the screen: by its reason, or by its status where the reason is not known."""

from __future__ import annotations

import pytest

from unbrick.errors import Reason
from unbrick.manual.reasons import explanations
from unbrick.model import Status
from unbrick.station.ending.ending import meaning_of


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_has_the_words_of_the_manual(reason: Reason) -> None:
    meaning, explained = meaning_of(Status.NEEDS_HANDS, f"{reason}:detail"), explanations()[reason]
    assert (meaning.what, meaning.helpdesk) == (explained.what, explained.for_it)


@pytest.mark.parametrize("status", [Status.FAILED, Status.NEEDS_HANDS, Status.NEEDS_KEY])
@pytest.mark.parametrize("reason", [None, "of-a-newer-version", "", ":"])
def test_an_unknown_reason_is_told_by_the_status(status: Status, reason: str | None) -> None:
    assert meaning_of(status, reason).what
    assert meaning_of(status, reason) == meaning_of(status, None)
