"""A person at a terminal of our own making: a pseudo-terminal whose screen an independent emulator draws."""

from __future__ import annotations

import os
import select
import termios
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyte

from unbrick.station.screen.terminal import Terminal

_LIMIT_SECONDS = 60.0


class _Emulator(pyte.Screen):
    """Notes whether anything ever scrolled."""

    scrolled = False

    def index(self) -> None:
        if self.cursor.y == self.lines - 1:
            self.scrolled = True
        super().index()


class EmulatedScreen:
    """What a person sees and presses. Reads beside the test, so that the program is never held up."""

    def __init__(self, columns: int, rows: int) -> None:
        self._master, self.descriptor = os.openpty()
        termios.tcsetwinsize(self.descriptor, (rows, columns))
        self._emulator = _Emulator(columns, rows)
        self._stream = pyte.ByteStream(self._emulator)
        self._change = threading.Condition()
        self._ended = False
        self.received = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def scrolled(self) -> bool:
        """Whether a line was ever pushed out at the top."""
        return self._emulator.scrolled

    @property
    def rows(self) -> list[str]:
        """The screen as it is now."""
        with self._change:
            return list(self._emulator.display)

    @property
    def text(self) -> str:
        """The screen as words, one blank between them."""
        return " ".join(" ".join(self.rows).split())

    def colours_behind(self, text: str) -> set[str]:
        """The background colours of the first row that shows a text."""
        number = next(number for number, row in enumerate(self.rows) if text in row)
        start = self.rows[number].index(text)
        with self._change:
            line = self._emulator.buffer[number]
            return {line[column].bg for column in range(start, start + len(text))}

    def wait_for(self, text: str) -> None:
        """Wait until the screen shows some words, wherever its lines end."""
        self.wait_until(text, present=True)

    def wait_until(self, text: str, *, present: bool) -> None:
        """Wait until some words are on the screen, or are not."""
        end = time.monotonic() + _LIMIT_SECONDS
        with self._change:
            while (text in self.text) is not present:
                if not self._change.wait(end - time.monotonic()):
                    break
            assert (text in self.text) is present, "\n".join(self.rows)

    def pause(self) -> None:
        """Wait until the screen has changed, a tenth of a second at the most."""
        with self._change:
            self._change.wait(0.1)

    def press(self, keys: bytes | str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode() if isinstance(keys, str) else keys)

    def hang_up(self) -> None:
        """Pull the plug of the terminal."""
        if self._master < 0:
            return
        self._ended = True
        self._reader.join()
        os.close(self._master)
        self._master = -1

    def close(self) -> None:
        """Take everything down."""
        self.hang_up()

    def _read(self) -> None:
        while not self._ended:
            if not select.select([self._master], [], [], 0.05)[0]:
                continue
            try:
                data = os.read(self._master, 65536)
            except OSError:
                return
            with self._change:
                self.received += data
                self._stream.feed(data)
                self._change.notify_all()


@contextmanager
def at_screen(columns: int = 80, rows: int = 25) -> Iterator[tuple[Terminal, EmulatedScreen]]:
    """A terminal for the station, and the person before it."""
    screen = EmulatedScreen(columns, rows)
    try:
        with Terminal(screen.descriptor) as terminal:
            yield terminal, screen
    finally:
        screen.close()


def words_of(lines: Sequence[str]) -> str:
    """Lines as words, one blank between them."""
    return " ".join(" ".join(lines).split())
