"""Every ending has one instruction, and no other sentence of it says otherwise.

Each rule reads an ending's sentences as a person does, and yields what does not go together. Below, every
rule is held against every ending, and then against a sample that breaks it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from support.endings import CONTACT, ended, every_situation, facts

from unbrick.errors import Reason
from unbrick.model import Status
from unbrick.station.ending.case import Colour
from unbrick.station.ending.ending import Ending, ending_of
from unbrick.station.ending.instruction import Then

Rule = Callable[[Ending], Iterator[str]]
_LATER = "Once it is switched on again: "


def _page(ending: Ending) -> str:
    """What the person at the machine reads, without the part for the helpdesk."""
    return "\n".join([ending.summary, *ending.to_do, *ending.next_in_windows])


def _says(ending: Ending, *patterns: str) -> list[str]:
    """Which of the patterns are found."""
    page = _page(ending)
    return [pattern for pattern in patterns if re.search(pattern, page, re.IGNORECASE)]


def restarts_or_is_switched_off(ending: Ending) -> Iterator[str]:
    if len(found := _says(ending, r"the computer (then )?restarts", "switches itself off")) != 1:
        yield f"it must either restart or switch itself off: {found}"


def happens_by_itself_or_at_a_key(ending: Ending) -> Iterator[str]:
    page = re.sub("used by itself|Windows starts by itself", "", _page(ending))
    by_itself = bool(re.search("by itself|^The computer switches itself off", page, re.MULTILINE))
    if bool(re.search("press Enter", page, re.IGNORECASE)) == by_itself:
        yield "it must either happen by itself or at a key"


def the_stick_is_taken_out_or_left_in(ending: Ending) -> Iterator[str]:
    found = _says(ending, r"take the (stick|disc) out", r"leave the (stick|disc) in")
    if len(found) > 1 or (found and not ending.instruction.medium):
        yield f"what becomes of the stick: {found}"


def one_thing_follows(ending: Ending) -> Iterator[str]:
    found = _says(
        ending, "(from the (stick|disc)|in the same way) again", "with another stick", "leave it off"
    )
    if len(found) > 1:
        yield f"more than one thing follows: {found}"
    foretold = any(re.search("(?<!may )Windows (starts|will)", one) for one in ending.next_in_windows)
    if found and (foretold or _says(ending, "the computer (then )?restarts")):
        yield f"Windows is foretold, but {found} comes first"


def windows_starts_only_where_it_can(ending: Ending) -> Iterator[str]:
    starts = [one for one in ending.next_in_windows if one.endswith("Windows starts by itself.")]
    if _says(ending, "switches itself off") and any(not one.startswith(_LATER) for one in starts):
        yield "Windows starts by itself on a computer that is switched off"


def something_was_changed_or_nothing(ending: Ending) -> Iterator[str]:
    if _says(ending, "nothing was changed") and _says(
        ending, "part was repaired", "was taken away", "was taken back"
    ):
        yield "something was changed, and nothing"


def somebody_is_called_once_or_nobody(ending: Ending) -> Iterator[str]:
    calls = sum("call the helpdesk" in sentence.lower() for sentence in ending.to_do)
    wanted = ending.colour is not Colour.GREEN or ending.headline == "PUT BACK"
    if calls != wanted:
        yield f"the helpdesk is called {calls} times"
    if ending.contact and not calls:
        yield "a telephone number, and nobody to call"


def the_tally_knows_or_waits(ending: Ending) -> Iterator[str]:
    known = any("knows it already" in sentence for sentence in ending.helpdesk)
    if known and _says(ending, "not sent yet", "photograph"):
        yield "the tally knows what was not sent"


def the_instruction_is_the_last_word(ending: Ending) -> Iterator[str]:
    if ending.to_do[-1] != ending.instruction.sentence:
        yield "something comes after the instruction"


def sentences_are_whole(ending: Ending) -> Iterator[str]:
    for sentence in (ending.summary, *ending.to_do, *ending.next_in_windows, *ending.helpdesk):
        if not re.search(r"\w.*[.]$", sentence) or re.search("None(?! of)", sentence):
            yield f"no sentence: {sentence!r}"


RULES: list[Rule] = [
    restarts_or_is_switched_off,
    happens_by_itself_or_at_a_key,
    the_stick_is_taken_out_or_left_in,
    one_thing_follows,
    windows_starts_only_where_it_can,
    something_was_changed_or_nothing,
    somebody_is_called_once_or_nobody,
    the_tally_knows_or_waits,
    the_instruction_is_the_last_word,
    sentences_are_whole,
]


def test_no_two_sentences_of_an_ending_contradict_each_other() -> None:
    seen = 0
    for reports, known in every_situation():
        ending = ending_of(reports, known)
        seen += 1
        for rule in RULES:
            assert not list(rule(ending)), (rule.__name__, list(rule(ending)), ending, known)
    assert seen > 30_000


_LOCKED = ended(Status.NEEDS_KEY, Reason.KEY_MISSING)
GOOD = {
    "repaired": ending_of([ended(Status.REPAIRED)], facts()),
    "off": ending_of([ended(Status.REPAIRED)], facts(finish="power-off")),
    "again": ending_of([ended(Status.FAILED, Reason.TIMED_OUT)], facts()),
    "broken": ending_of([ended(Status.FAILED, Reason.UNREADABLE_DISK)], facts(contact=CONTACT)),
    "found": ending_of([ended(Status.FOUND)], facts()),
    "bare": ending_of([ended(Status.FOUND)], facts(medium="")),
    "waiting": ending_of([ended(Status.FOUND)], facts(reports_waiting=2)),
}
BAD: list[tuple[Rule, str, str, str]] = [
    (restarts_or_is_switched_off, "broken", "to_do", "Press Enter: the computer restarts."),
    (restarts_or_is_switched_off, "repaired", "next_in_windows", "The computer switches itself off."),
    (happens_by_itself_or_at_a_key, "repaired", "to_do", "Press Enter to go on."),
    (happens_by_itself_or_at_a_key, "found", "to_do", "It goes on by itself."),
    (the_stick_is_taken_out_or_left_in, "repaired", "to_do", "Leave the stick in."),
    (the_stick_is_taken_out_or_left_in, "again", "to_do", "Take the stick out."),
    (the_stick_is_taken_out_or_left_in, "bare", "to_do", "Take the stick out."),
    (one_thing_follows, "broken", "to_do", "Start it from the stick again."),
    (one_thing_follows, "again", "to_do", "Leave it off."),
    (one_thing_follows, "broken", "next_in_windows", "Windows will stop as it did before."),
    (windows_starts_only_where_it_can, "off", "next_in_windows", "Windows starts by itself."),
    (something_was_changed_or_nothing, "repaired", "next_in_windows", "Nothing was changed."),
    (somebody_is_called_once_or_nobody, "repaired", "to_do", "Call the helpdesk."),
    (somebody_is_called_once_or_nobody, "found", "to_do", "Call the helpdesk once more."),
    (the_tally_knows_or_waits, "waiting", "helpdesk", "The tally knows it already."),
    (the_instruction_is_the_last_word, "found", "to_do", "And then rest."),
    (sentences_are_whole, "found", "next_in_windows", ""),
]


@pytest.mark.parametrize(("rule", "name", "field", "sentence"), BAD)
def test_a_rule_sees_what_contradicts(rule: Rule, name: str, field: str, sentence: str) -> None:
    good = GOOD[name]
    assert not list(rule(good))
    more: dict[str, Any] = {field: (*getattr(good, field), sentence)}
    assert list(rule(replace(good, **more)))


def test_every_rule_has_a_sample_that_breaks_it() -> None:
    assert {rule for rule, *_ in BAD} == set(RULES)


@pytest.mark.parametrize(
    ("reason", "then"),
    [
        (Reason.UNREADABLE_DISK, Then.STAYS_OFF),
        (Reason.DAMAGED_METADATA, Then.STAYS_OFF),
        (Reason.TIMED_OUT, Then.STICK_AGAIN),
        (Reason.UNKNOWN_PLAYBOOK, Then.OTHER_STICK),
        (Reason.UNREADABLE_FILE, Then.STICK_AGAIN),
        ("of-a-newer-version", Then.STICK_AGAIN),
        (None, Then.STICK_AGAIN),
    ],
)
def test_what_follows_a_failure_depends_on_what_failed(reason: str | None, then: Then) -> None:
    instruction = ending_of([ended(Status.FAILED, reason)], facts()).instruction
    assert instruction.then is then
    assert instruction.powers_off == (then is not Then.WINDOWS)
    assert not instruction.by_itself


def test_what_a_person_has_to_decide_leaves_windows_as_it_was() -> None:
    for reason in (Reason.PROTECTED_FILE, "of-a-newer-version", None):
        instruction = ending_of([ended(Status.NEEDS_HANDS, reason)], facts()).instruction
        assert (instruction.then, instruction.powers_off) == (Then.WINDOWS, False)


def test_who_is_called_is_on_every_amber_and_red_screen() -> None:
    for status in Status:
        ending = ending_of([ended(status)], facts(contact=CONTACT))
        assert (ending.contact == CONTACT) == (ending.headline not in {"DONE", "NO FAULT"})


def test_a_disk_that_was_left_alone_is_named_where_no_windows_was_found() -> None:
    outside = facts(left_alone=("sda (T7, 500 GB)", "sdb (2 GB)", "mmcblk0 (64 GB)"))
    for reports in ([], [replace(ended(Status.NEEDS_HANDS, Reason.NO_WINDOWS), installations=())]):
        said = " ".join(ending_of(reports, outside).to_do)
        assert "outside, and so left alone: sda (T7, 500 GB), sdb (2 GB) and 1 more." in said
        assert "left alone" not in " ".join(ending_of(reports, facts()).to_do)
    assert "left alone" not in " ".join(ending_of([ended(Status.REPAIRED)], outside).to_do)
