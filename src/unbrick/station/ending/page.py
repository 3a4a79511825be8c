"""The last screen laid out: a coloured band to be seen across a room, the machine, what to do. Pure.

The colour is also written as a word. What does not fit the first page is on the next; none is ever scrolled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unbrick.station.ending.case import Colour
from unbrick.station.ending.ending import Ending
from unbrick.station.screen.big_letters import big, can_draw, columns_of
from unbrick.station.screen.pages import Page, key_id_lines
from unbrick.station.screen.qr_code import Code, codes_for
from unbrick.station.screen.sheet import (
    BLANK,
    PLAIN,
    STRONG,
    Hue,
    Line,
    Span,
    Style,
    at_both_ends,
    centred,
    fitted,
    paragraphs,
    width_of,
    wrapped,
)

BAND = {
    Colour.GREEN: Style(Hue.BLACK, Hue.GREEN),
    Colour.AMBER: Style(Hue.BLACK, Hue.AMBER),
    Colour.RED: Style(Hue.WHITE, Hue.RED, bold=True),
}
_MARGIN = 2
_LABEL = 11
_CAPTION = 28
_WIDEST_TEXT = 100
_MOST_KEY_IDS = 2


@dataclass(frozen=True)
class _Part:
    """Sentences under one label at their left."""

    label: str
    sentences: tuple[str, ...]
    style: Style = PLAIN
    drawn: tuple[Line, ...] = ()
    """Lines below the sentences that are laid out already."""


def ending_pages(ending: Ending, columns: int, rows: int) -> list[Page]:
    """The pages of an ending, the most important first."""
    room = rows - 1  # the last row says how the pages are turned
    now = [_Part("", (ending.summary,), STRONG), _Part("Now", ending.to_do)]
    if ending.contact:
        now.append(_Part("Call", (ending.contact,), STRONG))
    windows = _Part("Windows", ending.next_in_windows)
    helpdesk = _Part("Helpdesk", ending.helpdesk)
    now = _with_key_ids(now, ending, columns, room)
    parts, rest = _divided(now, [windows, helpdesk], ending, columns, room)
    codes = codes_for(ending.qr, columns - _CAPTION, rows) if ending.qr else ()
    count = 1 + len(codes) + bool(rest)
    pages = [_with_foot(_first_page(parts, ending, columns, room), 1, count, columns, room)]
    for number, code in enumerate(codes, 2):
        pages.append(_code_page(code, ending, columns, _turning(number, count)))
    if rest:
        page = _second_page(rest, ending, columns, room)
        pages.append(_with_foot(page, count, count, columns, room))
    return pages


def _with_foot(page: Page, number: int, count: int, columns: int, room: int) -> Page:
    """A page with how it is turned on the last row of the screen, where there are several."""
    if count == 1:
        return page
    foot = centred((Span(_turning(number, count)),), columns)
    return [*page, *[BLANK] * (room - len(page)), foot]


def _turning(number: int, count: int) -> str:
    return f"Arrow keys: turn the page ({number} of {count})"


def _with_key_ids(now: list[_Part], ending: Ending, columns: int, room: int) -> list[_Part]:
    """What to do, with the key IDs above it in letters to be read out, as many as there is room for."""
    for count in range(min(len(ending.key_ids), _MOST_KEY_IDS), 0, -1):
        drawn = [line for one in ending.key_ids[:count] for line in key_id_lines(one, columns - _LABEL)]
        with_ids = [now[0], _Part("Key ID", (), drawn=tuple(drawn)), *now[1:]]
        if _fits(with_ids, ending, columns, room):
            return with_ids
    return now


def _fits(parts: Sequence[_Part], ending: Ending, columns: int, room: int, spacing: int = 0) -> bool:
    """Whether there is room for the parts below the smallest head."""
    head = _head(ending, columns, 1, _smallest_name(ending))
    return len(head) + 1 + len(_body(parts, columns, spacing)) <= room


def _smallest_name(ending: Ending) -> int:
    """The machine's name is in big letters, unless a key ID is what has to be read out."""
    return 0 if ending.key_ids else 1


def _divided(
    now: list[_Part], more: list[_Part], ending: Ending, columns: int, room: int
) -> tuple[list[_Part], list[_Part]]:
    """Which parts the first page has room for, beside what to do; the rest in the same order."""
    for count in range(len(more), 0, -1):
        parts = [*now, *more[:count]]
        # The helpdesk's part is long: it comes along only where it does not crowd out the rest.
        if _fits(parts, ending, columns, room, spacing=1 if count == len(more) else 0):
            return parts, more[count:]
    return now, more


