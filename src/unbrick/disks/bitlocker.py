"""Reads BitLocker's metadata (FVE, version 2) from a locked volume: protectors, method, state, description.

Pure: reads a stream, changes nothing, holds every byte of it for hostile. The layout is that of libbde's
format documentation ("BitLocker Drive Encryption (BDE) format"), checked against volumes Windows made.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace
from typing import BinaryIO
from uuid import UUID

from unbrick.disks.datums import (
    Datum,
    KeyProtector,
    MalformedError,
    SealedBox,
    parse_datums,
    read_header_location,
    read_protector,
    read_sealed_box,
    read_text,
)
from unbrick.disks.raw_view import RawView
from unbrick.errors import FailedError, NeedsHandsError, Reason
from unbrick.model import Protector, VolumeState

__all__ = ["BitLockerMetadata", "KeyProtector", "SealedBox", "looks_like_bitlocker", "read_metadata"]

SIGNATURE = b"-FVE-FS-"
TO_GO_SIGNATURE = b"MSWIN4.1"
VOLUME_GUID = UUID("4967d63b-2e29-4ad8-8399-f6a339e3d001").bytes_le
ENCRYPT_ON_WRITE_GUID = UUID("92a84d3b-dd80-4d0e-9e4e-b1e3284eaed8").bytes_le

_BLOCK_SIZE = 0x10000
_HEADER = struct.Struct("<8sHHHHQII3QQ")
_DATASET = struct.Struct("<IIII16sIHHQ")
_VALIDATION = struct.Struct("<HHI")
_GUID_AT = 0xA0
_TO_GO_GUID_AT = 0x1A8
_VISTA_LOCATION_AT = 0x38
_STATE_DECRYPTED, _STATE_ENCRYPTED, _STATE_LAST = 1, 4, 5
# What an entry of the dataset is, by its role and its type together.
_PROTECTOR, _VOLUME_KEY, _DESCRIPTION, _MOVED_HEADER = (2, 8), (3, 5), (7, 2), (15, 15)
_METHODS = {
    0x8000: "aes-cbc-128-elephant",
    0x8001: "aes-cbc-256-elephant",
    0x8002: "aes-cbc-128",
    0x8003: "aes-cbc-256",
    0x8004: "aes-xts-128",
    0x8005: "aes-xts-256",
}


@dataclass(frozen=True)
class BitLockerMetadata:
    """What a volume says of itself while locked.

    `state` is LOCKED or CONVERTING. `guid` is the volume identifier. `method` is the cipher's word
    (`aes-xts-128`, `aes-cbc-256`, `aes-cbc-128-elephant`). Offsets are bytes from the start of the volume;
    `header_offset` and `header_length` are where the file system's first bytes lie. `damaged_copies` of the
    three blocks failed their checks. `to_go`: on a FAT volume (BitLocker To Go).
    """

    state: VolumeState
    guid: str
    method: str
    description: str | None
    key_protectors: tuple[KeyProtector, ...]
    sealed_volume_key: SealedBox | None
    volume_length: int
    block_offsets: tuple[int, ...]
    header_offset: int | None
    header_length: int | None
    damaged_copies: int = 0
    to_go: bool = False

    @property
    def protectors(self) -> tuple[Protector, ...]:
        """The protectors as the contract lists them."""
        return tuple(Protector(p.id, p.kind) for p in self.key_protectors)


@dataclass(frozen=True)
class _BootSector:
    """Where the metadata blocks lie, from sector 0 of the volume."""

    block_offsets: tuple[int, int, int]
    encrypt_on_write: bool
    to_go: bool


def looks_like_bitlocker(sector: bytes) -> bool:
    """Whether a first sector is BitLocker's; one of its two marks is enough, the other may be damaged."""
    return sector[3:11] == SIGNATURE or _guid_offset(sector) is not None


def read_metadata(stream: BinaryIO, offset: int, length: int) -> BitLockerMetadata:
    """The metadata of the volume of `length` bytes at byte `offset` of a stream.

    Takes the first of the three copies that passes all its checks. Raises NeedsHandsError
    (damaged-metadata) where none does, FailedError (unreadable-disk) where that is for want of one that the
    disk does not give.
    """
    view = RawView(stream, length, "the BitLocker volume", offset)
    boot_sector = _read_boot_sector(view.read(0, 512))
    good: list[BitLockerMetadata] = []
    problems: list[str] = []
    unreadable: FailedError | None = None
    for slot, block_offset in enumerate(boot_sector.block_offsets):
        try:
            good.append(_read_block(view, slot, block_offset, boot_sector))
        except MalformedError as error:
            problems.append(f"copy {slot + 1} {error}")
        except FailedError as error:
            problems.append(f"copy {slot + 1} cannot be read")
            unreadable = error
    if not good:
        if unreadable is not None:
            raise unreadable
        raise _damaged("no copy of its metadata is sound: " + "; ".join(problems))
    if len({metadata.guid for metadata in good}) > 1:
        raise _damaged("its metadata copies belong to different volumes")
    chosen = next((m for m in good if m.state is VolumeState.CONVERTING), good[0])
    return replace(chosen, damaged_copies=len(problems))


