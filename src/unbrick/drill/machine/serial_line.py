"""What a virtual machine says on its serial port: a file that grows, read line by line.

Firmware and boot loaders draw there with control sequences, and end a line with both CR and LF, or neither.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

_CONTROL = re.compile(
    rb"\x1b\[[0-9;?=]*[A-Za-z]|\x1b[()][0-9A-Za-z]|\x1b[=>cDEHM78]|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]+|\x1b"
)


@dataclass(frozen=True)
class SerialText:
    """One line; `at` is the reader's monotonic clock, in seconds, when it was first seen whole."""

    at: float
    text: str


class SerialLine:
    """Reads `path` as it grows; nothing is lost between two calls."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""
        self.lines: list[SerialText] = []

    def read(self) -> list[SerialText]:
        """The lines that have come since the last reading; one without its end is kept back."""
        try:
            with self._path.open("rb") as stream:
                stream.seek(self._offset)
                data = stream.read()
        except FileNotFoundError:
            return []
        self._offset += len(data)
        *whole, self._rest = (self._rest + data).split(b"\n")
        now = time.monotonic()
        texts = (_CONTROL.sub(b"", line).decode(errors="replace").strip() for line in whole)
        new = [SerialText(now, text) for text in texts if text]
        self.lines += new
        return new

    def tail(self, lines: int = 25) -> str:
        rest = _CONTROL.sub(b"", self._rest).decode(errors="replace").strip()
        return "\n".join(f"  {line}" for line in [*(one.text for one in self.lines[-lines:]), rest] if line)
