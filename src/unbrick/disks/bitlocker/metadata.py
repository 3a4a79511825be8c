"""Reads BitLocker's metadata (FVE, version 2) from a locked volume: protectors, method, state, description.

Pure: reads a stream, changes nothing, treats every byte as hostile. The layout is that of libbde's format
documentation ("BitLocker Drive Encryption (BDE) format"), checked against volumes that Windows made.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import BinaryIO
from uuid import UUID

from unbrick.disks.bitlocker.datums import (
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

SIGNATURE = b"-FVE-FS-"
TO_GO_SIGNATURE = b"MSWIN4.1"
VOLUME_GUID = UUID("4967d63b-2e29-4ad8-8399-f6a339e3d001").bytes_le
ENCRYPT_ON_WRITE_GUID = UUID("92a84d3b-dd80-4d0e-9e4e-b1e3284eaed8").bytes_le

_BLOCK_SIZE = 0x10000
_HEADER = struct.Struct("<8sHHHHQII3QQ")
_MOVED_SECTORS, _MOVED_TO = 7, 11  # of the header's fields
_DATASET = struct.Struct("<IIII16sIHHQ")
_VALIDATION = struct.Struct("<HHI")
_GUID_AT = 0xA0
_TO_GO_GUID_AT = 0x1A8
_SECTOR_SIZE_AT = 0x0B
_VISTA_LOCATION_AT = 0x38
_VERSION = 2
_STATE_DECRYPTED, _STATE_ENCRYPTED, _STATE_LAST = 1, 4, 5
_NO_METHOD = 0
_SEALED_CHECKSUM = (0, 5)
_SECTOR_SIZES = (512, 4096)
# An entry of the dataset, by its role and its type together.
_PROTECTOR, _VOLUME_KEY, _DESCRIPTION, _MOVED_HEADER = (2, 8), (3, 5), (7, 2), (15, 15)
METHODS = {
    0x8000: "aes-cbc-128-elephant",
    0x8001: "aes-cbc-256-elephant",
    0x8002: "aes-cbc-128",
    0x8003: "aes-cbc-256",
    0x8004: "aes-xts-128",
    0x8005: "aes-xts-256",
}


@dataclass(frozen=True)
class Seal:
    """What proves that a copy is BitLocker's own: `digest` (SHA-256 of the copy) is in `box`.

    The volume master key opens the box. `slot` is the copy's number, from 0.
    """

    slot: int
    digest: bytes
    box: SealedBox


@dataclass(frozen=True)
class BitLockerMetadata:
    """What a volume states while it is locked.

    `state` is LOCKED or CONVERTING. `guid` is the volume identifier. `method` is the cipher's word
    (`aes-xts-128`, `aes-cbc-256`, `aes-cbc-128-elephant`; `none` while it is converting). Offsets are bytes
    from the start of the volume; `header_offset` and `header_length` are where the file system's first bytes
    are: both are set unless it is converting, as `sealed_volume_key` is. `damaged_copies` of the three blocks
    failed their checks, `seals` are those of the others. `to_go`: on a FAT volume (BitLocker To Go).
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
    seals: tuple[Seal, ...] = ()

    @property
    def protectors(self) -> tuple[Protector, ...]:
        return tuple(Protector(p.id, p.kind) for p in self.key_protectors)

    @property
    def reserved(self) -> tuple[tuple[int, int], ...]:
        """Offset and length of BitLocker's own data, which reads as zeros once the volume is open."""
        blocks = [(offset, _BLOCK_SIZE) for offset in self.block_offsets]
        header = [(self.header_offset or 0, self.header_length)] if self.header_length else []
        return (*blocks, *header)

    @property
    def layout(self) -> tuple[object, ...]:
        """Everything that decides which byte of the disk is which byte of the file system."""
        places = (self.volume_length, self.block_offsets, self.header_offset, self.header_length)
        return (self.guid, self.method, self.sealed_volume_key, *places)


class _OtherVersionError(MalformedError):
    """A copy in a format of BitLocker that is not read here."""