def _damaged(what: str) -> NeedsHandsError:
    return NeedsHandsError(
        f"the BitLocker volume is damaged: {what}",
        hint="Windows' own repair-bde may recover it onto another disk",
        reason=Reason.DAMAGED_METADATA,
    )


def _guid_offset(sector: bytes) -> int | None:
    for at in (_GUID_AT, _TO_GO_GUID_AT):
        if sector[at : at + 16] in (VOLUME_GUID, ENCRYPT_ON_WRITE_GUID):
            return at
    return None


def _read_boot_sector(sector: bytes) -> _BootSector:
    if len(sector) < 512:
        raise _damaged("it is shorter than one sector")
    at = _guid_offset(sector)
    if at is None:
        if sector[3:11] == SIGNATURE and any(sector[_VISTA_LOCATION_AT : _VISTA_LOCATION_AT + 8]):
            raise _damaged("it has the format of Windows Vista, which is not supported")
        raise _damaged("its first sector does not say where the metadata lies")
    expected = SIGNATURE if at == _GUID_AT else TO_GO_SIGNATURE
    # BitLocker To Go on FAT keeps the FAT name but Windows also writes the GUID at 0xA0 on NTFS sticks.
    if sector[3:11] not in (expected, SIGNATURE):
        raise _damaged("the signature in its first sector is wrong")
    if sector[510:512] != b"\x55\xaa":
        raise _damaged("its first sector lacks the closing mark")
    offsets = struct.unpack_from("<3Q", sector, at + 16)
    return _BootSector(offsets, sector[at : at + 16] == ENCRYPT_ON_WRITE_GUID, at == _TO_GO_GUID_AT)


def _read_block(view: RawView, slot: int, offset: int, boot_sector: _BootSector) -> BitLockerMetadata:
    if offset < 512 or offset % 512 or offset + _BLOCK_SIZE > view.size:
        raise MalformedError("lies outside the volume")
    block = view.read(offset, _BLOCK_SIZE)
    if len(block) < _BLOCK_SIZE:
        raise MalformedError("is cut off")
    header = _HEADER.unpack_from(block)
    signature, stored_size, version, state, next_state, volume_length, conversion_size = header[:7]
    offsets: tuple[int, ...] = header[8:11]
    if signature != SIGNATURE:
        raise MalformedError("has no signature")
    if version != 2:
        raise MalformedError(f"has version {version}, not 2")
    size = stored_size * 16
    if not _HEADER.size + _DATASET.size <= size <= _BLOCK_SIZE - _VALIDATION.size:
        raise MalformedError("states an impossible size")
    if zlib.crc32(block[:size]) != _VALIDATION.unpack_from(block, size)[2]:
        raise MalformedError("fails its checksum")
    if offsets[slot] != offset:
        raise MalformedError("does not belong at its place")
    if not _STATE_DECRYPTED <= state <= _STATE_LAST or not _STATE_DECRYPTED <= next_state <= _STATE_LAST:
        raise MalformedError("is in an unknown state")
    settled = state == next_state == _STATE_ENCRYPTED and not conversion_size
    if settled and volume_length > view.size:
        raise MalformedError("speaks of a larger volume than this partition")
    converting = boot_sector.encrypt_on_write or not settled
    guid, method, datums = _read_dataset(block[_HEADER.size : size])
    by_kind: dict[tuple[int, int], list[Datum]] = {}
    for datum in datums:
        by_kind.setdefault((datum.role, datum.type), []).append(datum)
    moved_to = [read_header_location(datum, view.size) for datum in by_kind.get(_MOVED_HEADER, [])]
    return BitLockerMetadata(
        state=VolumeState.CONVERTING if converting else VolumeState.LOCKED,
        guid=guid,
        method=method,
        description=next(map(read_text, by_kind.get(_DESCRIPTION, [])), None),
        key_protectors=tuple(map(read_protector, by_kind.get(_PROTECTOR, []))),
        sealed_volume_key=next(map(read_sealed_box, by_kind.get(_VOLUME_KEY, [])), None),
        volume_length=volume_length,
        block_offsets=offsets,
        header_offset=moved_to[0][0] if moved_to else None,
        header_length=moved_to[0][1] if moved_to else None,
        to_go=boot_sector.to_go,
    )


def _read_dataset(raw: bytes) -> tuple[str, str, tuple[Datum, ...]]:
    """The volume identifier, the method's word, and the entries."""
    size, _version, header_size, _copy, guid, _nonce, method, _preferred, _created = _DATASET.unpack_from(raw)
    if not _DATASET.size <= header_size <= size <= len(raw):
        raise MalformedError("states an impossible dataset size")
    word = _METHODS.get(method)
    if word is None:
        raise MalformedError(f"names the unknown encryption method {method:#06x}")
    return str(UUID(bytes_le=guid)).upper(), word, parse_datums(raw[header_size:size])
