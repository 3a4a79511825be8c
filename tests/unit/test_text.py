"""Text from a disk or a network holds nothing that steers a terminal."""

from __future__ import annotations

from unbrick.text import counted, in_a_column, printable, without_hidden


def test_what_steers_a_terminal_is_replaced() -> None:
    assert printable("\x1b[2JPC\u202e-1\0\ud800\u2028") == "?[2JPC?-1???"
    assert printable("\x1b[2JPC\n", " ") == " [2JPC "
    assert printable("P\0C", "") == "PC"
    assert printable("Büro-7 東京") == "Büro-7 東京"


def test_what_is_shown_holds_nothing_that_acts() -> None:
    assert without_hidden("\x1b[2JPC\u202e-1\0\ud800\u2028\u2029\ue0002", 63) == "[2JPC-12"
    assert without_hidden("  a\tb\n ", 63) == "a b"
    assert without_hidden("x" * 1000, 63) == "x" * 63


def test_a_name_in_a_column_leaves_its_neighbours_alone() -> None:
    assert in_a_column("\x1b[2J") == "?[2J"
    assert in_a_column("e\u0301\u0301\u0301\u0301 \u200e") == "e\u0301\u0301 ?"
    assert in_a_column("\u0301x\ufe0f") == "x"
    assert in_a_column("שלום") == "שלום\u200e"
    assert in_a_column("x" * 9, 9) == "x" * 9
    assert in_a_column("x" * 500, 9) == "x" * 8 + "…"
    assert in_a_column("x" + "\u0301" * 500, 9) == "x\u0301\u0301…"


def test_a_number_agrees_with_its_noun() -> None:
    assert [counted(number, "report") for number in (0, 1, 2000)] == [
        "0 reports",
        "1 report",
        "2,000 reports",
    ]
