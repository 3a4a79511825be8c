"""Where the partitions lie: which kind of table a disk has, and whether its table can be believed.

Pure: reads a `RawView`. The rules for GPT (checksums, backup, protective MBR) are those of the UEFI
specification, chapter 5; `gpt_table.py` and `mbr_table.py` read the two kinds.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from unbrick.disks.identify.gpt_table import Copy, GptDamagedError, find_gpt
from unbrick.disks.identify.mbr_table import PROTECTIVE, read_mbr
from unbrick.disks.identify.partition import Partition, Table, TableKind
from unbrick.disks.raw_view import RawView
from unbrick.errors import NeedsHandsError, Reason

__all__ = ["Partition", "Table", "TableKind", "read_table"]


def read_table(view: RawView, sector_sizes: Sequence[int]) -> Table:
    """The partition table of a disk, read with the first of `sector_sizes` (bytes) that fits.

    A disk without a table gives `TableKind.NONE` and no partitions. Raises NeedsHandsError: `damaged-table`
    where neither copy of a GPT is sound, copies contradict each other, or partitions overlap; `truncated`
    where the table speaks of more bytes than there are.
    """
    mbr_types = _mbr_types(view)
    try:
        found = [gpt for size in sector_sizes if (gpt := find_gpt(view, size)) is not None]
    except GptDamagedError as error:
        raise _damaged(view, str(error)) from error
    if len(found) > 1:
        raise _damaged(view, "it has two partition tables, for different sector sizes")
    if not found:
        if PROTECTIVE in mbr_types:
            raise _damaged(view, "its first sector says GPT, but no sound GPT is there")
        table = read_mbr(view, sector_sizes)
        _check_partitions(view, table)
        return table
    gpt_table = _table_of(found[0], mbr_types)
    table = gpt_table or read_mbr(view, sector_sizes, ("an old GPT beside the MBR was ignored",))
    _check_partitions(view, table)
    return table


def _table_of(gpt: Copy, mbr_types: tuple[int, ...]) -> Table | None:
    """The GPT as a table; None where the MBR says that this disk is no GPT disk any more."""
    used = [kind for kind in mbr_types if kind]
    notes = list(gpt.notes)
    if used and PROTECTIVE not in used:
        return None
    if not used:
        notes.append("the protective MBR is missing")
    elif len(used) > 1:
        notes.append("the MBR is a hybrid; the GPT was used")
    return Table(TableKind.GPT, gpt.sector_size, gpt.guid, gpt.partitions, tuple(notes))


def _mbr_types(view: RawView) -> tuple[int, ...]:
    sector = view.read(0, 512)
    if len(sector) < 512 or sector[510:512] != b"\x55\xaa":
        return ()
    return tuple(sector[446 + 16 * index + 4] for index in range(4))


def _check_partitions(view: RawView, table: Table) -> None:
    for partition in table.partitions:
        if partition.offset + partition.length > view.size:
            missing = partition.offset + partition.length - view.size
            raise NeedsHandsError(
                f"{view.name}: partition {partition.number} ends {missing} bytes after the end of the disk",
                hint="the image or the disk is cut off: copy it again from its source",
                reason=Reason.TRUNCATED,
            )
    ordered = sorted(table.partitions, key=lambda partition: partition.offset)
    for before, after in pairwise(ordered):
        if before.offset + before.length > after.offset:
            raise _damaged(view, f"partitions {before.number} and {after.number} overlap")


def _damaged(view: RawView, what: str) -> NeedsHandsError:
    return NeedsHandsError(
        f"{view.name}: the partition table is damaged: {what}",
        hint="gdisk or testdisk can rebuild it; make a copy of the disk first",
        reason=Reason.DAMAGED_TABLE,
    )
