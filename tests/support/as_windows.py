"""A volume that ntfs-3g has filled, made as Windows leaves one: how it was formatted, and what was deleted.

ntfs-3g gives the root a security id as soon as it sets a right there, and takes that of the file table away
when the table grows; and on a volume made here, free clusters are zeros and the table has records to spare.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

from support.bricked_volume import mounted, odd_descriptor
from support.damage.ntfs_bytes import (
    BITMAP,
    CLUSTER_BITMAP,
    DATA,
    ROOT,
    SECURE,
    SECURITY,
    STANDARD,
    TABLE,
    NotHereError,
    NtfsBytes,
    insert_attribute,
    protected,
    remove_attribute,
    resident,
)

from unbrick.drill.options import dice

_FIRST_GIVEN = 64  # records below are given out by ntfs-3g only when its table grows
_OF_WINDOWS_2000 = slice(0x30, 0x48)
_SHORT = 0x30
_FORMATTED_WITH = struct.pack("<IIQQ", 3, 0x100, 4096, 0x684E)  # owner, rights, quota, change number
_DESCRIPTORS, _COPIES = "$SDS", 0x40000


def leave_as_windows(volume: Path, mountpoint: Path, formatted: Path | None = None) -> None:
    """Use up the table's records, put back how it was `formatted`, and fill what is free with old bytes.

    Without a volume to go by, the root has the 48 bytes of NTFS 1.2 and its rights in its record, as mkntfs
    makes it, and the table all of what later versions added.
    """
    with mounted(volume, mountpoint) as root:
        (root / "many").mkdir()  # which may make the table longer
    with mounted(volume, mountpoint) as root:
        for number in range(_free_records(volume)):
            (root / "many" / f"{number:03}").touch()
    data = bytearray(volume.read_bytes())
    changed = NtfsBytes(data)
    wanted = None
    if formatted is not None:
        with formatted.open("rb") as stream:
            wanted = NtfsBytes(bytearray(stream.read(len(data))))
    _put_back_table(changed, wanted)
    _put_back_root(changed, wanted)
    _fill_free_clusters(changed)
    _fill_behind_rights(changed)
    volume.write_bytes(data)


def _free_records(path: Path) -> int:
    volume = NtfsBytes(bytearray(path.read_bytes()))
    marks = int.from_bytes(volume.content(TABLE, BITMAP), "little")
    return sum(not marks >> number & 1 for number in range(_FIRST_GIVEN, volume.records))


def _put_back_table(volume: NtfsBytes, wanted: NtfsBytes | None) -> None:
    record = volume.read(TABLE)
    at = volume.find(record, STANDARD).value_at
    fields = _FORMATTED_WITH if wanted is None else wanted.content(TABLE, STANDARD)[_OF_WINDOWS_2000]
    record[at + _OF_WINDOWS_2000.start : at + _OF_WINDOWS_2000.stop] = fields
    volume.write(TABLE, record)
    mirror = volume.mirror_cluster * volume.cluster
    volume.data[mirror : mirror + volume.record] = protected(record)


def _put_back_root(volume: NtfsBytes, wanted: NtfsBytes | None) -> None:
    record = volume.read(ROOT)
    former = volume.content(ROOT, STANDARD)
    remove_attribute(record, volume.find(record, STANDARD))
    with suppress(NotHereError):  # where a security id has taken its place
        remove_attribute(record, volume.find(record, SECURITY))
    information = former[:_SHORT] if wanted is None else wanted.content(ROOT, STANDARD)
    rights = odd_descriptor() if wanted is None else wanted.content(ROOT, SECURITY)
    insert_attribute(record, resident(STANDARD, information))
    insert_attribute(record, resident(SECURITY, rights))
    volume.write(ROOT, record)


def _fill_free_clusters(volume: NtfsBytes) -> None:
    """With noise, and with records of files that were once there: readable, and of some file table."""
    rng = dice("as windows")
    marks = int.from_bytes(volume.content(CLUSTER_BITMAP, DATA), "little")
    record = volume.read(volume.find_record("\\many"))
    struct.pack_into("<I", record, 0x2C, 0xFFFFFF)
    old = (protected(record) * (volume.cluster // volume.record)).ljust(volume.cluster, b"\0")
    noise = rng.randbytes(volume.cluster)
    for number in range(volume.clusters):
        if not marks >> number & 1:
            place = number * volume.cluster
            volume.data[place : place + volume.cluster] = old if number % 4 else noise


def _fill_behind_rights(volume: NtfsBytes) -> None:
    """Behind the last of `$SDS`, and behind its copy: the next is written over what no driver has cleared."""
    content = volume.content(SECURE, DATA, _DESCRIPTORS)
    end = 0
    while content[end : end + 20] and struct.unpack_from("<Q", content, end + 8)[0] == end:
        end += struct.unpack_from("<I", content, end + 16)[0] + 15 & ~15
    runs = tuple(volume.runs(SECURE, DATA, _DESCRIPTORS))
    for start in (end, end + _COPIES):
        place = volume.place_in(runs, start)
        length = volume.cluster - place % volume.cluster
        volume.data[place : place + length] = b"\x5a" * length
