"""The parts of the dashboard: each gives lines of an exact width, at most as many as it is given.

Every text of a stranger goes through `fitted`: no line is wider than its pane, and none is markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from rich.text import Text

from unbrick.events.event import EventKind
from unbrick.events.standing import MachineStatus
from unbrick.tally.records import Basis, MachineRow, RecentEvent, Statement, Summary
from unbrick.tally.show.board import ON_THE_WAY, SETTLED, Board, SiteCount
from unbrick.tally.show.pace import pace_sentence
from unbrick.tally.show.plain_text import fitted
from unbrick.text import counted, in_a_column

T = TypeVar("T")

COLOUR: dict[str, str] = {
    MachineStatus.EXPECTED: "bright_black",
    MachineStatus.SEEN: "blue",
    MachineStatus.LOCKED: "blue",
    MachineStatus.UNLOCKED: "blue",
    MachineStatus.FOUND: "cyan",
    MachineStatus.REPAIRED: "green",
    MachineStatus.CONFIRMED: "bold green",
    MachineStatus.HEALTHY: "green",
    MachineStatus.UNDONE: "cyan",
    MachineStatus.NEEDS_KEY: "yellow",
    MachineStatus.NEEDS_HANDS: "magenta",
    MachineStatus.FAILED: "red",
    Statement.FIRMWARE_LOCKED: "magenta",
}
_WORDS: dict[str, str] = {
    MachineStatus.EXPECTED: "not yet seen",
}
_NUMBERS: dict[str, tuple[str, str]] = {
    "without_identity": ("{:,} visit without an identity", "{:,} visits without an identity"),
}
_STATUS_CELLS = 19
_MOST_REASONS = 12
_MOST_STATIONS = 3
_CODE_CELLS, _WITH_CODES = 11, 72


def word(status: str) -> str:
    return _WORDS.get(status, status)


def heading(text: str, width: int) -> Text:
    return Text(fitted(text, width), "bold")


def apart_sentence(summary: Summary) -> str:
    """What is in no number or in no list, or contradicts another report; empty where there is none."""
    parts = []
    if summary.contradictions:
        number = summary.contradictions
        parts.append(
            f"{number:,} contradiction{'' if number == 1 else 's'}: unbrick tally contradictions DIR"
        )
    if summary.undecided:
        number = summary.undecided
        parts.append(f"{number:,} machine{'' if number == 1 else 's'} not counted because of them")
    for name, (one, many) in _NUMBERS.items():
        if found := summary.numbers.get(name):
            parts.append((one if found == 1 else many).format(found))
    if summary.not_listed:
        number = sum(summary.not_listed.values())
        who = sorted(summary.not_listed.items(), key=lambda one: (-one[1], one[0]))
        listed = [f"{station or 'by hand'} {count:,}" for station, count in who[:_MOST_STATIONS]]
        if len(who) > _MOST_STATIONS:
            listed.append(f"and {counted(len(who) - _MOST_STATIONS, 'station')} more")
        said = f"{counted(number, 'machine')} counted that the inventory does not have"
        parts.append(f"{said} ({', '.join(listed)})")
    return " · ".join(parts)


def headline(board: Board, width: int) -> list[Text]:
    total, done = board.summary.total, board.summary.finished
    share = f"{done * 100 // total} %" if total else "no machines yet"
    said = f"{done:,} of {total:,} machines are done"
    if unseen := board.count(MachineStatus.EXPECTED):
        said += f", {unseen:,} not yet seen"
    first = Text(fitted(said, width - 16), "bold") + Text(fitted(share, 16, right=True), "bold green")
    pace = pace_sentence(board.summary, board.stuck, board.now)
    return [first, bar(board, width), Text(fitted(pace, width))]


def bar(board: Board, width: int) -> Text:
    """Green what is done, magenta what is stuck, dim the rest; a single machine has a cell of its own."""
    total = board.summary.total
    done = _cells(board.summary.finished, total, width)
    stuck = min(_cells(board.stuck, total, width), width - done)
    line = Text("━" * done, "green")
    line.append("━" * stuck, "magenta")
    line.append("─" * (width - done - stuck), "bright_black")
    return line


def _cells(part: int, total: int, width: int) -> int:
    if not total or not part:
        return 0
    if part == total:
        return width
    return min(max(part * width // total, 1), width - 1)  # full only for all, empty only for none


@dataclass(frozen=True)
class _Row:
    label: str
    colour: str
    statuses: tuple[str, ...]


def statuses(board: Board, width: int, height: int) -> list[Text]:
    """One line for each status that any machine has, with how many rest on a person's word alone.

    Where they do not fit, the statuses of machines on the way share a line, then those settled by hand.
    """
    rows = [_Row(word(one), COLOUR.get(one, ""), (one,)) for one in board.statuses()]
    for label, colour, together in (("on the way", "blue", ON_THE_WAY), ("settled by hand", "", SETTLED)):
        if len(rows) >= height:
            rows = _joined(rows, _Row(label, colour, together))
    shown, left_out = _first(rows, height - 1)
    lines = [heading(f"{'status':<{_STATUS_CELLS}}{'machines':>8}{'by hand':>9}  reasons", width)]
    lines += [_status_line(board, row, width) for row in shown]
    if left_out:
        machines = sum(board.count(*row.statuses) for row in left_out)
        statuses = "1 more status" if len(left_out) == 1 else f"{len(left_out)} more statuses"
        lines.append(Text(fitted(f"and {statuses}, {counted(machines, 'machine')}", width), "dim"))
    return lines


def _joined(rows: list[_Row], joint: _Row) -> list[_Row]:
    """The rows, with those of one group as a single one at the place of their first."""
    inside = [row for row in rows if set(row.statuses) <= set(joint.statuses)]
    if len(inside) < 2:
        return rows
    at = rows.index(inside[0])
    one = _Row(joint.label, joint.colour, tuple(status for row in inside for status in row.statuses))
    return [*rows[:at], one, *(row for row in rows[at:] if row not in inside)]


def _status_line(board: Board, row: _Row, width: int) -> Text:
    marked = sum(board.summary.marked.get(status, 0) for status in row.statuses)
    line = Text(fitted(row.label, _STATUS_CELLS), row.colour)
    line.append(f"{board.count(*row.statuses):>8,}")
    line.append(f"{marked:>9,}  " if marked else " " * 11)
    pairs = [pair for status in row.statuses for pair in board.reasons(status)]
    line.append(fitted(reasons_sentence(pairs), width - line.cell_len), "dim")
    return line


def reasons_sentence(pairs: Sequence[tuple[str, int]]) -> str:
    said = [f"{in_a_column(reason)} {number:,}" for reason, number in pairs[:_MOST_REASONS]]
    if len(pairs) > _MOST_REASONS:
        said.append(f"and {len(pairs) - _MOST_REASONS:,} more")
    return ", ".join(said)


def sites(board: Board, width: int, height: int) -> list[Text]:
    shown, left_out = _first(board.sites(), height - 1)
    numbers = max([4, *(len(_progress(one)) for one in shown)]) + 1
    lines = [heading(fitted("site", width - numbers) + fitted("done", numbers, right=True), width)]
    lines += [_site_line(one, width - numbers, numbers) for one in shown]
    if left_out:
        missing = sum(one.total - one.done for one in left_out)
        lines.append(Text(fitted(f"and {len(left_out):,} more, {missing:,} to go", width), "dim"))
    return lines


def _progress(one: SiteCount) -> str:
    return f"{one.done:,}/{one.total:,}"


def _site_line(one: SiteCount, name: int, numbers: int) -> Text:
    line = Text(fitted(one.site or "no site", name), "green" if one.done == one.total else "")
    line.append(fitted(_progress(one), numbers, right=True))
    return line


def waiting(
    title: str, colour: str, count: int, rows: Sequence[MachineRow], board: Board, width: int, height: int
) -> list[Text]:
    """The machines that wait for a key or a person: name, site, why.

    Where there is room, also the code on each one's sticker.
    """
    lines = [Text(fitted(f"{title} ({count:,})", width), f"bold {colour}" if count else "bold")]
    room = height - 1
    shown = rows[: room if count <= room else room - 1]
    name = min(16, max(width // 2 - 5, 8))
    site = min(13, max(width // 4, 8))
    code = _CODE_CELLS if width >= _WITH_CODES else 0
    for one in shown:
        line = Text(fitted(one.name or "no name", name - 1) + " ")
        line.append(fitted(one.site or "", site - 1) + " ", "dim")
        line.append(fitted(why(one, board), width - name - site - code))
        line.append(fitted(one.code or "", code, right=True), "dim")
        lines.append(line)
    if count > len(shown):
        lines.append(Text(fitted(f"and {count - len(shown):,} more", width), "dim"))
    return lines


def why(one: MachineRow, board: Board, cells: int = 8) -> str:
    """The beginnings of the key ids it waits for, as on the blue screen, and the reason word."""
    keys = [key[:cells] for key in board.key_ids.get(one.run or "", ())]
    said = " ".join([*keys, one.reason or word(one.status)])
    return f"{said} (by hand)" if one.basis is Basis.MARKED else said


def events(rows: Sequence[RecentEvent], board: Board, width: int, height: int) -> list[Text]:
    lines = [heading("last events", width)]
    for one in rows[: height - 1]:
        line = Text(one.received.astimezone(board.now.tzinfo).strftime("%H:%M:%S  "), "dim")
        line.append(fitted(one.name or "no name", 16) + " ")
        line.append(fitted(one.site or "", 13) + " ", "dim")
        colour = COLOUR.get(one.status or "", "")
        line.append(fitted(happening(one), width - line.cell_len), colour)
        lines.append(line)
    return lines


def happening(one: RecentEvent) -> str:
    if one.kind == EventKind.OUTCOME and one.status:
        return f"{one.status}: {one.reason}" if one.reason else one.status
    words = one.kind.replace("-", " ")
    if one.step:
        words = f"{one.step} {words.removeprefix('step ')}"
    return f"{words}: {one.reason}" if one.reason else words


def beside(left: Sequence[Text], right: Sequence[Text], width: int) -> list[Text]:
    """Two panes next to each other; the left one is `width` cells wide."""
    joined = []
    for row in range(max(len(left), len(right))):
        line = left[row].copy() if row < len(left) else Text(" " * width)
        if row < len(right):
            line.append("  ")
            line.append_text(right[row])
        joined.append(line)
    return joined


def _first(rows: Sequence[T], room: int) -> tuple[Sequence[T], Sequence[T]]:
    """The rows that fit into `room` lines, one of which is for what is left out; and those left out."""
    if len(rows) <= room:
        return rows, ()
    return rows[: max(room - 1, 0)], rows[max(room - 1, 0) :]
