"""Proves that a change takes no access rights away: `$Secure` only grows, and finds all that it found before.

What is newly written there may overwrite something else, but no right: neither one that states its own place
there, nor one that an index leads to.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Iterator

from unbrick.disks.ntfs.file_table import FileTable, open_stream
from unbrick.disks.ntfs.index_entries import IndexEntry, read_entries
from unbrick.disks.ntfs.recognise import find_descriptors
from unbrick.disks.ntfs.stream import Stream
from unbrick.disks.ntfs.structures import DATA, damaged
from unbrick.disks.proof.changed_records import SECURE

SECTOR = 512

_INDEXES = {"$SII": 4, "$SDH": 8}
"""Each index with the length of its keys: a security id; a hash and such an id."""
_BEFORE_KEY = 16  # bytes of an entry
_LEADS_TO = struct.Struct("<8xQI")
_BLOCK = 1 << 18  # of `$SDS`: a descriptor is within one, and once more in the next


def prove_rights(before: FileTable, after: FileTable, sectors: Iterable[int]) -> None:
    """Check a change of `$Secure`, which writes these sectors (places on the volume) of its `$SDS`.

    Raises NeedsHandsError (damaged-volume), OSError.
    """
    former, new = (_descriptors(table) for table in (before, after))
    positions = sorted(at for sector in sectors if (at := former.position_of(sector)) is not None)
    led_to: set[tuple[int, int]] = set()
    for name, key in _INDEXES.items():
        was, will_be = (Counter(read_entries(table, SECURE, name)) for table in (before, after))
        known = {one.rest[:key] for one in was}
        if was - will_be or any(one.rest[:key] in known for one in will_be - was):
            raise damaged("the change would lose the rights of other files")
        led_to.update(_places(was))
    for position in positions:
        kept = [(place, len(entry)) for place, entry in find_descriptors(former, position, SECTOR)]
        kept += [one for one in led_to if one[0] < position + SECTOR and position < sum(one)]
        for place, length in kept:
            if former.read(place, length) != new.read(place, length):
                raise damaged("the change would write over the rights of other files")


def _places(entries: Iterable[IndexEntry]) -> Iterator[tuple[int, int]]:
    """Offset in `$SDS` and length of the descriptors that an index leads to."""
    for entry in entries:
        start, length = struct.unpack_from("<HH", entry.head)
        found = entry.rest[max(start - _BEFORE_KEY, 0) :][:length]
        if len(found) < _LEADS_TO.size:
            continue
        place, size = _LEADS_TO.unpack_from(found)
        if size <= _BLOCK:
            yield place, size
            yield place + _BLOCK, size


def _descriptors(table: FileTable) -> Stream:
    found = table.find_attribute(SECURE, DATA, "$SDS")
    if found is None or found.value is not None:
        raise damaged("it has no list of rights ($Secure)")
    return open_stream(table.view, found)
