"""The machines that get no boot answer any more, by firmware UUID or MAC address.

A machine that tries the network first would otherwise start the medium after every restart.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from unbrick.errors import UsageError
from unbrick.events.identity import valid_smbios_uuid

_BY_UUID = "smbios:"
_LIST_ANYWAY_SECONDS = 60.0
_MOST_BYTES = 8 * 1024 * 1024
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


@dataclass(frozen=True)
class Repaired:
    """Firmware UUIDs as Linux shows them (upper case), MAC addresses in lower case with colons."""

    uuids: frozenset[str] = frozenset()
    macs: frozenset[str] = frozenset()

    def __or__(self, other: Repaired) -> Repaired:
        return Repaired(self.uuids | other.uuids, self.macs | other.macs)

    def __len__(self) -> int:
        return len(self.uuids) + len(self.macs)


def repaired_uuids(uuids: Iterable[str]) -> Repaired:
    """The firmware UUIDs that tell machines apart, without vendors' fillers, which many machines share."""
    return Repaired(frozenset(valid for one in uuids if (valid := valid_smbios_uuid(one))))


def read_repaired(path: Path) -> Repaired:
    """Read a list with a UUID or a MAC address a line; `#` begins a comment. Raises UsageError."""
    try:
        with path.open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path}: is no text") from error
    if len(data) > _MOST_BYTES:
        raise UsageError(f"{path}: is too large")
    uuids, macs = set(), set()
    for number, line in enumerate(text.splitlines(), 1):
        word = line.partition("#")[0].strip()
        mac = word.lower().replace("-", ":")
        if not word:
            continue
        if _MAC.fullmatch(mac):
            macs.add(mac)
        elif valid := valid_smbios_uuid(word):
            uuids.add(valid)
        else:
            raise UsageError(
                f"{path}: line {number}: {word[:60]!r} is no machine's UUID and no MAC address",
                hint="one a line: 4C4C4544-0042-3510-8052-B4C04F4E5332, or 52:54:00:12:34:56",
            )
    return Repaired(frozenset(uuids), frozenset(macs))


def wire_forms(text: str) -> tuple[bytes, bytes]:
    """A firmware UUID in DHCP option 97: as UEFI sends it (the first three fields little-endian, as in
    SMBIOS), and as some PXE ROMs do (big-endian throughout).
    """
    parsed = uuid.UUID(text)
    return parsed.bytes_le, parsed.bytes


class DoneAtTally:
    """The machines that are done at a tally, by their firmware's UUID.

    `counts` gives the number of machines by status, `keys` the tally's keys of those that are done. Counting
    is quick and listing is not, so it lists only when the counts have changed.
    """

    def __init__(self, counts: Callable[[], dict[str, int]], keys: Callable[[], Iterable[str]]) -> None:
        self._count = counts
        self._keys = keys
        self._counts: dict[str, int] | None = None
        self._listed_at = 0.0
        self._done = Repaired()

    def __call__(self) -> Repaired:
        counts = self._count()
        if counts != self._counts or time.monotonic() - self._listed_at > _LIST_ANYWAY_SECONDS:
            uuids = (key.removeprefix(_BY_UUID) for key in self._keys() if key.startswith(_BY_UUID))
            self._done, self._counts, self._listed_at = repaired_uuids(uuids), counts, time.monotonic()
        return self._done
