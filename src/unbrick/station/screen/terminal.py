"""A terminal as a sheet of lines and a row of keys: the Linux console, a serial line, an xterm.

Nothing that is pressed is echoed, logged or kept. A terminal that takes nothing (Scroll Lock is down) never
holds up a repair.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import termios
import time
import tty
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from unbrick.errors import FailedError
from unbrick.station.screen import linux_console
from unbrick.station.screen.keystrokes import Key, KeyDecoder
from unbrick.station.screen.sheet import Line, Style, fitted

_USUAL_SIZE = (80, 24)
_MOST_COLUMNS, _MOST_ROWS = 500, 200
_ESCAPE_SECONDS = 0.1
_REDRAW_SECONDS = 3.0
_DRAW_SECONDS = 2.0

# UTF-8, no wrapping at the right edge, no cursor; and on the console: never go dark, not even after an hour.
_BEGIN = "\x1b%G\x1b[?7l\x1b[?25l"
_NEVER_BLANK = "\x1b[9;0]\x1b[14;0]"
_END = "\x1b[0m\x1b[2J\x1b[H\x1b[?7h\x1b[?25h"


class Terminal:
    """One open terminal, in raw mode until it is closed. A context manager."""

    def __init__(self, descriptor: int) -> None:
        """Take over an open terminal; raises FailedError where it is none. `close` closes it."""
        self._descriptor = descriptor
        self._decoder = KeyDecoder()
        self._keys: deque[Key] = deque()
        self._lines: Sequence[Line] = ()
        self._painted: list[str] = []
        try:
            self._before = termios.tcgetattr(descriptor)
            tty.setraw(descriptor)
        except termios.error as error:
            raise FailedError("this is no terminal to draw on") from error
        os.set_blocking(descriptor, False)
        self._write(_BEGIN)
        if linux_console.is_linux_console(descriptor):
            linux_console.prepare(descriptor, *self.size())
            self._write(_NEVER_BLANK)

    @classmethod
    def open(cls, path: str = "/dev/tty1") -> Terminal:
        """Open a terminal device and take it over; raises FailedError where there is none."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise FailedError(f"{path}: cannot be opened: {error.strerror}") from error
        try:
            return cls(descriptor)
        except FailedError as error:
            os.close(descriptor)
            raise FailedError(f"{path}: {error.message}") from error

    def size(self) -> tuple[int, int]:
        """Columns and rows; 80 and 24 where the terminal does not say, as on a serial line."""
        try:
            answer = fcntl.ioctl(self._descriptor, termios.TIOCGWINSZ, bytes(8))
        except OSError:
            return _USUAL_SIZE
        rows, columns, _, _ = struct.unpack("@4H", answer)
        if not rows or not columns:
            return _USUAL_SIZE
        return min(columns, _MOST_COLUMNS), min(rows, _MOST_ROWS)

    def draw(self, lines: Sequence[Line]) -> None:
        """Fill the screen with these lines, from the top; what does not fit is left out."""
        self._painted = []
        self.update(lines)

    def update(self, lines: Sequence[Line]) -> None:
        """The same, but only rows that differ from what this process has drawn last are written.

        Not where another process, which works on a disk, may have drawn since.
        """
        self._lines = tuple(lines)
        columns, rows = self.size()
        missing = [()] * (rows - len(self._lines))
        before, self._painted = self._painted, []
        output = []
        for row, line in enumerate([*self._lines[:rows], *missing]):
            self._painted.append(_painted(fitted(line, columns)))
            if len(before) != rows or before[row] != self._painted[row]:
                output.append(f"\x1b[{row + 1};1H{self._painted[row]}")
        self._write("".join(output))

    def read_key(self, timeout_seconds: float | None) -> Key | None:
        """The next key, None where none came in time; raises FailedError where the terminal has gone."""
        end = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while not self._keys:
            left = _REDRAW_SECONDS if end is None else end - time.monotonic()
            if self._decoder.undecided:
                self._keys.extend(self._finish_sequence())
            elif self._wait_for_input(max(min(_REDRAW_SECONDS, left), 0)):
                self._keys.extend(self._decoder.feed(self._read()))
            elif left <= _REDRAW_SECONDS and end is not None:
                return None
            else:  # a message of the kernel may lie across it
                self.draw(self._lines)
        return self._keys.popleft()

    def drain(self) -> None:
        """Forget what was pressed before now: it answered something else."""
        self._keys.clear()
        self._decoder = KeyDecoder()
        with suppress(termios.error):
            termios.tcflush(self._descriptor, termios.TCIFLUSH)

    def close(self) -> None:
        """Clear the screen, so that nothing typed is left on it, and put the terminal back as it was."""
        self._write(_END)
        with suppress(termios.error):
            termios.tcsetattr(self._descriptor, termios.TCSANOW, self._before)
        with suppress(OSError):
            os.close(self._descriptor)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _finish_sequence(self) -> list[Key]:
        """What ESC is: the key itself where nothing follows at once."""
        if self._wait_for_input(_ESCAPE_SECONDS):
            return self._decoder.feed(self._read())
        return self._decoder.settle()

    def _wait_for_input(self, seconds: float) -> bool:
        return bool(select.select([self._descriptor], [], [], seconds)[0])

    def _read(self) -> bytes:
        try:
            data = os.read(self._descriptor, 4096)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise FailedError(f"the terminal has gone: {error.strerror}") from error
        if not data:
            raise FailedError("the terminal has gone")
        return data

    def _write(self, text: str) -> None:
        """Write what the terminal takes within two seconds; a screen that is held still loses the rest."""
        data = memoryview(text.encode())
        end = time.monotonic() + _DRAW_SECONDS
        while data:
            left = end - time.monotonic()
            try:
                if left <= 0 or not select.select([], [self._descriptor], [], left)[1]:
                    return
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                continue
            except OSError:  # it has gone, or was given back: the way out must not stop here
                return


def _painted(line: Line) -> str:
    return "".join(f"{_escape(span.style)}{span.text}" for span in line) + "\x1b[0m"


def _escape(style: Style) -> str:
    weight = ";1" if style.bold else ""
    return f"\x1b[0{weight};{30 + style.fore.value};{40 + style.back.value}m"
