"""Counts the files and folders of a FAT32 volume as Linux finds them, to be held against what others list.

Linux goes by the first table in any case, and reads a folder to the end of its clusters; others go by the
table that the volume names, or stop at the first free entry. What lies between is seen by some and not by
others. Offsets are those of Microsoft's FAT specification (fatgen103).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from unbrick.errors import FailedError

_SECTOR = 512
_ENTRY = 32
_MOST_TABLE = 8 * 1024 * 1024  # of a volume of 1 GiB, with the smallest clusters
_FIRST_CLUSTER, _LAST_CLUSTER = 2, 0x0FFFFFF6
_FREE = (0x00, 0xE5)
_VOLUME, _FOLDER = 0x08, 0x10


class FatError(FailedError):
    """A volume that is not the FAT32 that we make, or one whose folders go round in a circle."""


def count_entries(read: Callable[[int, int], bytes], offset: int) -> int:
    """How many files and folders the volume at `offset` holds; `read(offset, length)` reads the disk.

    Raises FatError.
    """
    volume = _Volume(read, offset)
    count, folders = 0, [volume.root]
    while folders:
        for entry in volume.entries(folders.pop()):
            if entry[0] in _FREE or entry[11] & _VOLUME or entry.startswith((b".  ", b"..  ")):
                continue  # free, a label or a part of a long name, the folder itself and the one above
            count += 1
            if entry[11] & _FOLDER:
                folders.append(int.from_bytes(entry[26:28] + entry[20:22], "little"))
    return count


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
        self._table = read(offset + reserved * _SECTOR, length * _SECTOR)
        self._data = offset + (reserved + tables * length) * _SECTOR
        self._seen: set[int] = set()

    def entries(self, cluster: int) -> Iterator[bytes]:
        """The entries of the folder that begins with a cluster, free ones too."""
        while _FIRST_CLUSTER <= cluster <= _LAST_CLUSTER and (cluster + 1) * 4 <= len(self._table):
            if cluster in self._seen:
                raise FatError("has folders that go round in a circle")
            self._seen.add(cluster)
            data = self._read(self._data + (cluster - _FIRST_CLUSTER) * self._cluster, self._cluster)
            yield from (data[at : at + _ENTRY] for at in range(0, len(data) - _ENTRY + 1, _ENTRY))
            cluster = int.from_bytes(self._table[cluster * 4 : cluster * 4 + 4], "little") & 0x0FFFFFFF
