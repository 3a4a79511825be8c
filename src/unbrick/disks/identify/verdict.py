"""What a disk and its volumes are, by their own bytes, and what may never be written.

It is first checked what a disk is a member of, because its content then looks like an ordinary disk's.
Partition types are believed only where they forbid (a dynamic disk, a storage pool), never where they allow.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from unbrick.disks.bitlocker.data_proof import holds_data
from unbrick.disks.bitlocker.metadata import looks_like_bitlocker, read_metadata
from unbrick.disks.identify.boot_sector import BootSector, has_ntfs_copy, judge_boot_sector
from unbrick.disks.identify.foreign_encryption import (
    find_boot_folder,
    find_encrypted_disk,
    find_encrypted_volume,
)
from unbrick.disks.identify.members import (
    DYNAMIC_TYPES,
    POOL_TYPE,
    Member,
    find_dynamic_disk,
    find_firmware_raid,
    find_linux_raid,
    find_storage_pool,
    has_pool_header,
    pool_member,
)
from unbrick.disks.identify.partition_table import Partition, Table, TableKind, read_table
from unbrick.disks.identify.second_opinion import as_member, list_members, name_volume
from unbrick.disks.raw_view import RawView
from unbrick.errors import NeedsHandsError, Reason, UnbrickError
from unbrick.model import Volume, VolumeKind, VolumeState
from unbrick.processes.command import Runner

_FOLDER_SECONDS = 30.0
_BASIC_DATA = frozenset({"EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"})


@dataclass(frozen=True)
class Source:
    """The open disk that volumes are read from: `raw` for programs, `stream` and `view` for unbrick itself.

    `ignore_raid`: a person says that RAID signatures are stale; those `ignored` are gathered.
    """

    raw: Path
    stream: BinaryIO
    view: RawView
    runner: Runner
    ignore_raid: bool = False
    ignored: list[Member] = field(default_factory=list)

    def unless_ignored(self, member: Member | None) -> Member | None:
        if member is None or member.kind is not VolumeKind.RAID_MEMBER or not self.ignore_raid:
            return member
        self.ignored.append(member)
        return None


@dataclass(frozen=True)
class Verdict:
    """What a disk is. `refusal`, `refusal_text` and `notes` as in `Disk`."""

    table: Table
    volumes: tuple[Volume, ...]
    refusal: str | None
    refusal_text: str | None
    notes: tuple[str, ...]


def judge_disk(source: Source, sector_sizes: tuple[int, ...]) -> Verdict:
    """Read the table, recognise what the disk belongs to, and identify every volume.

    Raises NeedsHandsError (damaged-table, truncated) where the disk is no member of anything and its table
    cannot be believed, FailedError (unreadable-disk).
    """
    member = source.unless_ignored(find_firmware_raid(source.view)) or find_encrypted_disk(source.view)
    try:
        table = _read_table(source.view, sector_sizes)
    except NeedsHandsError:
        # The table of a RAID's member may be cut off or split: its being a member is then the answer.
        if member is None:
            raise
        table = Table(TableKind.NONE, sector_sizes[0], None, ())
    member = member or _find_member_with(source, table)
    partitions = (None,) if table.kind is TableKind.NONE else table.partitions
    volumes = tuple(_identify_volume(source, partition) for partition in partitions)
    volumes = _name_unreadable_volumes(source, table, volumes)
    pools = [volume.offset for volume in volumes if volume.kind is VolumeKind.STORAGE_SPACES]
    if member is None and pools:
        member = pool_member(pools[0])
    notes = (*table.notes, *_notes_of_ignored(source))
    if member is None:
        return Verdict(table, volumes, None, None, notes)
    text = f"{source.view.name} is {member.text}: nothing on it may be written"
    return Verdict(table, _refuse_all(volumes, member, table), member.reason, text, notes)


def _notes_of_ignored(source: Source) -> list[str]:
    if source.ignore_raid and not source.ignored:
        return ["--ignore-signature raid was not needed: there is no RAID signature on this disk"]
    texts = dict.fromkeys(f"{member.text} (byte {member.offset})" for member in source.ignored)
    return [f"ignored, as --ignore-signature raid says: it is marked as {text}" for text in texts]


def _read_table(view: RawView, sector_sizes: tuple[int, ...]) -> Table:
    # A volume without a table also ends its first sector with 55 AA: so volumes are recognised first.
    no_table = Table(TableKind.NONE, sector_sizes[0], None, ())
    if looks_like_bitlocker(view.read(0, 512)):
        return no_table
    match judge_boot_sector(view):
        case BootSector.NONE:
            return read_table(view, sector_sizes)
        case BootSector.FAT:
            # A boot loader written over a former FAT leaves its fields standing in front of the table.
            try:
                return read_table(view, sector_sizes)
            except NeedsHandsError:
                return no_table
        case _:
            return no_table


def _find_member_with(source: Source, table: Table) -> Member | None:
    """A member that is recognised by the table: a signature may be the disk's or its last partition's."""
    found = find_dynamic_disk(source.view, table) or find_storage_pool(source.view, table)
    if found:
        return found
    suspects = [find_linux_raid(source.view), *list_members(source.raw, source.runner)]
    for suspect in suspects:
        if suspect is None or _belongs_to_partition(source, table, suspect):
            continue
        if source.unless_ignored(suspect) is not None:
            return suspect
    return None


def _belongs_to_partition(source: Source, table: Table, suspect: Member) -> bool:
    for partition in table.partitions:
        if partition.offset <= suspect.offset < partition.offset + partition.length:
            own = find_linux_raid(source.view.window(partition.offset, partition.length))
            return own is not None and partition.offset + own.offset == suspect.offset
    return False


def _refuse_all(volumes: tuple[Volume, ...], member: Member, table: Table) -> tuple[Volume, ...]:
    refused = tuple(replace(volume, refusal=volume.refusal or str(member.reason)) for volume in volumes)
    if table.kind is TableKind.NONE and refused[0].kind is VolumeKind.UNKNOWN:
        return (replace(refused[0], kind=member.kind),)
    return refused


def _name_unreadable_volumes(source: Source, table: Table, volumes: tuple[Volume, ...]) -> tuple[Volume, ...]:
    """Windows partitions without any signature are encrypted where another vendor's boot program is there.

    The boot program alone proves nothing: it is often left behind when a disk is decrypted.
    """
    types = {partition.number: partition.type for partition in table.partitions}
    unnamed = [
        volume
        for volume in volumes
        if (volume.kind, volume.state) == (VolumeKind.UNKNOWN, VolumeState.OPEN)
        and types.get(volume.partition or 0) in _BASIC_DATA
        and any(source.view.read(volume.offset, 4096))
    ]
    member = _find_boot_program(source, volumes) if unnamed else None
    if member is None:
        return volumes
    kind, state, reason = member.kind, VolumeState.LOCKED, str(member.reason)
    return tuple(
        replace(volume, kind=kind, state=state, refusal=reason) if volume in unnamed else volume
        for volume in volumes
    )


def _find_boot_program(source: Source, volumes: tuple[Volume, ...]) -> Member | None:
    for volume in volumes:
        if volume.kind is VolumeKind.FAT:
            argv = ["mdir", "-b", "-i", f"{source.raw}@@{volume.offset}", "::/EFI"]
            listing = source.runner.run(argv, timeout=_FOLDER_SECONDS, ok=None)
            lines = listing.stdout.decode(errors="replace").splitlines()
            found = find_boot_folder(line.rstrip("/").rsplit("/", 1)[-1] for line in lines)
            if found:
                return found
    return None


def _identify_volume(source: Source, partition: Partition | None) -> Volume:
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
    member = _find_member_of(source, view, partition_type)
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


def _find_member_of(source: Source, view: RawView, partition_type: str | None) -> Member | None:
    """What one volume is a member of."""
    if partition_type in DYNAMIC_TYPES:
        return Member(VolumeKind.LDM, Reason.DYNAMIC_DISK, "part of a Windows dynamic disk", 0)
    if has_pool_header(view) or partition_type == POOL_TYPE:
        return Member(VolumeKind.STORAGE_SPACES, Reason.STORAGE_SPACES, "part of a storage pool", 0)
    return source.unless_ignored(find_linux_raid(view)) or find_encrypted_volume(view, partition_type)


def _identify_bitlocker(source: Source, plain: Volume) -> Volume:
    try:
        metadata = read_metadata(source.stream, plain.offset, plain.length)
    except UnbrickError as error:
        sound = error.reason == Reason.UNSUPPORTED_BITLOCKER
        state = VolumeState.LOCKED if sound else VolumeState.DAMAGED
        return _changed(plain, VolumeKind.BITLOCKER, state, error.reason)
    converting = metadata.state is VolumeState.CONVERTING
    return replace(
        plain,
        kind=VolumeKind.BITLOCKER,
        state=metadata.state,
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
        member = source.unless_ignored(as_member(word, 0))
        return _as_part(plain, member) if member else plain
    if has_ntfs_copy(view):
        return _changed(plain, VolumeKind.NTFS, VolumeState.DAMAGED, Reason.DAMAGED_VOLUME)
    return plain


def _as_part(plain: Volume, member: Member) -> Volume:
    locked = member.kind is VolumeKind.FOREIGN_ENCRYPTION
    return _changed(plain, member.kind, VolumeState.LOCKED if locked else VolumeState.OPEN, member.reason)


def _changed(plain: Volume, kind: VolumeKind, state: VolumeState, refusal: str | None = None) -> Volume:
    return replace(plain, kind=kind, state=state, refusal=str(refusal) if refusal else None)
