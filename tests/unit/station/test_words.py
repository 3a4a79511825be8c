"""Every reason has words for somebody who has never seen it, and words for the helpdesk."""

from __future__ import annotations

import re

import pytest

from unbrick.errors import Reason
from unbrick.model import Status
from unbrick.station.words import MEANINGS, meaning_of

_TRADE = re.compile(
    r"bitlocker|ntfs|partition|volume|journal|hive|registry|raid|chkdsk|protector|metadata|quarantine|playbook"
    r"|mount|boot|uefi|tpm|usb|medium|session|null|error",
    re.IGNORECASE,
)


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_is_told_in_plain_words(reason: Reason) -> None:
    meaning = MEANINGS[reason]
    for sentence in (meaning.what, meaning.to_do):
        assert sentence.endswith("."), sentence
        assert not _TRADE.search(sentence), sentence
        assert max(len(one.split()) for one in re.split(r"[.:]", sentence)) <= 16, sentence
    assert meaning.helpdesk.endswith(".")
    for sentence in (meaning.what, meaning.to_do, meaning.helpdesk):
        assert sentence.isascii()


def test_no_two_reasons_are_told_alike_but_those_that_mean_the_same_to_a_person() -> None:
    told: dict[str, list[Reason]] = {}
    for reason, meaning in MEANINGS.items():
        told.setdefault(meaning.what, []).append(reason)
    assert [alike for alike in told.values() if len(alike) > 1] == [
        [Reason.DYNAMIC_DISK, Reason.STORAGE_SPACES]
    ]


def test_a_detail_after_a_colon_changes_no_words() -> None:
    assert meaning_of(Status.NEEDS_HANDS, "foreign-encryption:luks") is MEANINGS[Reason.FOREIGN_ENCRYPTION]


@pytest.mark.parametrize("status", [Status.FAILED, Status.NEEDS_HANDS, Status.NEEDS_KEY])
@pytest.mark.parametrize("reason", [None, "of-a-newer-version", "", ":"])
def test_an_unknown_reason_is_told_by_the_status(status: Status, reason: str | None) -> None:
    assert meaning_of(status, reason).what
    assert meaning_of(status, reason) is meaning_of(status, None)
