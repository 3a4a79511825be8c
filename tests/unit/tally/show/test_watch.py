"""The live view: when it draws, when it ends, what it does when the store cannot be read."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import pytest
from rich.console import Console
from support.tally_board import NOW, nine, recent, row, summary

from unbrick.tally.records import MachineRow, RecentEvent, StoreError, Summary
from unbrick.tally.show.board import Board, Reader, read_board
from unbrick.tally.show.watch import watch


class Time:
    """A clock that only moves while keys are waited for, and a keyboard that follows a script."""

    def __init__(self, *presses: str | Callable[[], str]) -> None:
        self.now = 0.0
        self._presses = list(presses)

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> str:
        self.now += seconds
        press = self._presses.pop(0)
        return press if isinstance(press, str) else press()


class Store:
    """As much of a store as the screens read."""

    def __init__(self) -> None:
        self.broken = False
        self.asked: list[str | None] = []

    def summary(self, now: datetime | None = None) -> Summary:
        if self.broken:
            raise StoreError("the database is locked")
        return summary({"repaired": 2, "needs-key": 1, "failed": 1})

    def machines(self, *, status: str | None = None, limit: int | None = 100) -> tuple[MachineRow, ...]:
        self.asked.append(status)
        return (row(f"a {status}", status or ""),)

    def recent(self, limit: int = 20) -> tuple[RecentEvent, ...]:
        steps = [("outcome", 9), ("step-ended", 8), ("moved", 7), ("step-started", 6), ("run-started", 1)]
        done = [replace(recent("WARD-1"), run="a", kind=kind, sequence=number) for kind, number in steps]
        return (replace(recent("WARD-2"), run="b", kind="step-started", step="unlock"), *done)

    def key_ids(self, runs: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        return dict.fromkeys(runs, ("0B8E2F9C-1111-2222-3333-444455556666",))


def terminal(width: int = 80, height: int = 24) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, width=width, height=height, force_terminal=True, color_system=None), file


def test_it_reads_once_a_second_and_ends_on_q() -> None:
    reads = []

    def read() -> Board:
        reads.append(time.now)
        return nine()

    time = Time(*[""] * 12, "q")
    console, file = terminal()
    watch(read, console, time.wait, clock=time)
    assert [round(one) for one in reads] == [0, 1, 2]
    assert file.getvalue().count("6 of 9 machines are done") == 3


def test_it_draws_at_once_when_the_terminal_changes_its_size() -> None:
    console, file = terminal()

    def grow() -> str:
        console.size = (120, 40)
        return ""

    time = Time("", grow, "", "q")
    watch(nine, console, time.wait, clock=time)
    drawn = file.getvalue()
    assert drawn.count("6 of 9 machines are done") == 2
    assert max(len(line) for line in drawn.split("\n")) >= 120


def test_ctrl_c_ends_it_and_the_former_screen_comes_back() -> None:
    def interrupt() -> str:
        raise KeyboardInterrupt

    console, file = terminal()
    time = Time("", interrupt)
    watch(nine, console, time.wait, clock=time)
    assert file.getvalue().count("\x1b[?1049h") == 1
    assert file.getvalue().index("\x1b[?1049l") > file.getvalue().index("\x1b[?1049h")


def test_the_screen_is_never_cleared_between_two_drawings() -> None:
    console, file = terminal()
    time = Time(*[""] * 12, "q")
    watch(nine, console, time.wait, clock=time)
    between = file.getvalue().partition("are done")[2].rpartition("are done")[0]
    assert "\x1b[2J" not in between
    assert "\x1b[J" not in between


@pytest.mark.parametrize("key", ["q", "Q", "\x04"])
def test_the_keys_that_end_it(key: str) -> None:
    time = Time("x", key)
    watch(nine, terminal()[0], time.wait, clock=time)


def test_a_board_is_read_with_the_lists_of_those_who_wait() -> None:
    store = Store()
    board = read_board(store, NOW)
    assert [one.name for one in board.needs_key] == ["a needs-key"]
    assert [one.name for one in board.needs_person] == ["a failed"]
    assert store.asked == ["needs-key", "failed"], "nobody is asked for a status that no machine has"
    assert list(board.key_ids) == [board.needs_key[0].run]


def test_single_steps_are_no_news_except_where_a_machine_is_now() -> None:
    told = [(one.name, one.kind) for one in read_board(Store(), NOW).events]
    assert told == [("WARD-2", "step-started"), ("WARD-1", "outcome"), ("WARD-1", "moved")]


def test_a_store_that_cannot_be_read_leaves_the_last_board_and_says_so() -> None:
    store = Store()
    reader = Reader(store)
    first = reader.read(NOW)
    store.broken = True
    later = NOW.replace(minute=5)
    assert reader.read(later) == replace(first, now=later, trouble="not up to date: the database is locked")
    store.broken = False
    assert reader.read(later).trouble is None
    assert Reader(store).read(NOW).summary.total == 4


def test_a_store_that_never_could_be_read_shows_an_empty_board() -> None:
    store = Store()
    store.broken = True
    board = Reader(store).read(NOW)
    assert board.summary.total == 0
    assert board.trouble is not None
