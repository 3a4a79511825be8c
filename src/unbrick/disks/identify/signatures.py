"""What a volume is, by its own bytes, and whether anything may ever be written to it.

Partition types are believed only where they forbid (a dynamic disk, a storage pool), never where they allow.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from unbrick.disks.bitlocker.data_proof import holds_data
from unbrick.disks.bitlocker.metadata import looks_like_bitlocker, read_metadata
from unbrick.disks.identify.boot_sector import BootSector, has_ntfs_copy, judge_boot_sector
from unbrick.disks.identify.foreign_encryption import find_encrypted_volume
from unbrick.disks.identify.members import (
    DYNAMIC_TYPES,
    POOL_TYPE,
    Member,
    find_linux_raid,
    has_pool_header,
)
from unbrick.disks.identify.partition_table import Partition
from unbrick.disks.identify.second_opinion import as_member, name_volume
from unbrick.disks.raw_view import RawView
from unbrick.errors import Reason, UnbrickError
from unbrick.model import Volume, VolumeKind, VolumeState
from unbrick.processes.command import Runner


@dataclass(frozen=True)
class Source:
    """The open disk that volumes are read from: `raw` for programs, `stream` for this one.

    `ignore_raid`: a person says that RAID signatures are stale; those `ignored` are gathered.
    """

    raw: Path
    stream: BinaryIO
    view: RawView
    runner: Runner
    ignore_raid: bool = False
    ignored: list[Member] = field(default_factory=list)

    def heed(self, member: Member | None) -> Member | None:
        """The member, unless it is a RAID's and is to be ignored."""
        if member is None or member.kind is not VolumeKind.RAID_MEMBER or not self.ignore_raid:
            return member
        self.ignored.append(member)
        return None


def identify_volume(source: Source, partition: Partition | None) -> Volume:
    """What one partition holds, or the whole disk where there is no table.

    A volume that cannot be read is `damaged` with the reason of the failure, and the others are still listed.
    """
    view = source.view
    if partition is not None:
        view = view.window(partition.offset, partition.length)
    offset = partition.offset if partition else 0
    number = partition.number if partition else None
    plain = Volume(number, offset, view.size, VolumeKind.UNKNOWN, VolumeState.OPEN)
    try:
        return _identify(source, view, plain, partition.type if partition else None)
    except UnbrickError as error:
        return _changed(plain, VolumeKind.UNKNOWN, VolumeState.DAMAGED, error.reason)


def _identify(source: Source, view: RawView, plain: Volume, partition_type: str | None) -> Volume:
    member = _find_member(source, view, partition_type)
    if member is not None:
        return _as_part(plain, member)
    if looks_like_bitlocker(view.read(0, 512)):
        return _identify_bitlocker(source, plain)
    match judge_boot_sector(view):
        case BootSector.NTFS:
            return _changed(plain, VolumeKind.NTFS, VolumeState.OPEN)
        case BootSector.DAMAGED_NTFS:
            return _changed(plain, VolumeKind.NTFS, VolumeState.DAMAGED, Reason.DAMAGED_VOLUME)
        case BootSector.CUT_NTFS:
            return _changed(plain, VolumeKind.NTFS, VolumeState.DAMAGED, Reason.TRUNCATED)
        case BootSector.REFS:
            return _changed(plain, VolumeKind.REFS, VolumeState.OPEN, Reason.REFS)
        case BootSector.FAT:
            return _changed(plain, VolumeKind.FAT, VolumeState.OPEN)
        case BootSector.NONE:
            return _identify_other(source, view, plain)


def _find_member(source: Source, view: RawView, partition_type: str | None) -> Member | None:
    if partition_type in DYNAMIC_TYPES:
        return Member(VolumeKind.LDM, Reason.DYNAMIC_DISK, "part of a Windows dynamic disk", 0)
    if has_pool_header(view) or partition_type == POOL_TYPE:
        return Member(VolumeKind.STORAGE_SPACES, Reason.STORAGE_SPACES, "part of a storage pool", 0)
    return source.heed(find_linux_raid(view)) or find_encrypted_volume(view, partition_type)


def _identify_bitlocker(source: Source, plain: Volume) -> Volume:
    try:
        metadata = read_metadata(source.stream, plain.offset, plain.length)
    except UnbrickError as error:
        sound = error.reason == Reason.UNSUPPORTED_BITLOCKER
        state = VolumeState.LOCKED if sound else VolumeState.DAMAGED
        return _changed(plain, VolumeKind.BITLOCKER, state, error.reason)
    converting = metadata.state is VolumeState.CONVERTING
    return Volume(
        plain.partition,
        plain.offset,
        plain.length,
        VolumeKind.BITLOCKER,
        metadata.state,
        protectors=metadata.protectors,
        method=metadata.method,
        description=metadata.description,
        refusal=Reason.CONVERTING.value if converting else None,
        guid=metadata.guid,
        holds_data=holds_data(metadata),
    )


def _identify_other(source: Source, view: RawView, plain: Volume) -> Volume:
    # util-linux knows more formats than unbrick, and NTFS keeps a copy of its first sector.
    word = name_volume(source.raw, plain.offset, plain.length, source.runner) if plain.length else None
    if word is not None:
        member = source.heed(as_member(word, 0))
        return _as_part(plain, member) if member else plain
    if has_ntfs_copy(view):
        return _changed(plain, VolumeKind.NTFS, VolumeState.DAMAGED, Reason.DAMAGED_VOLUME)
    return plain


def _as_part(plain: Volume, member: Member) -> Volume:
    locked = member.kind is VolumeKind.FOREIGN_ENCRYPTION
    return _changed(plain, member.kind, VolumeState.LOCKED if locked else VolumeState.OPEN, member.reason)


def _changed(plain: Volume, kind: VolumeKind, state: VolumeState, refusal: str | None = None) -> Volume:
    word = str(refusal) if refusal else None
    return Volume(plain.partition, plain.offset, plain.length, kind, state, refusal=word)
