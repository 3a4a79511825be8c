"""Big letters: all of one height, as narrow as a name that Windows makes up needs, and none like another."""

from __future__ import annotations

import string

import pytest

from unbrick.station.screen.big_letters import HEIGHT, big, can_draw, columns_of

_DRAWN = string.ascii_uppercase + string.digits + "-_.!? "


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_a_text_is_as_large_as_it_is_said_to_be(scale: int) -> None:
    rows = big(_DRAWN, scale)
    assert len(rows) == (HEIGHT * scale + 1) // 2, "two dots a row"
    assert {len(row) for row in rows} == {columns_of(_DRAWN, scale)}


def test_no_two_letters_look_alike() -> None:
    seen = {tuple(big(letter)) for letter in _DRAWN}
    assert len(seen) == len(_DRAWN)


def test_the_console_has_every_block() -> None:
    "".join(big(_DRAWN)).encode("cp437")


@pytest.mark.parametrize("name", ["DESKTOP-NPM7RCA", "LAPTOP-8KQ2MHVD", "WORKSTATION-017"])
def test_the_names_that_windows_makes_up_fit_80_columns(name: str) -> None:
    assert columns_of(name) <= 76


def test_a_letter_reads_as_it_was_drawn() -> None:
    assert big("E1") == ["█▀▀▀ ▄█ ", "█▄▄   █ ", "█     █ ", "▀▀▀▀ ▀▀▀"]


def test_small_letters_are_drawn_as_capitals_and_others_not_at_all() -> None:
    assert big("pc-17") == big("PC-17")
    assert not can_draw("")
    assert not can_draw("Büro")
    assert not can_draw("PC\n")
