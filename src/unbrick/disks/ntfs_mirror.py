"""The mirror of the file table's first records: whether it agrees with them, and making it agree again.

Every driver writes a record and then its mirror, so a cut of the power between the two leaves them different;
ntfs-3g refuses such a volume, Windows takes the record. What is done here is what `ntfsfix` does.
"""

from __future__ import annotations

from unbrick.disks.ntfs_volume import (
    RECORD_MIRROR,
    ByteView,
    Geometry,
    damaged,
    find_data,
    unprotect,
)

_MIRRORED = 4


def differing_records(view: ByteView, geometry: Geometry) -> tuple[int, ...]:
    """The numbers of the first records whose mirror differs, or that cannot be read; looks only."""
    return tuple(
        number
        for number in range(_MIRRORED)
        if _read(view, geometry, geometry.mft, number) != _read(view, geometry, geometry.mirror, number)
    )


def mend_mirror(view: ByteView, geometry: Geometry) -> None:
    """Copy each record to its mirror, or back where the record is torn; does not flush.

    Raises NeedsHandsError (damaged-volume), with nothing written, where neither can be read.
    """
    different = differing_records(view, geometry)
    changes: list[tuple[int, bytes]] = []
    for number in different:
        record, mirror = (_read(view, geometry, table, number) for table in (geometry.mft, geometry.mirror))
        # What the boot sector points at is overwritten only where it is such a record already.
        if mirror[:4] != b"FILE" or record[:4] != b"FILE":
            raise damaged(f"record {number} of its file table, or the mirror of it, is none")
        if unprotect(record, b"FILE") is not None:
            changes.append((geometry.mirror + number * geometry.record, record))
        elif unprotect(mirror, b"FILE") is not None:
            changes.append((geometry.mft + number * geometry.record, mirror))
        else:
            raise damaged(f"record {number} of its file table and the mirror of it are both torn")
    if different and not _is_its_own(view, geometry):
        raise damaged("the mirror of its file table is not where it should be")
    for position, data in changes:
        view.write(position, data)


def _is_its_own(view: ByteView, geometry: Geometry) -> bool:
    """Whether the boot sector points at the clusters that the mirror's own record names."""
    mirror = find_data(view, geometry, RECORD_MIRROR)
    return mirror is not None and bool(mirror.runs) and mirror.runs[0].offset == geometry.mirror


def _read(view: ByteView, geometry: Geometry, table: int, number: int) -> bytes:
    return view.read(table + number * geometry.record, geometry.record)
