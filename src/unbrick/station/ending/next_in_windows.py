"""What Windows will show at its next start, as far as the disk tells: a PIN, a disk check. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from unbrick.model import (
    DiskReport,
    FilesystemState,
    Protector,
    ProtectorKind,
    Status,
    Volume,
    VolumeKind,
    VolumeState,
)
from unbrick.recovery.outcome import is_excused

_SHOWN = 8
"""How much of a key protector's id Windows' blue screen shows first, and every list of keys is sorted by."""

BY_ITSELF = "Windows starts by itself."
NOT_LOOKED_AT = "Windows starts. It may ask for the PIN of this computer's owner."
IF_RECOVERY = (
    "If a blue 'Recovery' screen comes: choose 'Restart my PC'. If it comes again: "
    "'See advanced repair options', then 'Continue'."
)
DISK_CHECK = "Windows checks its disk first. Let it run, even if it takes an hour."


def after_repair(reports: Sequence[DiskReport]) -> tuple[str, ...]:
    """What a machine will show whose Windows may start now."""
    volumes = list(windows_volumes(reports))
    sentences = [_asked_for(volume) for volume in volumes if volume.kind is VolumeKind.BITLOCKER]
    waiting = [sentence for sentence in sentences if sentence != BY_ITSELF]
    lines = waiting or ([BY_ITSELF] if volumes else [NOT_LOOKED_AT])
    # After an unclean journal was replayed Windows still finds the volume marked.
    marked = {FilesystemState.DIRTY, FilesystemState.UNCLEAN_LOG}
    if any(volume.filesystem in marked for volume in volumes):
        lines.append(DISK_CHECK)
    return tuple(dict.fromkeys([*lines, IF_RECOVERY]))


def windows_volumes(reports: Sequence[DiskReport]) -> Iterator[Volume]:
    for report in reports:
        partitions = {installation.partition for installation in report.installations}
        yield from (volume for volume in report.volumes if volume.partition in partitions)


def missing_keys(reports: Sequence[DiskReport]) -> list[str]:
    """The ids of the recovery passwords that open what stayed locked for want of one."""
    return [
        one.id
        for volume in waited_for(reports)
        for one in volume.protectors
        if one.kind is ProtectorKind.RECOVERY_PASSWORD
    ]


def waited_for(reports: Sequence[DiskReport]) -> Iterator[Volume]:
    """The volumes that stayed locked; beside a Windows that was found, one for data is not waited for."""
    found = [one for report in reports for one in report.installations]
    volumes = [one for report in reports if report.status is Status.NEEDS_KEY for one in report.volumes]
    for volume in volumes:
        locked = volume.kind is VolumeKind.BITLOCKER and volume.state is VolumeState.LOCKED
        if locked and not is_excused(volume, found):
            yield volume


def is_suspended(volume: Volume) -> bool:
    """Whether BitLocker is suspended: its key lies open on the disk."""
    return any(protector.kind is ProtectorKind.CLEAR_KEY for protector in volume.protectors)


def recovery_key_ids(protectors: Sequence[Protector]) -> list[str]:
    return [as_shown(one.id) for one in protectors if one.kind is ProtectorKind.RECOVERY_PASSWORD]


def as_shown(key_id: str) -> str:
    """The beginning of a key protector's id, by which people look the key up."""
    return key_id[:_SHOWN].upper()


def _asked_for(volume: Volume) -> str:
    kinds = {protector.kind for protector in volume.protectors}
    if ProtectorKind.CLEAR_KEY in kinds:
        return BY_ITSELF
    if ProtectorKind.TPM_PIN in kinds:
        return "Windows will ask for the PIN of this computer's owner. Leave it for them."
    if ProtectorKind.TPM in kinds:
        return BY_ITSELF
    if ProtectorKind.STARTUP_KEY in kinds:
        return "Windows will ask for the USB stick with its startup key. Its owner has it."
    if ProtectorKind.PASSPHRASE in kinds:
        return "Windows will ask for the password of this disk. Its owner knows it."
    ids = " or ".join(recovery_key_ids(volume.protectors)[:2])
    named = f" {ids}" if ids else ""
    return f"Windows will ask for the recovery key{named} (48 digits). The helpdesk has it."
