"""What a whole disk is: its volumes, and whether nothing on it may ever be written.

It is first checked what the disk is a member of, because its content then looks like an ordinary disk's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from unbrick.disks.bitlocker.metadata import looks_like_bitlocker
from unbrick.disks.identify.boot_sector import BootSector, judge_boot_sector
from unbrick.disks.identify.foreign_encryption import find_boot_folder, find_encrypted_disk
from unbrick.disks.identify.members import (
    Member,
    find_dynamic_disk,
    find_firmware_raid,
    find_linux_raid,
    find_storage_pool,
    pool_member,
)
from unbrick.disks.identify.partition_table import Table, TableKind, read_table
from unbrick.disks.identify.second_opinion import list_members
from unbrick.disks.identify.signatures import Source, identify_volume
from unbrick.disks.raw_view import RawView
from unbrick.errors import NeedsHandsError
from unbrick.model import Volume, VolumeKind, VolumeState

_FOLDER_SECONDS = 30.0
_BASIC_DATA = frozenset({"EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"})


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
    member = _find_member_of_whole(source)
    try:
        table = _read_table(source.view, sector_sizes)
    except NeedsHandsError:
        # The table of a RAID's member may be cut off or split: its being a member is then the answer.
        if member is None:
            raise
        table = Table(TableKind.NONE, sector_sizes[0], None, ())
    member = member or _find_member_with(source, table)
    volumes = tuple(identify_volume(source, partition) for partition in table.partitions)
    if table.kind is TableKind.NONE:
        volumes = (identify_volume(source, None),)
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


def _find_member_of_whole(source: Source) -> Member | None:
    return source.heed(find_firmware_raid(source.view)) or find_encrypted_disk(source.view)


def _find_member_with(source: Source, table: Table) -> Member | None:
    """Members that are recognised by the table: a signature may be the disk's or its last partition's."""
    found = find_dynamic_disk(source.view, table) or find_storage_pool(source.view, table)
    if found:
        return found
    suspects = [find_linux_raid(source.view), *list_members(source.raw, source.runner)]
    for suspect in suspects:
        if suspect is None or _belongs_to_partition(source, table, suspect):
            continue
        if source.heed(suspect) is not None:
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
    if not unnamed:
        return volumes
    member = _find_boot_program(source, volumes)
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
