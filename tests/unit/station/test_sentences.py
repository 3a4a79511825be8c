"""The table of every sentence is whole, and what becomes of the computer is said in one module."""

from __future__ import annotations

import re

from support.sentences import PACKAGE, Sentence, instructions, sentences, shown_endings

from unbrick.errors import Reason
from unbrick.model import Status

_MOVES = re.compile(
    r"(computer|machine)( then)? restarts|switches itself off|take the .* out|leave the .* in\b|leave it off"
    r"|start it (from|with)",
    re.IGNORECASE,
)
# The program itself has failed, and no ending was made.
_OUTSIDE_AN_ENDING = {"station/telling/voice.py"}


def test_texts_messages_hints_and_reasons_are_found() -> None:
    found = {one.text: one for one in sentences()}
    assert "Please wait. Do not switch the computer off." in found
    locked = found["{real} encrypts itself and is locked"]
    hint = "unlock it in the firmware, or with sedutil-cli, then try again"
    assert locked == Sentence(locked.where, locked.text, hint, "{Reason.OPAL_LOCKED}")
    assert len(found) > 1000
    assert not any("A reason in words" in text for text in found), "docstrings are for developers"


def test_every_status_and_reason_is_shown() -> None:
    shown = dict(shown_endings())
    assert {*Status, *Reason} <= {word for name in shown for word in name.split()}
    assert {"failed interrupted", "needs-key key-missing", "needs-hands hibernated"} <= shown.keys()
    assert "needs-hands interrupted" not in shown, "an interrupted run has failed"
    assert {ending.to_do[-1] for ending in shown.values()} <= set(instructions())


def test_what_becomes_of_the_computer_is_said_by_the_instruction_alone() -> None:
    told = {
        module
        for one in sentences(PACKAGE)
        if (module := one.where.partition(":")[0]).startswith("station/")
        if _MOVES.search(one.text) and module != "station/ending/instruction.py"
    }
    assert told == _OUTSIDE_AN_ENDING