@dataclass(frozen=True)
class _BootSector:
    """Where the metadata blocks are, from sector 0 of the volume."""

    block_offsets: tuple[int, int, int]
    encrypt_on_write: bool
    to_go: bool
    sector_size: int


def looks_like_bitlocker(sector: bytes) -> bool:
    """Whether a first sector is BitLocker's; one of its two marks is enough, the other may be damaged."""
    return sector[3:11] == SIGNATURE or _has_guid(sector, _GUID_AT) or _has_guid(sector, _TO_GO_GUID_AT)


def read_metadata(stream: BinaryIO, offset: int, length: int) -> BitLockerMetadata:
    """The metadata of the volume of `length` bytes at byte `offset` of a stream.

    Takes the first of the three copies that passes all its checks. Raises NeedsHandsError (damaged-metadata)
    where none does or where they contradict one another or the first sector, (unsupported-bitlocker);
    FailedError (unreadable-disk) where the disk returns no sound one.
    """
    view = RawView(stream, length, "the BitLocker volume", offset)
    boot_sector = _read_boot_sector(view.read(0, 512))
    good: list[BitLockerMetadata] = []
    problems: list[Exception] = []
    for slot, block_offset in enumerate(boot_sector.block_offsets):
        try:
            good.append(_read_block(view, slot, block_offset, boot_sector))
        except (MalformedError, FailedError) as error:
            problems.append(error)
    if not good:
        raise _none_is_sound(problems)
    if len({metadata.layout for metadata in good}) > 1:
        raise _damaged("the copies of its metadata contradict one another")
    # Programs take these places from the first sector, where no checksum covers them.
    if boot_sector.block_offsets != good[0].block_offsets:
        raise _damaged("its first sector says that the metadata lies elsewhere than the metadata does")
    chosen = next((m for m in good if m.state is VolumeState.CONVERTING), good[0])
    return replace(chosen, damaged_copies=len(problems), seals=tuple(s for m in good for s in m.seals))


def _none_is_sound(problems: Sequence[Exception]) -> FailedError | NeedsHandsError:
    unreadable = next((error for error in problems if isinstance(error, FailedError)), None)
    if unreadable is not None:
        return unreadable
    said_alike = len({str(error) for error in problems}) == 1
    if said_alike and isinstance(problems[0], _OtherVersionError):
        return _unsupported(f"its metadata {problems[0]}")
    said = "; ".join(f"copy {number} {error}" for number, error in enumerate(problems, 1))
    return _damaged(f"no copy of its metadata is sound: {said}")


def _unsupported(what: str) -> NeedsHandsError:
    return NeedsHandsError(
        f"the BitLocker volume has a format that unbrick does not open: {what}",
        hint="attach the disk to a Windows, which opens it",
        reason=Reason.UNSUPPORTED_BITLOCKER,
    )


def _damaged(what: str) -> NeedsHandsError:
    return NeedsHandsError(
        f"the BitLocker volume is damaged: {what}",
        hint="Windows' own repair-bde may recover it onto another disk",
        reason=Reason.DAMAGED_METADATA,
    )


def doubtful(what: str) -> NeedsHandsError:
    """The error for metadata that passes its own checks and cannot be right."""
    return NeedsHandsError(
        what,
        hint="copy the disk first; Windows' own repair-bde may recover the volume onto another disk",
        reason=Reason.DAMAGED_METADATA,
    )


def _has_guid(sector: bytes, at: int) -> bool:
    return sector[at : at + 16] in (VOLUME_GUID, ENCRYPT_ON_WRITE_GUID)


