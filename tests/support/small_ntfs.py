"""A hand-made NTFS of 4 MiB, just whole enough to be looked at by what encrypts one; no tool, no mount."""

from __future__ import annotations

import struct

CLUSTER = 4096
CLUSTERS = 1023
LENGTH = 1024 * CLUSTER
FILL_CLUSTER = 300
_RECORD = 1024
_MFT_CLUSTER, _MFT_CLUSTERS = 4, 16
_MIRROR_CLUSTER = 1
_BITMAP_CLUSTER = 24

Runs = list[tuple[int | None, int]]


def pack_runs(runs: Runs) -> bytes:
    """NTFS's packed list of (cluster or None for a hole, number of clusters)."""
    packed, last = b"", 0
    for cluster, count in runs:
        if cluster is None:
            packed += b"\x02" + count.to_bytes(2, "little")
        else:
            packed += (
                b"\x32" + count.to_bytes(2, "little") + (cluster - last).to_bytes(3, "little", signed=True)
            )
            last = cluster
    return packed + b"\x00"


def file_record(name: str, size: int, runs: Runs, *, in_use: bool = True, short_name: str = "") -> bytes:
    """A file record with its names and its data outside the record."""
    names = [(short_name, 2)] * bool(short_name) + [(name, 1)]
    attributes = b"".join(_file_name(text, space) for text, space in names)
    attributes += _data(size, runs) + b"\xff\xff\xff\xff"
    head = b"FILE" + struct.pack("<HHQHHHHII", 48, 3, 0, 1, 1, 56, int(in_use), 0, _RECORD)
    record = bytearray((head.ljust(56, b"\0") + attributes).ljust(_RECORD, b"\0"))
    record[48:50] = b"\x07\x00"
    for index, end in enumerate((512, 1024), start=1):
        record[48 + 2 * index : 50 + 2 * index] = record[end - 2 : end]
        record[end - 2 : end] = b"\x07\x00"
    return bytes(record)


def build(files: dict[str, tuple[int, Runs]], fill: bytes = b"") -> bytearray:
    """The volume with those files (name: size, runs) on used clusters; `fill` goes to cluster 300."""
    image = bytearray(LENGTH)
    image[3:11] = b"NTFS    "
    struct.pack_into("<HB", image, 0x0B, 512, 8)
    struct.pack_into("<3Q", image, 0x28, CLUSTERS * 8, _MFT_CLUSTER, _MIRROR_CLUSTER)
    struct.pack_into("<b", image, 0x40, -10)
    image[510:512] = b"\x55\xaa"
    image[512:1024] = b"boot code" * 56 + b"12345678"
    records = {
        0: file_record("$MFT", _MFT_CLUSTERS * CLUSTER, [(_MFT_CLUSTER, _MFT_CLUSTERS)]),
        6: file_record("$Bitmap", 128, [(_BITMAP_CLUSTER, 1)]),
    }
    for number, (name, (size, runs)) in enumerate(files.items(), start=24):
        records[number] = file_record(name, size, runs, short_name="FVE2_~1")
    for number, record in records.items():
        start = _MFT_CLUSTER * CLUSTER + number * _RECORD
        image[start : start + _RECORD] = record
    fill_clusters = -(-len(fill) // CLUSTER)
    every_run = [run for _, runs in files.values() for run in runs]
    used = [
        (0, 2),
        (_MFT_CLUSTER, _MFT_CLUSTERS),
        (_BITMAP_CLUSTER, 1),
        (FILL_CLUSTER, fill_clusters),
        *every_run,
    ]
    bitmap = 0
    for cluster, count in used:
        if cluster is not None and cluster < CLUSTERS:
            bitmap |= ((1 << count) - 1) << cluster
    image[_BITMAP_CLUSTER * CLUSTER : _BITMAP_CLUSTER * CLUSTER + 128] = bitmap.to_bytes(128, "little")
    image[FILL_CLUSTER * CLUSTER : FILL_CLUSTER * CLUSTER + len(fill)] = fill
    image[-512:] = image[:512]
    return image


def _file_name(name: str, space: int) -> bytes:
    value = bytes(64) + bytes([len(name), space]) + name.encode("utf-16-le")
    length = (24 + len(value) + 7) & ~7
    head = struct.pack("<IIBBHHHIHH", 0x30, length, 0, 0, 24, 0, 0, len(value), 24, 1)
    return (head + value).ljust(length, b"\0")


def _data(size: int, runs: Runs) -> bytes:
    packed = pack_runs(runs)
    length = (64 + len(packed) + 7) & ~7
    sizes = (sum(count for _, count in runs) * CLUSTER, size, size)
    head = struct.pack("<IIBBHHHQQHHI3Q", 0x80, length, 1, 0, 64, 0, 1, 0, 0, 64, 0, 0, *sizes)
    return (head + packed).ljust(length, b"\0")
