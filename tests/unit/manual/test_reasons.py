"""Every reason is explained once, in one place, for three readers; and the page explains nothing else."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from unbrick.disks.identify import foreign_encryption, second_opinion
from unbrick.errors import Reason
from unbrick.manual.reasons import explain, explanations

_TRADE = re.compile(
    r"bitlocker|ntfs|partition|volume|journal|hive|registry|raid|chkdsk|protector|metadata|quarantine|playbook"
    r"|mount|boot|uefi|tpm|usb|medium|session|null|error",
    re.IGNORECASE,
)
_MOVES = re.compile(
    r"restart|switch|\boff\b|press|\benter\b|\bstart (it|this|the)|take .* out|leave|again", re.IGNORECASE
)
_PAGE = files("unbrick.manual").joinpath("reasons.md").read_text(encoding="utf-8")


def test_every_reason_has_its_section_and_no_section_is_left_over() -> None:
    headings = [line.removeprefix("## ").strip("`") for line in _PAGE.splitlines() if line.startswith("##")]
    assert headings == sorted(Reason)
    assert list(explanations()) == headings, "each section has the form that the station reads"


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_is_told_in_plain_words(reason: Reason) -> None:
    explained = explanations()[reason]
    for sentence in (explained.what, explained.at_the_machine):
        assert sentence.endswith("."), sentence
        assert not _TRADE.search(sentence), sentence
        assert max(len(one.split()) for one in re.split(r"[.:]", sentence)) <= 16, sentence
    assert explained.for_it.endswith(".")
    for sentence in (explained.what, explained.at_the_machine, explained.for_it):
        assert sentence.isascii(), "the console draws it"


@pytest.mark.parametrize("reason", Reason)
def test_what_becomes_of_the_computer_is_left_to_the_one_instruction_of_an_ending(reason: Reason) -> None:
    """See `unbrick.station.ending.instruction`: a sentence here would contradict it sooner or later."""
    explained = explanations()[reason]
    for sentence in (explained.what, explained.at_the_machine):
        assert not _MOVES.search(sentence), sentence


@pytest.mark.parametrize("reason", Reason)
def test_a_section_says_more_than_the_screen_does(reason: Reason) -> None:
    explained = explanations()[reason]
    assert explained.section.startswith(f"## `{reason}`\n")
    more = explained.section.partition(explained.for_it)[2].strip()
    assert len(more.split()) >= 8, "for whoever works on the disk"


def test_no_two_reasons_are_told_alike_but_those_that_mean_the_same_to_a_person() -> None:
    told: dict[str, list[str]] = {}
    for word, explained in explanations().items():
        told.setdefault(explained.what, []).append(word)
    assert [alike for alike in told.values() if len(alike) > 1] == [
        [Reason.DYNAMIC_DISK, Reason.STORAGE_SPACES]
    ]


def test_every_product_that_may_follow_a_colon_is_named() -> None:
    marks = (*foreign_encryption._DISK_MARKS, *foreign_encryption._VOLUME_MARKS)
    products = {mark.product for mark in marks} | {"filevault", *second_opinion._FOREIGN.values()}
    products |= {product for product, _ in foreign_encryption._BOOT_FOLDERS.values()}
    section = explanations()[Reason.FOREIGN_ENCRYPTION].section
    assert products == set(re.findall("`([a-z-]+)`", section)) - {Reason.FOREIGN_ENCRYPTION}


def test_a_detail_after_a_colon_changes_no_words() -> None:
    assert explain("foreign-encryption:luks") is explanations()[Reason.FOREIGN_ENCRYPTION]
    assert explain("of-a-newer-version") is None
