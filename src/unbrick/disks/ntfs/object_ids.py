"""The index of the volume's object ids, `$Extend\\$ObjId:$O`: a file that is deleted is taken out of it.

A program (or Windows, for a shortcut) may give any file such an id: it is then an attribute of the file, and
an entry here. The layout is that of the Linux-NTFS project's documentation (`$ObjId`).
"""

from __future__ import annotations

from collections.abc import Iterable

from unbrick.disks.ntfs.file_table import BITMAP, FileTable
from unbrick.disks.ntfs.index_entries import IndexEntry, read_entries
from unbrick.disks.ntfs.structures import damaged

OBJECT_ID = 0x40
"""The kind of the attribute that a file with an object id has."""
_INDEX = "$O"
PARTS_OF_INDEX = {(kind, _INDEX) for kind in (0x90, 0xA0, BITMAP)}
"""Kind and name of the attributes that the index consists of."""

_EXTEND = 11
_FILE = "$ObjId"
_KEY = 16
_REFERENCE = 8


def is_object_index(table: FileTable, number: int) -> bool:
    """Whether a file is the one with the index of object ids; raises NeedsHandsError (damaged-volume)."""
    names = table.names(number)
    return [(name.parent, name.text) for name in names] == [(_EXTEND, _FILE)]


def find_object_index(table: FileTable) -> int | None:
    """Its record, which `$Extend` lists; None where there is none.

    Raises NeedsHandsError (damaged-volume), OSError.
    """
    for entry in read_entries(table, _EXTEND, "$I30"):
        if entry.name.text == _FILE:
            return entry.record
    return None


def expect_only_removed(before: FileTable, after: FileTable, number: int, deleted: Iterable[int]) -> None:
    """That of the index (in this record) the entries of the files deleted go, and nothing else changes.

    Their order is a part of it. Raises NeedsHandsError (damaged-volume), OSError.
    """
    gone = {before.read(one).sequence << 48 | one for one in deleted}
    former, new = (read_entries(table, number, _INDEX) for table in (before, after))
    if [one for one in former if _owner(one) not in gone] != new:
        raise damaged("the change would not take exactly what it deletes out of the list of object ids")


def _owner(entry: IndexEntry) -> int:
    """The reference to the file that has the id."""
    return int.from_bytes(entry.rest[_KEY : _KEY + _REFERENCE], "little")
