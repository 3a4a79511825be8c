"""One plain line an event on the first serial port, for headless servers: `unbrick: <words>`.

Never waits: a port whose other end is not ready to read loses the line, not the repair.
"""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from unbrick.text import printable

PORT = Path("/dev/ttyS0")
_TIOCGSERIAL = 0x541E  # asm-generic/ioctls.h
_SERIAL_STRUCT_BYTES = 72
_LONGEST = 300


@dataclass(frozen=True)
class SerialLine:
    """Where lines go; nowhere where there is no port."""

    descriptor: int | None

    @classmethod
    def open(cls, port: Path = PORT) -> SerialLine:
        """Use a port where it is a real one. The kernel shows four, whether they are there or not."""
        try:
            descriptor = os.open(port, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return cls(None)
        try:
            answer = fcntl.ioctl(descriptor, _TIOCGSERIAL, bytes(_SERIAL_STRUCT_BYTES))
            if struct.unpack_from("i", answer)[0] == 0:  # PORT_UNKNOWN: nothing is there
                raise OSError
        except OSError:
            os.close(descriptor)
            return cls(None)
        return cls(descriptor)

    def say(self, words: str) -> None:
        """Write one line, as far as possible."""
        if self.descriptor is not None:
            with suppress(OSError):
                os.write(self.descriptor, f"unbrick: {printable(words)[:_LONGEST]}\r\n".encode())
