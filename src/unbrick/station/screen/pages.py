"""The screens of a visit laid out: what is being done, a question, the recovery password, a message. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from unbrick.keys.password import DIGITS, GROUPS
from unbrick.station.screen.big_letters import big, can_draw, columns_of
from unbrick.station.screen.password_entry import PasswordEntry
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
    indented,
    paragraphs,
    spaced,
)

Page = list[Line]

_BAND = Style(Hue.WHITE, Hue.BLUE, bold=True)
_CHOSEN = Style(Hue.BLACK, Hue.WHITE)
_RIGHT = Style(Hue.GREEN)
_WRONG = Style(Hue.WHITE, Hue.RED, bold=True)
_MARGIN = 4
_WIDEST = 100
_KEY_ID_SHOWN = 8
_MOST_IDS = 2


@dataclass(frozen=True)
class Question:
    """One question: a title of few words, sentences, and up to nine answers of which one is chosen."""

    title: str
    lines: tuple[str, ...]
    choices: tuple[str, ...]
    machine: str | None = None


def progress_page(now: str, done: Sequence[str], machine: str | None, columns: int, rows: int) -> Page:
    page = [*_band(machine, columns), BLANK, *_title("Working", columns), BLANK]
    last = paragraphs(["Please wait. Do not switch the computer off."], columns - 2 * _MARGIN, STRONG)
    room = (rows - len(page) - 4) // 2
    shown = done[-(room - 1) :] if room > 1 else ()
    steps: list[Line] = [(Span("√ ", _RIGHT), Span(step)) for step in shown]
    steps.append((Span("> " + now, STRONG),))
    page += indented(spaced(steps), _MARGIN)
    page += [BLANK] * (rows - len(page) - 2)
    return page + indented(last, _MARGIN)


def question_page(question: Question, chosen: int | None, columns: int, rows: int) -> Page:
    """A question with its numbered answers; `chosen` is the one that the arrow keys have come to."""
    head = [*_band(question.machine, columns), BLANK, *_title(question.title, columns), BLANK]
    width = min(columns, _WIDEST) - 2 * _MARGIN
    answers: list[Line] = []
    for number, choice in enumerate(question.choices):
        style = _CHOSEN if number == chosen else STRONG
        answers.append((Span(f" {number + 1} ", _BAND), Span(f"  {choice} ", style)))
    foot = centred((Span("Press the number of your answer."),), columns)
    said = _sentences(question.lines, width, rows - len(head) - 2 * len(answers) - 3)
    page = [*head, *indented(said, _MARGIN), BLANK]
    page += indented(spaced(answers), _MARGIN)
    page += [BLANK] * (rows - 1 - len(page))
    return [*page[: rows - 1], foot]


def message_page(title: str, lines: Sequence[str], columns: int, rows: int) -> Page:
    page = [*_band(None, columns), BLANK, *_title(title, columns), BLANK]
    width = min(columns, _WIDEST) - 2 * _MARGIN
    return page + indented(_sentences(lines, width, rows - len(page)), _MARGIN)


def _sentences(sentences: Sequence[str], columns: int, room: int) -> list[Line]:
    """Sentences with an empty line between them, where that leaves room for all."""
    close = paragraphs(sentences, columns)
    wide = [line for one in sentences for line in (*paragraphs([one], columns), BLANK)][:-1]
    return wide if len(wide) <= room else close


@dataclass(frozen=True)
class KeyRequest:
    """What stands beside the fields of a recovery password."""

    protector_ids: tuple[str, ...]
    tried_wrong: bool = False
    trouble: str | None = None
    contact: str | None = None


def password_page(request: KeyRequest, entry: PasswordEntry, columns: int, rows: int) -> Page:
    """The key ID in big letters, and eight fields, each with a word that says whether it is right."""
    width = min(columns, _WIDEST) - 2 * _MARGIN
    page = [*_band(None, columns), BLANK]
    said = ["This disk is locked by BitLocker. Its recovery key opens it: 48 digits."]
    if request.tried_wrong:
        said = ["That is a recovery key, but not the one for this disk. Compare the key ID."]
    page += indented(paragraphs(said, width, STRONG), _MARGIN)
    page += indented(paragraphs(["Ask the helpdesk for the recovery key with this key ID:"], width), _MARGIN)
    if request.contact:
        page += indented(paragraphs([f"Helpdesk: {request.contact}"], width, STRONG), _MARGIN)
    page.append(BLANK)
    for protector in request.protector_ids[:_MOST_IDS]:
        page += indented(key_id_lines(protector, columns - 2 * _MARGIN), _MARGIN)
        page.append(BLANK)
    page += indented([(Span("Type the key here:"),)], _MARGIN)
    fields = list(_fields(entry))
    if rows - len(page) > 3 * len(fields):  # room enough for the eye
        fields = [BLANK, *fields[:2], BLANK, *fields[2:]]
    page += indented(fields, _MARGIN)
    trouble = request.trouble or _trouble(entry)
    page += [BLANK, *indented(paragraphs([trouble], width, STRONG), _MARGIN)]
    keys = "Enter: done    Arrows: another group    Delete: start again    Esc: no key"
    page += [BLANK] * (rows - 1 - len(page))
    return [*page[: rows - 1], centred((Span(keys),), columns)]


def key_id_lines(protector: str, room: int) -> Iterator[Line]:
    """The id of a key protector, its beginning in big letters, as Windows' blue screen shows it."""
    beginning, rest = protector[:_KEY_ID_SHOWN].upper(), protector[_KEY_ID_SHOWN:].upper()
    if not can_draw(beginning) or columns_of(beginning) > room:
        yield (Span(protector, STRONG),)
        return
    letters = big(beginning)
    for number, row in enumerate(letters):
        yield (Span(row, STRONG), Span("  " + rest if number == len(letters) - 1 else ""))


