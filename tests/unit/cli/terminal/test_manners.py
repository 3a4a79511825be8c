"""Lines are broken between words, and only there."""

from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbrick.cli.terminal.manners import wrap

_LINE = "  note: the volume is marked dirty, so that Windows checks it when it starts"


def test_a_line_is_broken_between_words_and_goes_on_indented() -> None:
    assert wrap(_LINE, 41) == (
        "  note: the volume is marked dirty, so\n    that Windows checks it when it starts"
    )
    assert wrap(_LINE, len(_LINE)) == _LINE
    assert wrap(_LINE, 0) == _LINE, "no terminal"


def test_a_command_to_type_stays_whole() -> None:
    command = "unbrick undo '/srv/a disk.img' --keys '/srv/my keys.csv' --run 20240719T061203Z-8f3a1c"
    for before in ("  to put it back: ", "  Windows shows its fault again; to take that away: ", "    "):
        assert wrap(before + command, 40).endswith(command)


def test_colours_take_no_room() -> None:
    line = click.style("REPAIRED", fg="green", bold=True) + " " + "word " * 10
    assert wrap(line, 59) == line


def test_wide_letters_take_two_columns() -> None:
    assert wrap("機械 " * 5 + "x", 25).splitlines() == ["機械 機械 機械 機械 機械", "  x"]


@pytest.mark.parametrize("width", [20, 33, 80])
@given(line=st.text(alphabet="ab \\/.é機", max_size=200))
def test_nothing_is_lost_and_nothing_is_wider_that_could_be_broken(width: int, line: str) -> None:
    lines = wrap(line, width).split("\n")
    assert "".join(lines).replace(" ", "") == line.replace(" ", "")
    for one in lines:
        assert len(one) <= width or " " not in one.strip()
