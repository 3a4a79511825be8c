"""A screenful as data: nothing leaves its place, and nothing that steers a terminal gets through."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from unbrick.station.screen.sheet import (
    STRONG,
    Span,
    centred,
    drawable,
    fitted,
    paragraphs,
    width_of,
    wrapped,
)


@given(st.text())
def test_only_what_the_console_can_draw_gets_through(text: str) -> None:
    shown = drawable(text)
    assert len(shown) == len(text)
    shown.encode("cp437")
    assert shown.isprintable()


def test_a_name_cannot_steer_the_terminal() -> None:
    assert drawable("PC\x1b[2J\x9b1m\r\n\u202e\u0430") == "PC?[2J?1m????"
    assert drawable("Büro √ █") == "Büro √ █"


@given(st.lists(st.text(max_size=30), max_size=5), st.integers(1, 90))
def test_a_line_is_exactly_as_wide_as_the_screen(texts: list[str], columns: int) -> None:
    line = tuple(Span(text, STRONG) for text in texts)
    assert width_of(fitted(line, columns)) == columns
    assert width_of(centred(line, columns)) == columns


@given(st.text(), st.integers(1, 60))
def test_wrapped_lines_keep_every_word_and_no_line_is_too_long(text: str, columns: int) -> None:
    lines = wrapped(text, columns)
    assert all(len(line) <= columns for line in lines)
    assert "".join(lines).replace(" ", "") == drawable(text).replace(" ", "")


def test_a_word_is_not_cut() -> None:
    assert wrapped("the computer-restarts by itself", 18) == ["the", "computer-restarts", "by itself"]


def test_each_sentence_begins_on_a_line_of_its_own() -> None:
    assert paragraphs(["One two.", "Three."], 5) == [
        (Span("One"),),
        (Span("two."),),
        (Span("Three."[:5]),),
        (Span("."),),
    ]
