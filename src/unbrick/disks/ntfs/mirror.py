"""The mirror of the file table's first records: whether it agrees with them, and making it agree again.

Every driver writes a record and then its mirror, so a power cut between the two leaves them different;
ntfs-3g refuses such a volume, Windows takes the record. The mending is that of `ntfsfix`.
"""

from __future__ import annotations

from unbrick.disks.ntfs.file_table import find_data
from unbrick.disks.ntfs.structures import (
    BITMAP,
    RECORD_MIRROR,
    STANDARD_INFORMATION,
    VOLUME_INFORMATION,
    VOLUME_NAME,
    Attribute,
    ByteView,
    Geometry,
    attributes,
    begins_with,
    damaged,
    unprotect,
)

_MIRRORED = 4
# What Windows changes in these records on a sound volume; the table itself only grows.
_CHANGING = {0: {BITMAP}, 3: {VOLUME_NAME, VOLUME_INFORMATION}}


def differing_records(view: ByteView, geometry: Geometry) -> tuple[int, ...]:
    """The numbers of the first records whose mirror differs, or that cannot be read."""
    return tuple(
        number
        for number in range(_MIRRORED)
        if _read(view, geometry, geometry.mft, number) != _read(view, geometry, geometry.mirror, number)
    )


def mend_mirror(view: ByteView, geometry: Geometry) -> None:
    """Copy each record to its mirror, or back where the record is torn; does not flush.

    Raises NeedsHandsError (damaged-volume), with nothing written, where neither can be read, or where both
    can and one is not an earlier state of the other: then it is unknown which is right.
    """
    different = differing_records(view, geometry)
    changes: list[tuple[int, bytes]] = []
    for number in different:
        record, mirror = (_read(view, geometry, table, number) for table in (geometry.mft, geometry.mirror))
        # The place that the boot sector names is overwritten only where it has such a record already.
        if mirror[:4] != b"FILE" or record[:4] != b"FILE":
            raise damaged(f"record {number} of its file table, or the mirror of it, is not a file record")
        whole, reflected = unprotect(record, b"FILE"), unprotect(mirror, b"FILE")
        if whole is not None:
            if reflected is not None:
                _expect_earlier(reflected, whole, geometry, number)
            changes.append((geometry.mirror + number * geometry.record, record))
        elif reflected is not None:
            changes.append((geometry.mft + number * geometry.record, mirror))
        else:
            raise damaged(f"record {number} of its file table and the mirror of it are both torn")
    if different and not _is_its_own(view, geometry):
        raise damaged("the mirror of its file table is not where it should be")
    for position, data in changes:
        view.write(position, data)


def _expect_earlier(mirror: bytes, record: bytes, geometry: Geometry, number: int) -> None:
    """Raise NeedsHandsError where a record cannot have become what it is from its mirror."""
    former, now = (
        {(one.kind, one.name): one for one in attributes(data, geometry)} for data in (mirror, record)
    )
    for key in former.keys() | now.keys():
        if key[0] in _CHANGING.get(number, ()) or key[0] == STANDARD_INFORMATION:
            continue
        one, other = former.get(key), now.get(key)
        if one is None or other is None or _essence(one) != _essence(other):
            grown = (
                number == 0 and one is not None and other is not None and begins_with(other.runs, one.runs)
            )
            if not grown:
                raise damaged(f"record {number} of its file table and the mirror of it contradict each other")


def _essence(one: Attribute) -> tuple[object, ...]:
    return one.value, one.runs, one.size, one.allocated, one.initialized, one.plain


def _is_its_own(view: ByteView, geometry: Geometry) -> bool:
    """Whether the boot sector points at the clusters that the mirror's own record names."""
    mirror = find_data(view, geometry, RECORD_MIRROR)
    return mirror is not None and bool(mirror.runs) and mirror.runs[0].offset == geometry.mirror


def _read(view: ByteView, geometry: Geometry, table: int, number: int) -> bytes:
    return view.read(table + number * geometry.record, geometry.record)
