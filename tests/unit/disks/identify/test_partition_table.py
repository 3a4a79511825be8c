"""Partition tables: which one is believed, and what is refused rather than guessed."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.disk_bytes import (
    BASIC_DATA,
    DISK_GUID,
    MIB,
    gpt_disk,
    gpt_header,
    mbr_disk,
    ntfs_boot_sector,
    put_mbr,
    view_of,
    windows_disk,
)

from unbrick.disks.identify.partition_table import Table, TableKind, read_table
from unbrick.errors import NeedsHandsError, UnbrickError

SIZES = (512, 4096)
SIZE = 16 * MIB
ONE = [(MIB, 4 * MIB, BASIC_DATA)]


def table_of(disk: bytes | bytearray) -> Table:
    return read_table(view_of(disk), SIZES)


def table_or_reason(disk: bytes | bytearray) -> Table | str | None:
    try:
        return table_of(disk)
    except UnbrickError as error:
        return error.reason


def reason_for(disk: bytes | bytearray) -> str | None:
    with pytest.raises(NeedsHandsError) as caught:
        table_of(disk)
    return caught.value.reason


@pytest.mark.parametrize("sector", SIZES)
def test_a_sound_gpt(sector: int) -> None:
    table = table_of(gpt_disk(SIZE, ONE, sector))
    assert (table.kind, table.sector_size, table.guid) == (TableKind.GPT, sector, DISK_GUID)
    assert [(p.number, p.offset, p.length, p.type) for p in table.partitions] == [(1, *ONE[0])]
    assert table.notes == ()


@pytest.mark.parametrize("sector", SIZES)
def test_a_damaged_primary_is_read_from_the_backup(sector: int) -> None:
    disk = gpt_disk(SIZE, ONE, sector)
    disk[sector + 60] ^= 1
    table = table_of(disk)
    assert [p.offset for p in table.partitions] == [MIB]
    assert "fails its checksum; the backup was used" in table.notes[0]


def test_a_missing_primary_is_read_from_the_backup() -> None:
    disk = gpt_disk(SIZE, ONE)
    disk[512 : 512 + 512 * 33] = bytes(512 * 33)
    assert "the primary GPT is missing" in table_of(disk).notes[0]


def test_a_damaged_backup_is_noted() -> None:
    disk = gpt_disk(SIZE, ONE)
    disk[-512 + 60] ^= 1
    table = table_of(disk)
    assert [p.offset for p in table.partitions] == [MIB]
    assert "the backup GPT fails its checksum" in table.notes[0]


def test_damage_in_the_list_of_partitions_is_seen() -> None:
    disk = gpt_disk(SIZE, ONE)
    disk[1024 + 40] ^= 1
    assert "list of partitions" in table_of(disk).notes[0]


def test_two_damaged_copies_are_refused() -> None:
    disk = gpt_disk(SIZE, ONE)
    disk[512 + 60] ^= 1
    disk[-512 + 60] ^= 1
    assert reason_for(disk) == "damaged-table"


def test_copies_that_contradict_each_other_are_refused() -> None:
    disk = gpt_disk(SIZE, ONE)
    other = gpt_disk(SIZE, [(2 * MIB, 4 * MIB, BASIC_DATA)])
    disk[-33 * 512 :] = other[-33 * 512 :]
    assert reason_for(disk) == "damaged-table"


def test_a_protective_mbr_without_any_gpt_is_refused() -> None:
    disk = gpt_disk(SIZE, ONE)
    disk[512 : 34 * 512] = bytes(33 * 512)
    disk[-33 * 512 :] = bytes(33 * 512)
    assert reason_for(disk) == "damaged-table"


def test_tables_for_two_sector_sizes_are_refused() -> None:
    disk = gpt_disk(SIZE, [(4 * MIB, MIB, BASIC_DATA)], 4096)
    small = gpt_disk(SIZE, [])
    disk[512:1024] = small[512:1024]
    # 512-byte entries would overlap the 4096-byte header: place them after it, and sign again.
    disk[512 * 64 : 512 * 64 + 16384] = small[1024 : 1024 + 16384]
    last = SIZE // 512 - 1
    disk[512 : 512 + 92] = gpt_header(1, last, (200, last - 200), 64, bytes(16384))
    assert reason_for(disk) == "damaged-table"


def test_a_cut_off_gpt_disk_is_truncated() -> None:
    assert reason_for(gpt_disk(SIZE, ONE)[: 2 * MIB - 512]) == "truncated"
    assert reason_for(gpt_disk(SIZE, ONE)[: MIB + 512]) == "truncated"


@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize("missing", [512, 4096, MIB])
def test_a_backup_that_is_cut_off_is_not_needed(sector: int, missing: int) -> None:
    disk = gpt_disk(SIZE, ONE, sector)[: SIZE - missing]
    table = read_table(view_of(disk), (sector,))
    assert [p.offset for p in table.partitions] == [MIB]
    (note,) = table.notes
    assert note.startswith(f"the disk is {missing} bytes shorter")


@pytest.mark.parametrize("at", [512 + 16, 1024 + 32], ids=["the header's checksum", "the list's checksum"])
def test_a_backup_that_is_cut_off_is_wanted_where_the_primary_is_damaged(at: int) -> None:
    disk = gpt_disk(SIZE, ONE)
    disk[at] ^= 0xFF
    assert [p.offset for p in table_of(disk).partitions] == [MIB]
    assert reason_for(disk[:-512]) == "damaged-table"


def test_a_disk_that_grew_and_lost_its_primary_has_the_backup_where_that_says() -> None:
    disk = gpt_disk(SIZE, ONE)
    disk[512 + 16] ^= 0xFF
    table = table_of(disk + bytes(MIB))
    assert [p.offset for p in table.partitions] == [MIB]
    assert "the backup was used" in table.notes[0]


def test_an_old_backup_where_a_damaged_primary_points_must_be_sound_too() -> None:
    disk = gpt_disk(SIZE, ONE)
    disk[512 + 16] ^= 0xFF
    disk[-512 + 60] ^= 0xFF
    assert reason_for(disk + bytes(MIB)) == "damaged-table"


def test_a_disk_that_grew_keeps_its_table() -> None:
    table = table_of(gpt_disk(SIZE, ONE) + bytes(MIB))
    assert [p.offset for p in table.partitions] == [MIB]


def test_overlapping_partitions_are_refused() -> None:
    overlapping = [(MIB, 4 * MIB, BASIC_DATA), (3 * MIB, MIB, BASIC_DATA)]
    assert reason_for(gpt_disk(SIZE, overlapping)) == "damaged-table"
    assert reason_for(mbr_disk(SIZE, [(7, 2048, 4096), (7, 4096, 4096)])) == "damaged-table"


def test_a_gpt_without_protective_mbr_is_used_with_a_note() -> None:
    table = table_of(gpt_disk(SIZE, ONE, protective=False))
    assert table.kind is TableKind.GPT
    assert table.notes == ("the protective MBR is missing",)


def test_an_mbr_beside_an_old_gpt_wins() -> None:
    disk = gpt_disk(SIZE, ONE, protective=False)
    put_mbr(disk, 0, [(7, 4096, 4096)])
    table = table_of(disk)
    assert (table.kind, table.partitions[0].offset) == (TableKind.MBR, 4096 * 512)
    assert "old GPT" in table.notes[0]


def test_a_hybrid_mbr_is_noted() -> None:
    disk = gpt_disk(SIZE, ONE)
    put_mbr(disk, 0, [(0xEE, 1, 2047), (7, 2048, 8192)])
    assert "hybrid" in table_of(disk).notes[0]


def test_an_mbr_with_logical_partitions() -> None:
    disk = mbr_disk(SIZE, [(7, 2048, 2048), (0x0F, 8192, 16384)])
    put_mbr(disk, 8192 * 512, [(7, 64, 1000), (5, 4096, 4096)])
    put_mbr(disk, (8192 + 4096) * 512, [(0x83, 64, 2000)])
    table = table_of(disk)
    assert (table.kind, table.guid) == (TableKind.MBR, "1A2B3C4D")
    assert [(p.number, p.offset // 512, p.length // 512, p.type) for p in table.partitions] == [
        (1, 2048, 2048, "07"),
        (5, 8192 + 64, 1000, "07"),
        (6, 8192 + 4096 + 64, 2000, "83"),
    ]


def test_a_chain_of_logical_partitions_that_loops_is_refused() -> None:
    disk = mbr_disk(SIZE, [(5, 8192, 16384)])
    put_mbr(disk, 8192 * 512, [(7, 64, 100), (5, 4096, 100)])
    put_mbr(disk, (8192 + 4096) * 512, [(7, 64, 100), (5, 0, 100)])
    assert reason_for(disk) == "damaged-table"


def test_a_broken_chain_is_refused_and_an_empty_one_is_not() -> None:
    disk = mbr_disk(SIZE, [(5, 8192, 16384)])
    assert table_of(disk).partitions == ()
    disk[8192 * 512] = 1
    assert reason_for(disk) == "damaged-table"


def test_an_mbr_partition_past_the_end_is_truncated() -> None:
    assert reason_for(mbr_disk(SIZE, [(7, 2048, 1 << 20)])) == "truncated"


def test_an_mbr_with_large_sectors_is_told_by_what_its_partitions_begin_with() -> None:
    disk = mbr_disk(SIZE, [(7, 256, 512)])
    disk[256 * 4096 : 256 * 4096 + 512] = ntfs_boot_sector(512 * 4096, 4096)
    table = table_of(disk)
    assert (table.sector_size, table.partitions[0].offset) == (4096, 256 * 4096)


def test_an_empty_disk_has_no_table() -> None:
    table = table_of(bytes(SIZE))
    assert (table.kind, table.guid, table.partitions) == (TableKind.NONE, None, ())
    assert table_of(bytes(512)).kind is TableKind.NONE


def test_a_boot_sector_with_text_where_the_table_would_be_is_no_table() -> None:
    disk = bytearray(SIZE)
    disk[446:510] = b"A disk read error occurred. BOOTMGR is missing. Press Ctrl+Alt+D"
    disk[510:512] = b"\x55\xaa"
    assert table_of(disk).kind is TableKind.NONE


def test_an_absurd_number_of_partitions_is_refused_without_reading_it() -> None:
    disk = gpt_disk(SIZE, ONE)
    for at in (512, SIZE - 512):
        struct.pack_into("<I", disk, at + 80, 0xFFFFFFFF)
        sign(disk, at)
    assert reason_for(disk) == "damaged-table"


def sign(disk: bytearray, at: int) -> None:
    disk[at + 16 : at + 20] = bytes(4)
    struct.pack_into("<I", disk, at + 16, zlib.crc32(disk[at : at + 92]))


@given(st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 255)), min_size=1, max_size=40))
def test_no_damage_to_a_table_gets_past_us_as_anything_but_our_errors(changes: list[tuple[int, int]]) -> None:
    disk = windows_disk()
    for position, value in changes:
        disk[position] = value
    table = table_or_reason(disk)
    if isinstance(table, Table):
        assert all(p.offset + p.length <= len(disk) for p in table.partitions)
    else:
        assert table in {"damaged-table", "truncated"}


@given(st.binary(max_size=2048))
def test_any_bytes_give_a_table_or_our_error(raw: bytes) -> None:
    table = table_or_reason(raw)
    assert isinstance(table, Table) or table in {"damaged-table", "truncated"}
