"""The tally on a terminal: the live dashboard, and the table that `unbrick tally status` prints.

Draws a `Board` only: reads no store and no clock.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from unbrick.events.standing import MachineStatus
from unbrick.tally.records import MachineRow
from unbrick.tally.show import panes
from unbrick.tally.show.board import NEEDS_A_PERSON, Board
from unbrick.tally.show.pace import pace_sentence
from unbrick.tally.show.plain_text import fitted
from unbrick.text import in_a_column

_NARROW = 60
_MOST_ROWS = 50


class Dashboard:
    """A board as one screenful, exactly as wide and at most as high as the terminal is when drawn."""

    def __init__(self, board: Board, *, height: int | None = None, foot: str = "q ends this view") -> None:
        self._board = board
        self._height = height
        self._foot = foot

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The lines; the last is not ended, so that a full screen does not scroll."""
        width = max(options.max_width, 1)
        height = max(self._height or options.height or console.height, 1)
        for number, line in enumerate(self._lines(width, height)[:height]):
            if number:
                yield Segment.line()
            line.truncate(width)
            line.pad_right(width - line.cell_len)
            yield from line.render(console)

    def _lines(self, width: int, height: int) -> list[Text]:
        lines = [self._title(width)]
        if self._board.trouble:
            lines.append(Text(fitted(f"! {self._board.trouble}", width), "bold white on red"))
        if self._board.notice:
            lines.append(Text(fitted(self._board.notice, width), "black on yellow"))
        if apart := panes.apart_sentence(self._board.summary):
            lines.append(Text(fitted(apart, width), "black on yellow"))
        lines += panes.headline(self._board, width)
        room = height - len(lines) - 1
        if room >= 4 and width >= _NARROW:
            lines += self._body(width, room)
        elif room >= 2:
            lines += panes.statuses(self._board, width, room)
        lines += [Text(" " * width)] * (height - 1 - len(lines))
        lines[height - 1 :] = [Text(fitted(self._foot, width), "dim")]
        return lines

    def _title(self, width: int) -> Text:
        clock = self._board.now.strftime("%H:%M:%S")
        return Text(fitted("unbrick tally", width - 9) + f" {clock}"[:width], "bold reverse")

    def _body(self, width: int, room: int) -> list[Text]:
        board = self._board
        wanted = max(len(board.statuses()), min(len(board.sites()), room // 3)) + 1
        upper = min(wanted, max(room - 5, 2))
        rest = room - upper
        left = min(max(width * 5 // 8, 52), width - 24)
        lines = panes.beside(
            panes.statuses(board, left, upper), panes.sites(board, width - left - 2, upper), left
        )
        if rest >= 3:
            most = max(board.count(MachineStatus.NEEDS_KEY), board.count(*NEEDS_A_PERSON))
            lines += self._waiting(width, min(most + 1, max(rest * 3 // 5, 3)))
        left_over = room - len(lines)
        return lines + (panes.events(board.events, board, width, left_over) if left_over >= 2 else [])

    def _waiting(self, width: int, height: int) -> list[Text]:
        board = self._board
        half = (width - 2) // 2
        keys, persons = board.count(MachineStatus.NEEDS_KEY), board.count(*NEEDS_A_PERSON)
        return panes.beside(
            panes.waiting("needs its key", "yellow", keys, board.needs_key, board, half, height),
            panes.waiting(
                "needs a person", "magenta", persons, board.needs_person, board, width - half - 2, height
            ),
            half,
        )


def totals_sentence(board: Board) -> str:
    """One line with every status that any machine has: `8 machines, 5 repaired, 1 needs its key, …`."""
    words: dict[str, tuple[str, str]] = {
        MachineStatus.NEEDS_KEY: ("needs its key", "need their keys"),
        MachineStatus.NEEDS_HANDS: ("needs a person", "need a person"),
    }
    parts = []
    for status in sorted(board.statuses(), key=lambda one: one == MachineStatus.HEALTHY):
        count = board.count(status)
        one, many = words.get(status, (panes.word(status), panes.word(status)))
        parts.append(f"{count:,} {in_a_column(one if count == 1 else many)}")
    total = board.summary.total
    noun = "machine" if total == 1 else "machines"
    return ", ".join([f"{total:,} {noun}", *parts])


def render_status(board: Board) -> RenderableType:
    parts: list[RenderableType] = []
    if board.trouble:
        parts.append(Text(in_a_column(f"! {board.trouble}"), "bold red"))
    if board.notice:
        parts.append(Text(in_a_column(board.notice), "yellow"))
    if apart := panes.apart_sentence(board.summary):
        parts.append(Text(apart, "yellow"))
    parts.append(Text(totals_sentence(board), "bold"))
    parts.append(Text(pace_sentence(board.summary, board.stuck, board.now)))
    if board.summary.total:
        parts.append(_status_table(board))
    if board.summary.sites:
        parts.append(_site_table(board))
        parts += _more(len(board.summary.sites))
    for title, count, rows in (
        ("needs its key", board.count(MachineStatus.NEEDS_KEY), board.needs_key),
        ("needs a person", board.count(*NEEDS_A_PERSON), board.needs_person),
    ):
        if count:
            parts.append(_waiting_table(title, rows, board))
            parts += _more(count)
    return Group(*parts)


def _status_table(board: Board) -> Table:
    table = _table("status", "machines", "by hand", "reasons")
    for status in board.statuses():
        marked = board.summary.marked.get(status, 0)
        reasons = panes.reasons_sentence(board.reasons(status))
        table.add_row(
            Text(in_a_column(panes.word(status)), panes.COLOUR.get(status, "")),
            f"{board.count(status):,}",
            f"{marked:,}" if marked else "",
            Text(reasons),
        )
    return table


def _site_table(board: Board) -> Table:
    table = _table("site", "machines", "done", "stuck")
    for site in board.sites()[:_MOST_ROWS]:
        name = Text(fitted(site.site or "no site", 32).rstrip())
        table.add_row(name, f"{site.total:,}", f"{site.done:,}", f"{site.stuck:,}" if site.stuck else "")
    return table


def _waiting_table(title: str, rows: tuple[MachineRow, ...], board: Board) -> Table:
    table = _table(title, "site", "service", "why")
    for one in rows[:_MOST_ROWS]:
        table.add_row(
            Text(fitted(one.name or "no name", 32).rstrip()),
            Text(fitted(one.site or "", 24).rstrip()),
            Text(fitted(one.service or "", 24).rstrip()),
            Text(in_a_column(panes.why(one, board, 36), 120)),
        )
    return table


def _table(*headings: str) -> Table:
    numbers = {"by hand", "machines", "done", "stuck"}
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for one in headings:
        table.add_column(one, justify="right" if one in numbers else "left")
    return table


def _more(count: int) -> Iterator[Text]:
    if count > _MOST_ROWS:
        yield Text(f"and {count - _MOST_ROWS:,} more (all of them: --json)", "dim")
