"""Proves that preparing a volume for writing stays within its purpose.

A journal that is replayed writes what is on the disk, and that may be damaged: it may reach the file system's
own structures, never a user's data. A journal is emptied, and a hibernation discarded, only where that is
certainly what is there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from unbrick.disks.ntfs.file_table import FileTable, open_table
from unbrick.disks.ntfs.log import find_strange_page, is_log_page
from unbrick.disks.ntfs.recognise import index_block_size, is_index_block
from unbrick.disks.ntfs.stream import Stream
from unbrick.disks.ntfs.structures import (
    DATA,
    INDEX_ALLOCATION,
    RECORD_LOG_FILE,
    REFERENCE,
    ByteView,
    Geometry,
    damaged,
)
from unbrick.disks.proof.changed_records import INDEX
from unbrick.disks.proof.ownership import (
    CLUSTER_MAP,
    SECTOR,
    Question,
    are_marked,
    claimed_only_by,
    expect_apart,
    expect_mirrored,
    holds_no_users_data,
    questions_about_slots,
    stream_of,
)

_PAGE = 4096


def prove_metadata(
    base: ByteView, prepared: ByteView, geometry: Geometry, sectors: Iterable[int]
) -> list[Question]:
    """Check sectors that differ by a replayed journal or a mended mirror; returns the questions left.

    Raises NeedsHandsError (damaged-volume), OSError.
    """
    table = open_table(prepared, geometry)
    expect_apart(table)
    log = _log(prepared, base, geometry)
    in_table: set[int] = set()
    elsewhere: list[int] = []
    questions: list[Question] = []
    for sector in sectors:
        position, in_log = table.stream.position_of(sector), log.position_of(sector)
        if position is not None:
            in_table.add(position // geometry.record)
        elif in_log is not None:
            questions.append(_about_log_page(log, in_log, sector))
        elif not expect_mirrored(table, sector):
            elsewhere.append(sector)
    questions += questions_about_slots(table, in_table)
    questions += [
        holds_no_users_data(sector, SECTOR, shown=_is_index_of_its_folder(table, sector))
        for sector in elsewhere
    ]
    return questions


def prove_reset(base: ByteView, prepared: ByteView, geometry: Geometry) -> list[Question]:
    """Check that everything in the journal's clusters is a journal; returns the questions left.

    Raises NeedsHandsError (damaged-volume), OSError.
    """
    table = open_table(prepared, geometry)
    expect_apart(table)
    log = _log(prepared, base, geometry)
    if find_strange_page(log) is not None:
        raise damaged("its $LogFile holds what is no journal")
    bitmap = stream_of(table, CLUSTER_MAP, DATA, "")
    for offset, length in log.extents():
        first, end = offset // geometry.cluster, (offset + length) // geometry.cluster
        if bitmap is None or not are_marked(bitmap, first, end, used=True):
            raise damaged("its bitmap calls clusters of its $LogFile free")
    return [claimed_only_by(*extent, RECORD_LOG_FILE, DATA) for extent in log.extents()]


def _log(prepared: ByteView, base: ByteView, geometry: Geometry) -> Stream:
    """The journal as it is on the disk, found by the table as it will be."""
    found = open_table(prepared, geometry).find_attribute(RECORD_LOG_FILE, DATA)
    if found is None or found.value is not None:
        raise damaged("its $LogFile is not where it should be")
    return Stream(base, found.runs, found.size)


def _about_log_page(log: Stream, position: int, sector: int) -> Question:
    page = log.read(position // _PAGE * _PAGE, _PAGE)
    if not is_log_page(page):
        raise damaged("its $LogFile holds what is no journal")
    blank = page[:4] == b"\xff\xff\xff\xff"  # which a file may hold, too
    return claimed_only_by(sector, SECTOR, RECORD_LOG_FILE, DATA, shown=not blank)


def _is_index_of_its_folder(table: FileTable, sector: int) -> bool:
    """Whether a sector is in an index block of the folder that the block's entries name."""
    for start in range(sector, sector - 2 * _PAGE, -SECTOR):
        head = table.view.read(start, SECTOR) if start >= 0 else b""
        if head[:4] != b"INDX":
            continue
        (first,) = struct.unpack_from("<I", head, 0x18)
        at = 0x18 + first + 16
        folder = int.from_bytes(head[at : at + 8], "little") & REFERENCE if at + 8 <= SECTOR else None
        record = table.find_used(folder) if folder is not None else None
        if folder is None or record is None or not record.is_folder:
            return False
        blocks = stream_of(table, folder, INDEX_ALLOCATION, INDEX)
        position = blocks.position_of(sector) if blocks is not None else None
        if blocks is None or position is None:
            return False
        size = index_block_size(table, folder, INDEX)
        return is_index_block(blocks, position, size, table.geometry.cluster, folder)
    return False
