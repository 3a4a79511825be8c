"""The last screen laid out: every ending fits its screen, whole, and says its colour in a word."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.emulated_screen import words_of
from support.endings import CONTACT, KEY_ID, ended, every_ending, facts

from unbrick.errors import Reason
from unbrick.model import Status
from unbrick.station.ending.ending import Ending, ending_of
from unbrick.station.ending.page import BAND, ending_pages
from unbrick.station.screen.big_letters import big, can_draw, columns_of
from unbrick.station.screen.pages import KeyRequest, password_page
from unbrick.station.screen.password_entry import PasswordEntry
from unbrick.station.screen.sheet import Line, drawable, width_of

_SIZES = [(80, 25), (80, 24), (120, 33), (240, 67)]


def texts(page: list[Line]) -> list[str]:
    return ["".join(span.text for span in line) for line in page]


@pytest.mark.parametrize(("columns", "rows"), _SIZES)
def test_every_ending_fits_and_nothing_of_it_is_cut(columns: int, rows: int) -> None:
    endings = every_ending()
    assert len(endings) > 300
    for ending in endings:
        pages = ending_pages(ending, columns, rows)
        for page in pages:
            assert len(page) <= rows, ending
            assert max(map(width_of, page)) <= columns, ending
        shown = words_of([text for page in pages for text in texts(page)])
        for sentence in (*ending.to_do, *ending.next_in_windows, *ending.helpdesk, ending.summary):
            assert _is_whole(sentence, shown, ending), (sentence, "\n".join(texts(pages[0])))


def _is_whole(sentence: str, shown: str, ending: Ending) -> bool:
    """Whether a sentence is there from its first to its last word; labels stand between sentences only."""
    return " ".join(drawable(sentence).split()) in shown


@pytest.mark.parametrize(("columns", "rows"), _SIZES)
def test_the_first_page_says_all_that_a_person_needs_to_act(columns: int, rows: int) -> None:
    for ending in every_ending():
        first = ending_pages(ending, columns, rows)[0]
        shown = words_of(texts(first))
        assert ending.colour.upper() in shown
        assert ending.code in shown
        for sentence in (ending.summary, *ending.to_do):
            assert words_of([drawable(sentence)]) in shown
        assert any(_shows(texts(first), ending.headline, scale) for scale in (1, 2, 3)), texts(first)


@pytest.mark.parametrize(("columns", "rows"), _SIZES)
@pytest.mark.parametrize("takes_keys", [True, False])
def test_a_missing_keys_id_is_as_large_as_where_it_is_typed(
    columns: int, rows: int, takes_keys: bool
) -> None:
    known = facts(takes_keys=takes_keys, reports_waiting=2, contact=CONTACT)
    for name in ("PC-17", "DESKTOP-NPM7RCA", None):
        ending = ending_of([ended(Status.NEEDS_KEY, Reason.KEY_MISSING, name=name)], known)
        page = texts(ending_pages(ending, columns, rows)[0])
        typing = texts(password_page(KeyRequest((KEY_ID,)), PasswordEntry(), columns, rows))
        for shown in (page, typing):
            assert any(row in line for line in shown for row in big(KEY_ID)[1:2])
        assert not _shows(page, ending.code, 1), "the code for the sticker is no key ID"
        assert "sticker" in words_of(page)
        assert CONTACT in words_of(page)


def test_the_machines_name_is_never_smaller_than_anything_else() -> None:
    for name in ("PC-17", "DESKTOP-NPM7RCA"):
        ending = ending_of([ended(Status.REPAIRED, name=name)], facts())
        for columns, rows in _SIZES:
            page = texts(ending_pages(ending, columns, rows)[0])
            sizes = [scale for scale in (1, 2, 3, 4) if _shows(page, name, scale)]
            headline = [scale for scale in (1, 2, 3, 4) if _shows(page, ending.headline, scale)]
            assert sizes, (name, columns)
            assert headline
            assert max(sizes) >= max(headline) or columns_of(name, max(sizes) + 1) > columns - 4


def _shows(page: list[str], text: str, scale: int) -> bool:
    rows = [row.rstrip() for row in big(text, scale)]
    return any(
        all(row in shown for row, shown in zip(rows, page[start:], strict=False))
        for start in range(len(page) - len(rows) + 1)
    )


def test_a_large_screen_shows_a_large_name_and_all_on_one_page() -> None:
    ending = ending_of([ended(Status.REPAIRED, name="PC-17")], facts())
    pages = ending_pages(ending, 240, 67)
    assert len(pages) == 1
    assert _shows(texts(pages[0]), "PC-17", 4)


@pytest.mark.parametrize(
    "name", ["БУХГАЛТЕРИЯ", "W" * 15, "a" * 63, "server.very.long.example.org", "X\x1b[2J"]
)
def test_a_name_that_cannot_be_drawn_large_is_there_all_the_same(name: str) -> None:
    ending = ending_of([ended(Status.REPAIRED, name=name)], facts())
    shown = "".join(texts(ending_pages(ending, 80, 25)[0])).replace(" ", "")
    assert drawable(name).upper() in shown.upper()
    assert "\x1b" not in shown


def test_the_band_has_its_colour_from_edge_to_edge() -> None:
    for ending in (ending_of([ended(status)], facts()) for status in Status):
        page = ending_pages(ending, 80, 25)[0]
        for line in page[:6]:
            assert width_of(line) == 80
            assert {span.style for span in line} == {BAND[ending.colour]}


def test_the_code_to_photograph_has_a_page_and_says_which_machine_it_is_of() -> None:
    report = ended(Status.NEEDS_HANDS, Reason.HIBERNATED)
    ending = ending_of([report], facts(reports_waiting=2, reports_on_stick=False))
    shown = words_of(texts(ending_pages(ending, 80, 25)[1]))
    for words in ("Photograph this", ending.machine, ending.code, "HELP NEEDED", "AMBER"):
        assert words in shown


@given(st.text(max_size=80), st.text(min_size=1, max_size=80), st.integers(80, 260), st.integers(24, 90))
def test_hostile_words_stay_in_their_place(name: str, sentence: str, columns: int, rows: int) -> None:
    good = ending_of([ended(Status.FAILED)], facts())
    ending = replace(good, machine=name, helpdesk=(sentence,), summary=sentence)
    for page in ending_pages(ending, columns, rows):
        assert len(page) <= rows
        assert max(map(width_of, page)) <= columns or not can_draw(name)
