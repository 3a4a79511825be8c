"""Every screen of the station: progress, a question, the recovery password, a message, the end.

What is typed as a recovery password is on the screen while it is typed, and nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from unbrick.keys.password import RecoveryPassword
from unbrick.station.ending.ending import Ending
from unbrick.station.ending.page import ending_pages
from unbrick.station.screen.keystrokes import Key, KeyKind, digit_of
from unbrick.station.screen.pages import (
    KeyRequest,
    Page,
    Question,
    message_page,
    password_page,
    progress_page,
    question_page,
)
from unbrick.station.screen.password_entry import PasswordEntry
from unbrick.station.screen.terminal import Terminal

__all__ = ["Question", "Screens"]

_PAGE_SECONDS = 15.0
"""How long each page of an ending is shown before the next one, so that a code to photograph comes by."""

_ENDS_TYPING = {KeyKind.ENTER, KeyKind.TAB, KeyKind.ESCAPE}

_TURNS = {KeyKind.RIGHT: 1, KeyKind.DOWN: 1, KeyKind.LEFT: -1, KeyKind.UP: -1}

_GIVING_UP = Question(
    "No key?",
    ("Without its recovery key this disk stays locked, and nothing on it is changed.",),
    ("Go back and type the key", "I do not have the key"),
)


class Screens:
    """The screens on one terminal. `say` is given, for who reads the serial line, what is waited for."""

    def __init__(
        self,
        terminal: Terminal,
        *,
        say: Callable[[str], None] = lambda _: None,
        page_seconds: float = _PAGE_SECONDS,
    ) -> None:
        self._terminal = terminal
        self._say = say
        self._page_seconds = page_seconds
        self._steps: list[str] = []
        self._machine: str | None = None
        self._pages: list[Page] = []
        self._page = 0
        self._turn_at: float | None = None
        self.contact: str | None = None
        """Whom the person can call for a recovery key."""

    def progress(self, words: str, machine: str | None = None) -> None:
        """Show what is being done now; `machine` once its name is known. Returns at once."""
        self._machine = machine or self._machine
        if not self._steps or self._steps[-1] != words:
            self._steps.append(words)
        *done, now = self._steps
        self._show([progress_page(now, done, self._machine, *self._terminal.size())])

    def ask(self, question: Question) -> int:
        """Ask, wait as long as it takes, and return the number of the chosen answer, from 0.

        Nothing is chosen beforehand: an Enter that was meant for the screen before answers nothing.
        """
        if not 0 < len(question.choices) < 10:
            raise ValueError("a question has one to nine answers")
        self._say(f"asks {question.title}")
        if question.machine is None:
            question = replace(question, machine=self._machine)
        self._terminal.drain()
        chosen: int | None = None
        last = len(question.choices) - 1
        self._show([question_page(question, chosen, *self._terminal.size())])
        while True:
            key = self._next_key()
            if key.kind is KeyKind.ENTER and chosen is not None:
                return chosen
            number = int(digit_of(key) or 0) - 1
            if 0 <= number <= last:
                return number
            if key.kind is KeyKind.DOWN:
                chosen = 0 if chosen is None else min(chosen + 1, last)
            elif key.kind is KeyKind.UP:
                chosen = last if chosen is None else max(chosen - 1, 0)
            self._terminal.update(question_page(question, chosen, *self._terminal.size()))

    def ask_password(
        self, protector_ids: Sequence[str], *, tried_wrong: bool = False
    ) -> RecoveryPassword | None:
        """The recovery password for one of these protectors as a person types it; None: they have none."""
        self._say(f"asks recovery-password {' '.join(protector_ids)}{' again' if tried_wrong else ''}")
        request = KeyRequest(tuple(protector_ids), tried_wrong, contact=self.contact)
        entry = PasswordEntry()
        self._terminal.drain()
        try:
            while True:
                key = self._type(request, entry)
                request = replace(request, trouble=None)
                if key.kind is KeyKind.ESCAPE:
                    if self.ask(_GIVING_UP) == 1:
                        return None
                elif password := entry.password():
                    return password
                elif any(entry.groups):
                    entry.go_to_trouble()
                    if not entry.wrong:
                        request = replace(request, trouble="Some digits are missing.")
        finally:
            entry.clear()
            self._show([])

    def show(self, ending: Ending) -> None:
        """Show how it ended. Returns at once; `wait_for_key` then turns its pages."""
        self._show(ending_pages(ending, *self._terminal.size()))

    def message(self, lines: Sequence[str]) -> None:
        """Show some sentences. Returns at once."""
        self._show([message_page("unbrick", lines, *self._terminal.size())])

    def wait_for_key(self, seconds: float | None) -> bool:
        """Whether Enter was pressed within so many seconds (None: wait for ever).

        Arrow keys turn the pages of an ending; until then they turn by themselves now and then, however often
        this is called meanwhile.
        """
        end = None if seconds is None else time.monotonic() + seconds
        while True:
            moments = [moment for moment in (end, self._turn_at) if moment is not None]
            pause = max(min(moments) - time.monotonic(), 0) if moments else None
            key = self._terminal.read_key(pause)
            if key is None:
                if end is not None and time.monotonic() >= end:
                    return False
                self._turn(1)
            elif key.kind is KeyKind.ENTER:
                return True
            elif key.kind in _TURNS:
                self._turn(_TURNS[key.kind], by_hand=True)

    def _type(self, request: KeyRequest, entry: PasswordEntry) -> Key:
        """Write keys into the fields, up to one that ends the typing: Enter, Tab or Esc."""
        self._show([password_page(request, entry, *self._terminal.size())])
        while True:
            key: Key | None = self._next_key()
            while key is not None:  # a scanner is faster than a serial line draws
                if key.kind in _ENDS_TYPING:
                    return key
                entry.press(key)
                request = replace(request, trouble=None)
                key = self._terminal.read_key(0)
            self._terminal.update(password_page(request, entry, *self._terminal.size()))

    def _turn(self, step: int, *, by_hand: bool = False) -> None:
        if len(self._pages) > 1:
            self._page = (self._page + step) % len(self._pages)
            self._turn_at = None if by_hand else time.monotonic() + self._page_seconds
            self._terminal.draw(self._pages[self._page])

    def _show(self, pages: list[Page]) -> None:
        self._pages, self._page = pages, 0
        self._turn_at = time.monotonic() + self._page_seconds if len(pages) > 1 else None
        self._terminal.draw(pages[0] if pages else [])

    def _next_key(self) -> Key:
        key = self._terminal.read_key(None)
        assert key is not None  # without a time limit there is one
        return key
