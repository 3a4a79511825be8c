"""What a disk is a member of: found by its signature, and never on an ordinary disk.

Positions are those of mdadm (`super-intel.c`, `super-ddf.c`, `md_p.h`), Linux's `ldm.h` and libblkid;
they are written out here as numbers on purpose.
"""

from __future__ import annotations

import struct

import pytest
from support.disk_bytes import MIB, gpt_disk, mbr_disk, view_of, windows_disk

from unbrick.disks.identify.members import (
    find_dynamic_disk,
    find_firmware_raid,
    find_linux_raid,
    find_storage_pool,
    has_pool_header,
)
from unbrick.disks.identify.partition_table import Table, read_table

SIZE = 8 * MIB
MD_MAGIC = struct.pack("<I", 0xA92B4EFC)


def table_of(disk: bytearray) -> Table:
    return read_table(view_of(disk), (512, 4096))


def put(disk: bytearray, at: int, raw: bytes) -> bytearray:
    disk[at : at + len(raw)] = raw
    return disk


def test_an_ordinary_windows_disk_is_a_member_of_nothing() -> None:
    disk = windows_disk(SIZE)
    view, table = view_of(disk), table_of(disk)
    assert find_firmware_raid(view) is None
    assert find_linux_raid(view) is None
    assert find_dynamic_disk(view, table) is None
    assert find_storage_pool(view, table) is None


@pytest.mark.parametrize("sector", [512, 4096])
def test_an_intel_raid_is_known_by_the_last_sector_but_one(sector: int) -> None:
    disk = put(windows_disk(SIZE), SIZE - 2 * sector, b"Intel Raid ISM Cfg Sig. 1.3.00" + bytes(100))
    found = find_firmware_raid(view_of(disk))
    assert found is not None
    assert (found.reason, "Intel" in found.text) == ("raid-member", True)


@pytest.mark.parametrize(
    ("at", "signature"),
    [
        (-512, b"\xde\x11\xde\x11"),
        (-512, b"\x11\xde\x11\xde"),
        (-4096, b"\xde\x11\xde\x11"),
        (-257 * 512, b"\xde\x11\xde\x11"),
        (-63 * 512, b"Promise Technology, Inc."),
        (-3087 * 512, b"Promise Technology, Inc."),
        (-2 * 512, b"NVIDIA  "),
        (-512, b"$XIDE$"),
        (-512 + 0x60, b"\x00\x00\x00\x2f"),
        (-512, b"\x37\xfc\x4d\x1e"),
        (-11 * 512, b"\xf3\x16\x78\x5a"),
    ],
)
def test_other_firmware_raids(at: int, signature: bytes) -> None:
    found = find_firmware_raid(view_of(put(windows_disk(SIZE), SIZE + at, signature)))
    assert found is not None
    assert found.reason == "raid-member"


@pytest.mark.parametrize(
    "at",
    [0, 4096, (SIZE - 8192) // 4096 * 4096, SIZE // 65536 * 65536 - 65536],
    ids=["1.1", "1.2", "1.0", "0.90"],
)
@pytest.mark.parametrize("magic", [MD_MAGIC, MD_MAGIC[::-1]])
def test_linux_software_raid(at: int, magic: bytes) -> None:
    found = find_linux_raid(view_of(put(bytearray(SIZE), at, magic)))
    assert found is not None
    assert (found.reason, found.offset) == ("raid-member", at)


@pytest.mark.parametrize(
    "kind", ["5808C8AA-7E8F-42E0-85D2-E1E90434CFB3", "AF9B60A0-1431-4F62-BC68-3311714A69AD"]
)
def test_a_dynamic_gpt_disk_is_known_by_its_partition_types(kind: str) -> None:
    disk = gpt_disk(SIZE, [(MIB, MIB, kind)])
    found = find_dynamic_disk(view_of(disk), table_of(disk))
    assert found is not None
    assert found.reason == "dynamic-disk"


def test_a_dynamic_mbr_disk_is_known_by_its_partition_type() -> None:
    disk = mbr_disk(SIZE, [(0x42, 63, 2048)])
    found = find_dynamic_disk(view_of(disk), table_of(disk))
    assert found is not None
    assert found.reason == "dynamic-disk"


@pytest.mark.parametrize(
    ("at", "signature"),
    [
        (6 * 512, b"PRIVHEAD"),
        (SIZE - 512, b"PRIVHEAD"),
        (SIZE - MIB + 512, b"TOCBLOCK"),
        (SIZE - MIB + 1024, b"TOCBLOCK"),
    ],
)
def test_a_dynamic_mbr_disk_is_known_by_its_database(at: int, signature: bytes) -> None:
    disk = put(mbr_disk(SIZE, [(0x07, 2048, 2048)]), at, signature)
    found = find_dynamic_disk(view_of(disk), table_of(disk))
    assert found is not None
    assert found.reason == "dynamic-disk"


def test_a_storage_pool_is_known_by_its_type_or_its_header() -> None:
    by_type = gpt_disk(SIZE, [(MIB, MIB, "E75CAF8F-F680-4CEE-AFA3-B001E56EFC2D")])
    by_header = put(bytearray(SIZE), 0, b"SPACEDB \x10\0")
    for disk in (by_type, by_header):
        found = find_storage_pool(view_of(disk), table_of(disk))
        assert found is not None
        assert found.reason == "storage-spaces"
    assert has_pool_header(view_of(put(bytearray(MIB), 4096, b"SPACEDB ")))


@pytest.mark.parametrize("size", [0, 1, 511, 512, 4096, 65535])
def test_a_tiny_disk_is_looked_at_without_harm(size: int) -> None:
    view = view_of(bytes(size))
    assert find_firmware_raid(view) is None
    assert find_linux_raid(view) is None
