"""Lists the files and folders of a FAT32 volume as Linux finds them, to compare with what others list.

Linux always goes by the first table, and reads a folder to the end of its clusters; others go by the table
that the volume names, or stop at the first free entry, so not all see the same files. Offsets are those of
Microsoft's FAT specification (fatgen103).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from unbrick.errors import FailedError

_SECTOR = 512
_ENTRY = 32
_MOST_TABLE = 8 * 1024 * 1024  # of a volume of 1 GiB, with the smallest clusters
_MOST_ENTRIES = 1_000_000
_FIRST_CLUSTER, _LAST_CLUSTER = 2, 0x0FFFFFF6
_FREE = (0x00, 0xE5)
_VOLUME, _FOLDER, _LONG, _ALL = 0x08, 0x10, 0x0F, 0x3F
_LAST_PART = 0x40
_PARTS_OF_A_LONG_NAME = ((1, 11), (14, 26), (28, 32))
_LOWER_NAME, _LOWER_SUFFIX = 0x08, 0x10
# The first two entries of a table belong to no file: Windows and Linux note there that a stick was pulled.
_OF_NO_FILE = 8


class FatError(FailedError):
    """A volume that is not the FAT32 that we make, or whose folders go round in a circle."""


@dataclass(frozen=True)
class FatContents:
    """`names` are relative, with slashes, a folder's with one at its end; a sound volume has no `faults`.

    As mtools does, a name has `_` for each half of a character beyond 16 bits.
    """

    names: tuple[str, ...]
    faults: tuple[str, ...]


def read_contents(read: Callable[[int, int], bytes], offset: int) -> FatContents:
    """What the volume at `offset` holds; `read(offset, length)` reads the disk. Raises FatError."""
    volume = _Volume(read, offset)
    names: list[str] = []
    folders = [("", volume.root)]
    while folders:
        above, cluster = folders.pop()
        for name, entry in _named(volume.entries(cluster)):
            if len(names) == _MOST_ENTRIES:
                raise FatError("holds more files than can be looked through")
            if entry[11] & _FOLDER:
                names.append(f"{above}{name}/")
                folders.append((names[-1], int.from_bytes(entry[26:28] + entry[20:22], "little")))
            else:
                names.append(above + name)
    return FatContents(tuple(names), tuple(volume.faults))


def _named(entries: Iterator[bytes]) -> Iterator[tuple[str, bytes]]:
    """The entries of files and folders, each with its long name if it has one, else the short one."""
    parts: list[bytes] = []
    for entry in entries:
        if entry[0] in _FREE:
            parts = []
        elif entry[11] & _ALL == _LONG:
            parts = [entry] if entry[0] & _LAST_PART else [*parts, entry]
        else:
            long, parts = _long_name(parts, entry), []
            # Without a label, the folder itself, and the one above.
            if not entry[11] & _VOLUME and not entry.startswith((b".  ", b"..  ")):
                yield long or _short_name(entry), entry


def _long_name(parts: Sequence[bytes], entry: bytes) -> str | None:
    """The long name of an entry; None where the parts are out of order, or belong to another entry."""
    numbers = [part[0] & ~_LAST_PART for part in parts]
    if not parts or numbers != list(range(len(parts), 0, -1)):
        return None
    checksum = 0
    for byte in entry[:11]:
        checksum = (((checksum & 1) << 7) + (checksum >> 1) + byte) & 0xFF
    if any(part[13] != checksum for part in parts):
        return None
    data = b"".join(part[first:last] for part in reversed(parts) for first, last in _PARTS_OF_A_LONG_NAME)
    units = [int.from_bytes(data[at : at + 2], "little") for at in range(0, len(data), 2)]
    length = units.index(0) if 0 in units else len(units)
    return "".join("_" if 0xD800 <= unit <= 0xDFFF else chr(unit) for unit in units[:length])


def _short_name(entry: bytes) -> str:
    name = b"\xe5" + entry[1:8] if entry[0] == 0x05 else entry[:8]
    base, suffix = (part.decode("cp850").rstrip(" ") for part in (name, entry[8:11]))
    base = base.lower() if entry[12] & _LOWER_NAME else base
    suffix = suffix.lower() if entry[12] & _LOWER_SUFFIX else suffix
    return f"{base}.{suffix}" if suffix else base


class _Volume:
    def __init__(self, read: Callable[[int, int], bytes], offset: int) -> None:
        sector = read(offset, _SECTOR)

        def number(at: int, length: int) -> int:
            return int.from_bytes(sector[at : at + length], "little")

        reserved, tables, length = number(14, 2), number(16, 1), number(36, 4)
        self._cluster = number(13, 1) * _SECTOR
        self.root = number(44, 4)
        is_ours = number(11, 2) == _SECTOR and number(22, 2) == 0 and self._cluster and tables
        if not is_ours or not 0 < length * _SECTOR <= _MOST_TABLE:
            raise FatError("is not the FAT32 volume that was written")
        self._read = read
        places = [offset + (reserved + number * length) * _SECTOR for number in range(tables)]
        self._table = read(places[0], length * _SECTOR)
        self._data = offset + (reserved + tables * length) * _SECTOR
        self._seen: set[int] = set()
        self.faults = []
        if number(40, 2):
            self.faults.append("says that only one of its tables counts, which only some programs obey")
        if any(read(at, length * _SECTOR)[_OF_NO_FILE:] != self._table[_OF_NO_FILE:] for at in places[1:]):
            self.faults.append("has two tables that differ, so that not every program sees the same files")

    def entries(self, cluster: int) -> Iterator[bytes]:
        """The entries of the folder that begins with a cluster, free ones too."""
        while _FIRST_CLUSTER <= cluster <= _LAST_CLUSTER and (cluster + 1) * 4 <= len(self._table):
            if cluster in self._seen:
                raise FatError("has folders that go round in a circle")
            self._seen.add(cluster)
            data = self._read(self._data + (cluster - _FIRST_CLUSTER) * self._cluster, self._cluster)
            yield from (data[at : at + _ENTRY] for at in range(0, len(data) - _ENTRY + 1, _ENTRY))
            cluster = int.from_bytes(self._table[cluster * 4 : cluster * 4 + 4], "little") & 0x0FFFFFFF
