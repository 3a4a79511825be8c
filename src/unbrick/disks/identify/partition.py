"""What a partition and a partition table are; shared by the readers of the two kinds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class TableKind(StrEnum):
    """The kinds of partition table."""

    GPT = "gpt"
    MBR = "mbr"
    NONE = "none"


@dataclass(frozen=True)
class Partition:
    """One partition; `offset` and `length` are bytes. `type` is a GUID (GPT, upper case) or 2 hex digits."""

    number: int
    offset: int
    length: int
    type: str


@dataclass(frozen=True)
class Table:
    """A partition table that was found sound. `guid` is the GPT's disk GUID or the MBR's 8 hex digits."""

    kind: TableKind
    sector_size: int
    guid: str | None
    partitions: tuple[Partition, ...]
    notes: tuple[str, ...] = ()
