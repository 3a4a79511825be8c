"""How the sending goes, for every process that was forked from the parent of the sender's process.

A page of shared memory and not a pipe: several may look, nothing has to be emptied, and the sender never
waits for a reader.
"""

from __future__ import annotations

import json
import mmap
import struct
import zlib
from dataclasses import asdict, dataclass
from enum import StrEnum

_PAGE = 4096
_HEAD = struct.Struct("<II")
_LONGEST_WHY = 300
_ATTEMPTS = 100


class SenderState(StrEnum):
    """Where the sender stands."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    BUSY = "busy"  # connected, but the tally cannot store anything just now
    UNREACHABLE = "unreachable"
    REFUSED = "refused"  # not tried again in this run
    ENDED = "ended"


@dataclass(frozen=True)
class SenderStatus:
    """One look at the sender. `why` is a sentence where it is not connected; the numbers count this run.

    `notice` is what a person should know of the station's certificate, or empty.
    """

    state: SenderState = SenderState.CONNECTING
    why: str = ""
    acknowledged: int = 0
    refused: int = 0
    notice: str = ""


class StatusBoard:
    """The page: one writer, any number of readers; made before the fork."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, _PAGE)
        self._last = SenderStatus()

    def write(self, status: SenderStatus) -> None:
        document = asdict(status) | {"state": status.state.value, "why": status.why[:_LONGEST_WHY]}
        body = json.dumps(document).encode()
        self._page[_HEAD.size : _HEAD.size + len(body)] = body
        self._page[: _HEAD.size] = _HEAD.pack(len(body), zlib.crc32(body))

    def read(self) -> SenderStatus:
        """The latest status; a half-written one is never shown."""
        for _ in range(_ATTEMPTS):
            length, checksum = _HEAD.unpack(self._page[: _HEAD.size])
            body = self._page[_HEAD.size : _HEAD.size + min(length, _PAGE)]
            if length and zlib.crc32(body) == checksum:
                found = json.loads(body)
                self._last = SenderStatus(**found | {"state": SenderState(found["state"])})
                break
        return self._last