def _first_page(parts: Sequence[_Part], ending: Ending, columns: int, room: int) -> Page:
    """As large and as widely spaced as there is room; the machine's name is never smaller than the rest."""
    smallest = _smallest_name(ending)
    for spacing in (2, 1, 0):
        body = _body(parts, columns, spacing)
        for name, headline in ((4, 3), (3, 3), (3, 2), (2, 2), (2, 1), (1, 1), (smallest, 1)):
            head = _head(ending, columns, headline, name)
            if len(head) + 1 + len(body) <= room and (spacing or name <= 1):
                return [*head, BLANK, *body]
    return [*_head(ending, columns, 1, smallest), BLANK, *_body(parts, columns, 0)]


def _second_page(parts: Sequence[_Part], ending: Ending, columns: int, room: int) -> Page:
    band = _thin_band(ending, columns)
    for spacing in (2, 1, 0):
        body = _body(parts, columns, spacing)
        if len(band) + 1 + len(body) <= room:
            break
    return [*band, BLANK, *body]


def _head(ending: Ending, columns: int, headline_scale: int, name_scale: int) -> list[Line]:
    """The coloured band with the headline, the colour's name and the code; below it the machine's name."""
    band = BAND[ending.colour]
    beside = ["", ending.colour.upper(), "sticker", ending.code]
    room = columns - 2 * _MARGIN - len(ending.code) - 2
    letters = _letters(ending.headline, room, headline_scale)
    lines = [fitted((), columns, band)]
    for number, row in enumerate(letters):
        side = beside[number] if number < len(beside) and len(letters) >= len(beside) else ""
        lines.append(at_both_ends(" " * _MARGIN + row, side + " " * _MARGIN, columns, band))
    lines += [fitted((), columns, band), BLANK]
    name = _letters(ending.machine, columns - 2 * _MARGIN, name_scale)
    return lines + [(Span(" " * _MARGIN + row, STRONG),) for row in name]


def _letters(text: str, columns: int, scale: int) -> list[str]:
    """Big letters of a scale, or as large as the width allows; plain ones where none fits, or at scale 0."""
    if scale == 0:
        return wrapped(text, columns)[:2]
    if can_draw(text):
        for smaller in range(scale, 0, -1):
            if columns_of(text, smaller) <= columns:
                return big(text, smaller)
    spread = " ".join(text.upper())
    shown = spread if len(spread) <= columns else text
    return ["", *wrapped(shown, columns)[:2], ""]


def _body(parts: Sequence[_Part], columns: int, spacing: int) -> list[Line]:
    """The parts below each other. Spacing: 0 none, 1 an empty line between parts, 2 between sentences too."""
    width = min(columns, _WIDEST_TEXT) - 2 * _MARGIN - _LABEL
    lines: list[Line] = []
    for part in parts:
        if spacing and lines:
            lines.append(BLANK)
        own: list[Line] = []
        indent, room = (_LABEL, width) if part.label else (0, width + _LABEL)
        for sentence in part.sentences:
            if spacing == 2 and own:
                own.append(BLANK)
            own += paragraphs([sentence], room, part.style)
        own += part.drawn
        for number, line in enumerate(own):
            label = part.label if number == 0 else ""
            lines.append((Span(" " * _MARGIN + label.ljust(indent), STRONG), *line))
    return lines


def _thin_band(ending: Ending, columns: int) -> list[Line]:
    band = BAND[ending.colour]
    left = f"{' ' * _MARGIN}{ending.headline}  {ending.machine}"
    right = f"{ending.code}  {ending.colour.upper()}{' ' * _MARGIN}"
    return [at_both_ends(left, right, columns, band)]


def _code_page(code: Code, ending: Ending, columns: int, turning: str) -> Page:
    """The code, and at its right which machine it is of, so that a photograph shows both."""
    which = [f"code {code.number} of {code.of}", ""] if code.of > 1 else []
    said = ["Photograph this and", "send it to the helpdesk.", "", *which]
    caption: list[Line] = [
        (Span(f" {ending.headline} ", BAND[ending.colour]),),
        (Span(ending.colour.upper()),),
        BLANK,
        *paragraphs([ending.machine], _CAPTION - 4, STRONG),
        (Span(ending.code, STRONG),),
        BLANK,
        *((Span(sentence),) for sentence in said),
        *paragraphs([turning], _CAPTION - 4),
    ]
    light = Style(Hue.WHITE, Hue.BLACK, bold=True)
    page: Page = []
    for number in range(max(len(code.rows), len(caption) + 1)):
        row = code.rows[number] if number < len(code.rows) else " " * len(code.rows[0])
        beside = caption[number - 1] if 0 < number <= len(caption) else BLANK
        page.append((Span(row, light), Span(" " * 3), *beside))
        assert width_of(page[-1]) <= columns
    return page