def _fields(entry: PasswordEntry) -> Iterator[Line]:
    half = GROUPS // 2
    for start in (0, half):
        numbers = range(start, start + half)
        yield tuple(span for number in numbers for span in _field(entry, number))
        yield tuple(span for number in numbers for span in _verdict(entry, number))


def _field(entry: PasswordEntry, number: int) -> Iterator[Span]:
    style = _WRONG if entry.is_wrong(number) else STRONG
    if number == entry.current:
        style = _CHOSEN
    yield Span(f"{number + 1}: ")
    yield Span(f" {entry.groups[number].ljust(DIGITS, '_')} ", style)
    yield Span("      ")


def _verdict(entry: PasswordEntry, number: int) -> Iterator[Span]:
    if entry.is_wrong(number):
        word, style = "wrong", _WRONG
    elif len(entry.groups[number]) == DIGITS:
        word, style = "ok", _RIGHT
    else:
        word, style = "", PLAIN
    yield Span("    ")
    yield Span(word, style)
    yield Span(" " * (DIGITS + 7 - len(word)))


def _trouble(entry: PasswordEntry) -> str:
    numbers = [str(number + 1) for number in entry.wrong]
    if not numbers:
        return "All 48 digits are there: press Enter." if entry.complete else ""
    if len(numbers) == 1:
        return f"Group {numbers[0]} has a wrong digit. Go there with the arrow keys and type it again."
    return f"Groups {', '.join(numbers)} have wrong digits. Go there with the arrow keys, type them again."


def _band(machine: str | None, columns: int) -> list[Line]:
    return [at_both_ends("  unbrick", f"{machine or ''}  ", columns, _BAND)]


def _title(text: str, columns: int) -> list[Line]:
    if can_draw(text):
        for scale in (2, 1):
            # Twice the size only where even then half of the line is free: a large screen.
            if columns_of(text, scale) <= (columns // 2 if scale == 2 else columns - 2 * _MARGIN):
                return [(Span(" " * _MARGIN + row, STRONG),) for row in big(text, scale)]
    return indented(paragraphs([text], columns - 2 * _MARGIN, STRONG), _MARGIN)
