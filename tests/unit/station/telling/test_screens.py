"""A person before the screens: keystrokes go in, an independent terminal emulator shows what comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.emulated_screen import EmulatedScreen, at_screen
from support.endings import CONTACT, ended, facts
from support.recovery_passwords import make_guid, make_password

from unbrick.keys.password import RecoveryPassword
from unbrick.model import FilesystemState, Status
from unbrick.station.ending.ending import ending_of
from unbrick.station.telling.screens import Question, Screens

_T = TypeVar("_T")
_SIZES = [(80, 25), (80, 24), (240, 67)]
_QUESTION = Question(
    "Repair it?",
    ("This is PC-17.", "It has the fault."),
    ("Yes, repair it", "No, leave it", "Something else"),
    "PC-17",
)
_ID = make_guid(1)
_UP, _DOWN, _LEFT, _DELETE, _ESCAPE = "\x1b[A", "\x1b[B", "\x1b[D", "\x1b[3~", "\x1b"


@contextmanager
def visit(
    columns: int = 80, rows: int = 25, *, page_seconds: float = 60.0
) -> Iterator[tuple[Screens, EmulatedScreen, Callable[[Callable[[], _T]], Future[_T]]]]:
    """The screens, the person, and what lets the station wait for the person beside the test."""
    with at_screen(columns, rows) as (terminal, person), ThreadPoolExecutor(1) as station:
        try:
            yield Screens(terminal, page_seconds=page_seconds), person, station.submit
            assert not person.scrolled
        finally:
            person.hang_up()  # whoever still waits for a key, because a test has failed, then ends


@pytest.mark.parametrize(("columns", "rows"), _SIZES)
def test_a_question_is_answered_by_its_number(columns: int, rows: int) -> None:
    with visit(columns, rows) as (screens, person, start):
        answer = start(lambda: screens.ask(_QUESTION))
        person.wait_for("Press the number")
        for words in ("PC-17", *_QUESTION.lines, "1 Yes, repair it", "2 No, leave it", "3 Something else"):
            assert words in person.text
        person.press("2")
        assert answer.result(60) == 1


@pytest.mark.parametrize(
    ("keys", "answer"),
    [
        (_DOWN + "\r", 0),
        (_DOWN + _DOWN + "\r", 1),
        (_DOWN * 9 + "\r", 2),
        (_UP + "\r", 2),
        (_UP * 9 + "\r", 0),
        ("\x1bOB\x1bOB\r", 1),
        ("\r\r" + "3", 2),
        ("0x9 -q" + _ESCAPE + "\t1", 0),
        (")$@", 1),  # as on a keyboard that has its digits on Shift
    ],
)
def test_a_question_takes_arrows_and_enter_and_no_key_that_answers_nothing(keys: str, answer: int) -> None:
    with visit() as (screens, person, start):
        given = start(lambda: screens.ask(_QUESTION))
        person.wait_for("Press the number")
        person.press(keys)
        assert given.result(60) == answer


def test_what_was_pressed_before_a_question_does_not_answer_it() -> None:
    with visit() as (screens, person, start):
        person.press("1\r1\r")
        answer = start(lambda: screens.ask(_QUESTION))
        person.wait_for("Press the number")
        person.press("2")
        assert answer.result(60) == 1


def test_the_arrow_keys_show_where_they_are() -> None:
    with visit() as (screens, person, start):
        answer = start(lambda: screens.ask(_QUESTION))
        person.wait_for("Press the number")
        assert person.colours_behind("Yes, repair it") == {"black"}
        person.press(_DOWN)
        wait_until(lambda: person.colours_behind("Yes, repair it") == {"white"}, person)
        person.press("3")
        assert answer.result(60) == 2


def wait_until(true: Callable[[], bool], person: EmulatedScreen) -> None:
    for _ in range(600):
        if true():
            return
        person.pause()
    raise AssertionError("\n".join(person.rows))


@pytest.mark.parametrize(("columns", "rows"), _SIZES)
def test_a_recovery_password_is_typed_group_by_group(columns: int, rows: int) -> None:
    password = make_password(1)
    groups = password.split("-")
    with visit(columns, rows) as (screens, person, start):
        screens.contact = CONTACT
        given = start(lambda: screens.ask_password([_ID]))
        person.wait_for("Type the key here")
        assert f"Helpdesk: {CONTACT}" in person.text
        assert _ID[8:] in person.text, "the rest of the key ID, below its beginning in big letters"
        assert "48 digits" in person.text
        person.press(groups[0])
        person.wait_for(f"1: {groups[0]} 2: ______")
        person.press("-".join(groups[1:]))
        person.wait_for("All 48 digits are there")
        assert person.text.count(" ok") == 8
        person.press("\r")
        assert given.result(60) == RecoveryPassword.parse(password)
        person.wait_until(groups[7], present=False)
        assert not any(group in person.text for group in groups), "nothing of it stays on the screen"


def test_a_mistyped_group_is_named_at_once_and_can_be_typed_again() -> None:
    groups = make_password(2).split("-")
    with visit() as (screens, person, start):
        given = start(lambda: screens.ask_password([_ID]))
        person.wait_for("Type the key here")
        person.press(groups[0] + groups[1] + "111112")
        person.wait_for("Group 3 has a wrong digit")
        assert "wrong" in person.text
        assert person.colours_behind("111112") == {"red"}
        person.press("".join(groups[3:]) + "\r")
        person.press(groups[2])
        person.wait_for("All 48 digits are there")
        person.press("\r")
        assert given.result(60) == RecoveryPassword.parse("-".join(groups))


def test_missing_digits_are_asked_for() -> None:
    password = make_password(3)
    with visit() as (screens, person, start):
        given = start(lambda: screens.ask_password([_ID]))
        person.wait_for("Type the key here")
        person.press(password[:-2] + "\r")
        person.wait_for("Some digits are missing")
        person.press(password[-2:])
        person.wait_for("All 48 digits")
        person.press("\t")
        assert given.result(60) == RecoveryPassword.parse(password)


@given(
    st.integers(0, 10**6),
    st.sampled_from(["", "-", " ", "6"]),
    st.sampled_from(["\r", "\t", "\r\n", "\n"]),
    st.booleans(),
)
@settings(max_examples=20)
def test_a_scanner_types_all_at_once(seed: int, between: str, end: str, shifted: bool) -> None:
    """As the digits or as the signs above them; 6 is the dash of one set up for a French keyboard."""
    groups = make_password(seed).split("-")
    sent = groups
    if shifted or between == "6":
        sent = [group.translate(str.maketrans("1234567890", "!@#$%^&*()")) for group in groups]
    with visit() as (screens, person, start):
        given = start(lambda: screens.ask_password([_ID]))
        person.wait_for("Type the key here")
        person.press(between.join(sent) + end)
        assert given.result(60) == RecoveryPassword.parse("-".join(groups))


def test_enter_alone_gives_nothing_and_escape_asks_before_it_gives_up() -> None:
    password = make_password(4)
    with visit() as (screens, person, start):
        given = start(lambda: screens.ask_password([_ID]))
        person.wait_for("Type the key here")
        person.press("\r\r" + password[:20])
        person.wait_for(password[:6])
        person.press(_ESCAPE)
        person.wait_for("I do not have the key")
        person.press("1")
        person.wait_for("Type the key here")
        assert password[:6] in person.text, "what was typed is still there"
        person.press(password[20:])
        person.wait_for("All 48 digits")
        person.press(_ESCAPE)
        person.wait_for("I do not have the key")
        person.press("2")
        assert given.result(60) is None


def test_a_key_that_did_not_open_the_disk_is_said_and_two_key_ids_are_shown() -> None:
    with visit() as (screens, person, start):
        given = start(lambda: screens.ask_password([_ID, make_guid(2)], tried_wrong=True))
        person.wait_for("not the one for this disk")
        person.wait_for("Type the key here")
        assert _ID[8:] in person.text
        assert make_guid(2)[8:] in person.text
        person.press(_ESCAPE)
        person.wait_for("I do not have the key")
        person.press("2")
        assert given.result(60) is None


@pytest.mark.parametrize(("columns", "rows"), _SIZES)
def test_progress_shows_what_is_done_and_what_is_being_done(columns: int, rows: int) -> None:
    with visit(columns, rows) as (screens, person, _):
        for number in range(40):
            screens.progress(f"Step {number}")
        screens.progress("Taking the fault away", "PC-17")
        screens.progress("Taking the fault away")
        person.wait_for("> Taking the fault away")
        assert "√ Step 39" in person.text
        assert "PC-17" in person.text
        assert "Do not switch the computer off." in person.text


def test_a_message_is_shown_and_enter_goes_on() -> None:
    with visit() as (screens, person, start):
        screens.message(["unbrick had to stop.", "Press Enter to restart."])
        person.wait_for("Press Enter to restart.")
        assert screens.wait_for_key(0) is False
        pressed = start(lambda: screens.wait_for_key(None))
        person.press("x2\r")
        assert pressed.result(60) is True


def test_the_pages_of_an_ending_are_turned_by_the_arrow_keys() -> None:
    report = ended(Status.REPAIRED, filesystem=FilesystemState.DIRTY)
    ending = ending_of([report], facts(reports_waiting=1, restart_way="remove-stick"))
    with visit() as (screens, person, start):
        screens.show(ending)
        person.wait_for("turn the page (1 of 2)")
        assert person.colours_behind("GREEN") == {"green"}
        pressed = start(lambda: screens.wait_for_key(None))
        person.press("\x1b[C")
        person.wait_for("turn the page (2 of 2)")
        assert "serial 5CG1234XYZ" in person.text
        person.press("\x1b[C")
        person.wait_for("turn the page (1 of 2)")
        person.press(_LEFT)
        person.wait_for("turn the page (2 of 2)")
        person.press("\r")
        assert pressed.result(60) is True


def test_the_pages_turn_by_themselves_where_nobody_does() -> None:
    ending = ending_of([ended(Status.REPAIRED)], facts(reports_waiting=1, reports_on_stick=False))
    with visit(page_seconds=0.5) as (screens, person, start):
        screens.show(ending)
        pressed = start(lambda: any(screens.wait_for_key(0.1) for _ in range(600)))
        person.wait_for("Photograph this and")
        person.wait_for("turn the page (1 of")
        person.press("\r")
        assert pressed.result(60) is True


def test_a_question_without_answers_or_with_too_many_is_a_mistake() -> None:
    with visit() as (screens, _, _start):
        for count in (0, 10):
            with pytest.raises(ValueError, match="one to nine"):
                screens.ask(Question("?", (), ("answer",) * count))