def _read_boot_sector(sector: bytes) -> _BootSector:
    if len(sector) < 512:
        raise _damaged("it is shorter than one sector")
    signature = sector[3:11]
    # Programs go by the signature, so the mark is expected where that says.
    at = {SIGNATURE: _GUID_AT, TO_GO_SIGNATURE: _TO_GO_GUID_AT}.get(signature)
    if at is None:
        raise _damaged("the signature in its first sector is wrong")
    older = signature == SIGNATURE and any(sector[_VISTA_LOCATION_AT : _VISTA_LOCATION_AT + 8])
    if not _has_guid(sector, at):
        if older:
            raise _unsupported("that of Windows Vista")
        raise _damaged("its first sector does not say where the metadata lies")
    if older:
        raise _damaged("its first sector names two formats")
    if sector[510:512] != b"\x55\xaa":
        raise _damaged("its first sector lacks the closing mark")
    encrypt_on_write = sector[at : at + 16] == ENCRYPT_ON_WRITE_GUID
    (sector_size,) = struct.unpack_from("<H", sector, _SECTOR_SIZE_AT)
    offsets = struct.unpack_from("<3Q", sector, at + 16)
    # exFAT leaves the field empty.
    return _BootSector(offsets, encrypt_on_write, signature == TO_GO_SIGNATURE, sector_size or 512)


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
    if version != _VERSION:
        raise _OtherVersionError(f"has version {version}, not {_VERSION}")
    size = stored_size * 16
    if not _HEADER.size + _DATASET.size <= size <= _BLOCK_SIZE - _VALIDATION.size:
        raise MalformedError("states an impossible size")
    if zlib.crc32(block[:size]) != _VALIDATION.unpack_from(block, size)[2]:
        raise MalformedError("fails its checksum")
    seal = _read_seal(slot, block, size)
    if offsets[slot] != offset:
        raise MalformedError("does not belong at its place")
    if not _STATE_DECRYPTED <= state <= _STATE_LAST or not _STATE_DECRYPTED <= next_state <= _STATE_LAST:
        raise MalformedError("is in an unknown state")
    settled = state == next_state == _STATE_ENCRYPTED and not conversion_size
    if settled and volume_length > view.size:
        raise MalformedError("describes a larger volume than this partition")
    converting = boot_sector.encrypt_on_write or not settled
    guid, method, datums = _read_dataset(block[_HEADER.size : size], converting=converting)
    by_kind: dict[tuple[int, int], list[Datum]] = {}
    for datum in datums:
        by_kind.setdefault((datum.role, datum.type), []).append(datum)
    moved_to = [read_header_location(datum, view.size) for datum in by_kind.get(_MOVED_HEADER, [])]
    found = BitLockerMetadata(
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
        seals=(seal,),
    )
    if not converting:
        once = [len(by_kind.get(kind, [])) for kind in (_VOLUME_KEY, _MOVED_HEADER)]
        if once != [1, 1]:
            raise MalformedError("does not name one volume key and one place of the moved header")
        moved = (header[_MOVED_TO], header[_MOVED_SECTORS] * boot_sector.sector_size)
        _check_places(found, moved, boot_sector.sector_size)
    return found


def _read_seal(slot: int, block: bytes, size: int) -> Seal:
    datum = next(iter(parse_datums(block[size + _VALIDATION.size :])), None)
    if datum is None or (datum.role, datum.type) != _SEALED_CHECKSUM:
        raise MalformedError("has no sealed checksum")
    return Seal(slot, hashlib.sha256(block[:size]).digest(), read_sealed_box(datum))


def _check_places(metadata: BitLockerMetadata, moved: tuple[int, int], sector_size: int) -> None:
    # All sources of a place must agree: some programs take it from the block's header.
    if sector_size not in _SECTOR_SIZES or moved != (metadata.header_offset, metadata.header_length):
        raise MalformedError("contradicts itself in where the moved header lies")
    places = sorted([(0, metadata.header_length or 0), *metadata.reserved])
    if any(offset + length > after for (offset, length), (after, _) in pairwise(places)):
        raise MalformedError("puts two things into one place")


def _read_dataset(raw: bytes, *, converting: bool) -> tuple[str, str, tuple[Datum, ...]]:
    """The volume identifier, the method's word, and the entries."""
    size, _version, header_size, _copy, guid, _nonce, method, _preferred, _created = _DATASET.unpack_from(raw)
    if not _DATASET.size <= header_size <= size <= len(raw):
        raise MalformedError("states an impossible dataset size")
    word = "none" if converting and method == _NO_METHOD else METHODS.get(method)
    if word is None:
        raise MalformedError(f"names the unknown encryption method {method:#06x}")
    return str(UUID(bytes_le=guid)).upper(), word, parse_datums(raw[header_size:size])
