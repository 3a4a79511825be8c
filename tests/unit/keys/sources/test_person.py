"""Asking the person in front of the machine: with injected streams, and over a real terminal."""

from __future__ import annotations

import io
import os
import pty
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.recovery_passwords import leaked_digits, make_guid, make_password

from unbrick.keys.sources.person import PersonKeySource

ID, OTHER_ID = make_guid(1), make_guid(2)
KEY, OTHER_KEY = make_password(1), make_password(2)
MISTYPED = "-".join([*KEY.split("-")[:4], "000001", *KEY.split("-")[5:]])
QUESTION = "Recovery password: "


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def ask(typed: str, *ids: str, output: io.StringIO | None = None) -> tuple[list[str], str]:
    """Every password a person gives who is told each time that it was wrong, and what the screen said."""
    screen = output or io.StringIO()
    person = PersonKeySource(io.StringIO(typed), screen)
    found = [candidate.password.secret.reveal().decode() for candidate in person.find(ids or [ID])]
    return found, screen.getvalue()


def test_a_password_is_taken_and_the_key_id_shown_as_the_blue_screen_shows_it() -> None:
    screen = io.StringIO()
    person = PersonKeySource(io.StringIO(KEY.replace("-", " ") + "\n"), screen)
    candidate = next(person.find([ID.lower()]))
    assert candidate.password.secret.reveal().decode() == KEY
    assert (candidate.protector_id, candidate.origin) == (None, "the keyboard")
    assert f"\n    {ID}\n" in screen.getvalue()
    assert f"beginning is enough to find it: {ID[:8]}." in screen.getvalue()
    assert screen.getvalue().endswith(QUESTION)


def test_several_key_ids_are_all_shown() -> None:
    _, screen = ask("\n", ID, OTHER_ID)
    assert f"Any of these Key IDs will do:\n    {ID}\n    {OTHER_ID}\n" in screen
    assert f"{ID[:8]} or {OTHER_ID[:8]}" in screen


def test_a_terminal_shows_the_first_eight_characters_bold() -> None:
    _, screen = ask("\n", output=Terminal())
    assert f"    \x1b[1m{ID[:8]}\x1b[0m{ID[8:]}\n" in screen
    _, plain = ask("\n")
    assert "\x1b" not in plain


def test_a_mistyped_group_is_named_at_once_and_asked_again() -> None:
    found, screen = ask(f"{MISTYPED}\n{KEY}\n")
    assert found == [KEY]
    assert (
        "That is not right: group 5 is not divisible by 11: a digit in it is wrong.\nPlease try again, "
        in screen
    )


def test_a_wrong_password_is_said_to_be_wrong_and_asked_again() -> None:
    found, screen = ask(f"{OTHER_KEY}\n{KEY}\n")
    assert found == [OTHER_KEY, KEY]
    told = screen.index("not the one for this disk")
    assert screen.index(QUESTION) < told < screen.index(QUESTION, told)


def test_it_asks_until_an_empty_line_however_often_a_person_mistypes() -> None:
    typed = [MISTYPED, OTHER_KEY, "hello", *[MISTYPED] * 20, KEY]
    found, screen = ask("\n".join([*typed, "", KEY, ""]))
    assert found == [OTHER_KEY, KEY]
    assert screen.count(QUESTION) == len(typed) + 1
    assert screen.endswith("No recovery password was given. This disk stays locked.\n")


@pytest.mark.parametrize("typed", ["\n", "  \t\n", ""])
def test_an_empty_line_or_the_end_of_input_gives_up(typed: str) -> None:
    found, screen = ask(typed + (f"{KEY}\n" if typed else ""))
    assert found == []
    assert screen.count(QUESTION) == 1
    assert screen.endswith("No recovery password was given. This disk stays locked.\n")


def test_after_the_end_of_input_nobody_is_asked_again_after_an_empty_line_for_the_next_disk() -> None:
    screen = io.StringIO()
    person = PersonKeySource(io.StringIO(f"\n{KEY}\n"), screen)
    assert list(person.find([ID])) == []
    assert len(list(person.find([OTHER_ID]))) == 1
    asked = screen.getvalue()
    assert list(person.find([ID])) == []
    assert screen.getvalue() == asked


def test_bytes_that_are_no_text_and_endless_lines_are_just_wrong() -> None:
    screen = io.StringIO()
    answers = io.TextIOWrapper(io.BytesIO(b"\xff\xfe\n"), encoding="utf-8")
    assert list(PersonKeySource(answers, screen).find([ID])) == []
    assert "That is not right" in screen.getvalue()
    found, said = ask("1" * 100_000 + f"\n{KEY}\n")
    assert found == [KEY]
    assert said.count(QUESTION) == 3


@given(st.text(st.sampled_from("0123456789- \n") | st.characters(codec="utf-8"), max_size=200))
def test_nothing_that_is_typed_is_written_back(typed: str) -> None:
    _, screen = ask(typed)
    assert leaked_digits(screen.replace(ID, "").replace(ID[:8], ""), typed) is None


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """The two ends of a real terminal: the person's, and the program's."""
    person, program = pty.openpty()
    yield person, program
    os.close(person)
    os.close(program)


def test_over_a_real_terminal(terminal: tuple[int, int]) -> None:
    """Echo stays on (the terminal's own), a mistyped line is asked again, Ctrl-D gives up."""
    person_end, program_end = terminal
    result: list[str] = []

    def program() -> None:
        with (
            open(program_end, encoding="utf-8", closefd=False) as answers,
            open(program_end, "w", encoding="utf-8", closefd=False) as output,
        ):
            source = PersonKeySource(answers, output)
            result.extend(c.password.secret.reveal().decode() for c in source.find([ID]))

    thread = threading.Thread(target=program)
    thread.start()
    seen = type_when_asked(person_end, [MISTYPED.encode() + b"\n", KEY.encode() + b"\n", b"\x04"])
    thread.join(20)
    assert not thread.is_alive()
    assert result == [KEY]
    text = seen.decode()
    assert f"\x1b[1m{ID[:8]}\x1b[0m{ID[8:]}" in text
    assert f"{QUESTION}{KEY}" in text
    assert "group 5 is not divisible by 11" in text


def type_when_asked(end: int, answers: list[bytes]) -> bytes:
    """Type each answer once its question is on the screen; gives all that was shown."""
    seen = b""
    for number, answer in enumerate(answers, 1):
        while seen.count(QUESTION.encode()) < number:
            seen += os.read(end, 4096)
        os.write(end, answer)
    while not seen.endswith(b"stays locked.\r\n"):
        seen += os.read(end, 4096)
    return seen
