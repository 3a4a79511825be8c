"""The drill's screen: the tally's dashboard with the log below it."""

from __future__ import annotations

import pytest
from support.tally_board import board, shown, summary, two_hundred_thousand

from unbrick.cli.terminal.drill_screen import Picture


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_the_log_stands_below_the_dashboard(size: tuple[int, int]) -> None:
    lines = shown(Picture(two_hundred_thousand(), [f"line {n} " + "x" * 300 for n in range(99)]), *size)
    assert len(lines) == size[1]
    assert max(len(line) for line in lines) <= size[0]
    assert lines[0].startswith("unbrick tally")
    assert lines[-1].startswith("line 98 ")
    assert len([line for line in lines if line.startswith("line ")]) >= 6


def test_an_empty_log_leaves_the_dashboard_alone() -> None:
    assert len(shown(Picture(board(summary({})), []), 80, 24)) <= 24
