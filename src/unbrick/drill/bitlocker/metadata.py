"""Builds what BitLocker writes in the open: the volume's first sector and the FVE v2 metadata block. Pure.

Field order and values are those of volumes made by Windows 10 and 11; which fields readers insist on is known
from cryptsetup, dislocker and dissect.fve.
"""

from __future__ import annotations

import hashlib
import random
import struct
import uuid
import zlib
from dataclasses import dataclass

from unbrick.disks.bitlocker.key_box import password_key, stretch
from unbrick.disks.bitlocker.metadata import SIGNATURE, VOLUME_GUID
from unbrick.drill.bitlocker.areas import BLOCK_SIZE, EXTRA_SIZE, HEADER_SIZE, ReservedAreas
from unbrick.drill.bitlocker.keys import (
    SECTOR,
    KeyAlgorithm,
    Sealer,
    VolumeKeys,
    datum,
    key_datum,
    password_bytes,
)
from unbrick.drill.bitlocker.settings import BitLockerSettings
from unbrick.model import Protector, ProtectorKind
from unbrick.secret import Secret
from unbrick.windows.ntfs_file import datetime_to_filetime

_VERSION = 2
_STATE_ENCRYPTED = 4
_HEADER_SIZE = 64
_DATASET_HEADER_SIZE = 48
_METHODS = {"aes-xts-128": KeyAlgorithm.AES_XTS_128, "aes-xts-256": KeyAlgorithm.AES_XTS_256}

_ROLE_PROTECTOR, _ROLE_ENCRYPTION_KEY, _ROLE_DESCRIPTION, _ROLE_RELOCATED_HEADER = 2, 3, 7, 15
_ROLE_PASSWORD_COPY, _ROLE_STRETCHED_COPY = 0x12, 0x13
_TYPE_TEXT, _TYPE_STRETCH, _TYPE_TPM, _TYPE_PROTECTOR, _TYPE_RELOCATED_HEADER = 2, 3, 6, 8, 15
_KIND_CLEAR_KEY, _KIND_TPM, _KIND_RECOVERY_PASSWORD = 0x0000, 0x0100, 0x0800
_CLEAR_KEY_FLAGS = 3
# PCRs 7 (Secure Boot) and 11 (BitLocker's own): what Windows binds to on a UEFI machine.
_TPM_PCRS = 1 << 7 | 1 << 11
_TPM_BLOB_SIZE = 0xDC
# The nonce of the validation part is set apart from all others by the top bit of its time.
_VALIDATION_TIME_BIT = 1 << 63
_WINDOWS_BUILD = 19045


@dataclass(frozen=True)
class Metadata:
    """The block (64 KiB, the same in all three places) and what it says in the open."""

    block: bytes
    identifier: str
    protectors: tuple[Protector, ...]


def build_metadata(
    settings: BitLockerSettings,
    keys: VolumeKeys,
    areas: ReservedAreas,
    length: int,
    generator: random.Random,
) -> Metadata:
    """The metadata of a volume of `length` bytes; `generator` gives salts, ids and the TPM's blob."""
    created = datetime_to_filetime(settings.created)
    sealer = Sealer(created)
    identifier = _draw_guid(generator)
    protectors = [Protector(settings.protector_id, ProtectorKind.RECOVERY_PASSWORD)]
    datums = [datum(_ROLE_DESCRIPTION, _TYPE_TEXT, f"{settings.description}\0".encode("utf-16-le"))]
    if settings.tpm:
        tpm = Protector(_draw_guid(generator), ProtectorKind.TPM)
        protectors.insert(0, tpm)
        blob = struct.pack("<I", _TPM_PCRS) + generator.randbytes(_TPM_BLOB_SIZE)
        datums.append(_protector(tpm.id, created, _KIND_TPM, datum(0, _TYPE_TPM, blob)))
    datums.append(_recovery_protector(settings, keys, created, sealer, generator.randbytes(16)))
    datums.append(
        sealer.seal(keys.master, _METHODS[settings.method], keys.encryption, role=_ROLE_ENCRYPTION_KEY)
    )
    if settings.clear_key:
        clear = Protector(_draw_guid(generator), ProtectorKind.CLEAR_KEY)
        protectors.append(clear)
        datums.append(_clear_key_protector(clear.id, keys, created, sealer, Secret(generator.randbytes(32))))
    datums.append(_relocated_header(areas))

    dataset = b"".join(datums)
    size = -(-(_HEADER_SIZE + _DATASET_HEADER_SIZE + len(dataset)) // 16) * 16
    # The validation part takes one more nonce, after which comes the next free one.
    dataset_header = _dataset_header(settings, identifier, len(dataset), sealer.next_counter + 1, created)
    checked = (_block_header(areas, length, size) + dataset_header + dataset).ljust(size, b"\0")
    block = checked + _validation(checked, keys, sealer, created)
    return Metadata(block.ljust(BLOCK_SIZE, b"\0"), identifier, tuple(protectors))


def build_first_sector(areas: ReservedAreas, offset: int, sectors_per_cluster: int) -> bytes:
    """Sector 0 of the encrypted volume at byte `offset` of its disk.

    It looks like FAT32 to programs that do not know BitLocker. The sector counts stay 0: the size is in the
    metadata, and any value at 0x38 makes readers take it for a Windows Vista volume.
    """
    sector = bytearray(SECTOR)
    sector[0x00:0x0B] = b"\xeb\x58\x90" + SIGNATURE
    struct.pack_into("<HB", sector, 0x0B, SECTOR, sectors_per_cluster)
    struct.pack_into("<BHHHI", sector, 0x15, 0xF8, 0, 63, 255, (offset // SECTOR) & 0xFFFFFFFF)
    struct.pack_into("<I", sector, 0x24, 0x1FE0)
    struct.pack_into("<HH", sector, 0x30, 1, 6)
    sector[0x40:0x43] = b"\x80\x00\x29"
    sector[0x47:0x5A] = b"NO NAME    FAT32   "
    sector[0xA0:0xB0] = VOLUME_GUID
    struct.pack_into("<3Q", sector, 0xB0, *areas.block_offsets)
    sector[0x1FE:0x200] = b"\x55\xaa"
    return bytes(sector)


def _recovery_protector(
    settings: BitLockerSettings, keys: VolumeKeys, created: int, sealer: Sealer, salt: bytes
) -> bytes:
    stretched = stretch(password_key(settings.recovery_password), salt)
    password = password_bytes(settings.recovery_password)
    # Sealed with the VMK, so that Windows can show the password again; the way in is the third box.
    copies = sealer.seal(
        keys.master, KeyAlgorithm.RECOVERY_PASSWORD, password, role=_ROLE_PASSWORD_COPY
    ) + sealer.seal(keys.master, KeyAlgorithm.STRETCHED_KEY, stretched, role=_ROLE_STRETCHED_COPY)
    stretch_entry = datum(0, _TYPE_STRETCH, struct.pack("<2H", 0x1000, 0) + salt + copies)
    master = sealer.seal(stretched, KeyAlgorithm.VOLUME_MASTER_KEY, keys.master)
    return _protector(settings.protector_id, created, _KIND_RECOVERY_PASSWORD, stretch_entry + master)


def _clear_key_protector(
    identifier: str, keys: VolumeKeys, created: int, sealer: Sealer, key: Secret
) -> bytes:
    nested = key_datum(KeyAlgorithm.CLEAR_KEY, key) + sealer.seal(
        key, KeyAlgorithm.VOLUME_MASTER_KEY, keys.master
    )
    return _protector(identifier, created, _KIND_CLEAR_KEY, nested, _CLEAR_KEY_FLAGS)


def _protector(identifier: str, created: int, kind: int, nested: bytes, flags: int = 1) -> bytes:
    head = uuid.UUID(identifier).bytes_le + struct.pack("<Q2H", created, 0, kind)
    return datum(_ROLE_PROTECTOR, _TYPE_PROTECTOR, head + nested, flags)


def _relocated_header(areas: ReservedAreas) -> bytes:
    """Where the file system's first sectors went, with the extended part that Windows 8 and later add."""
    place = struct.pack("<2Q", areas.header_offset, HEADER_SIZE)
    extended = struct.pack("<2HIQQ3I", 5, 0x4C, 0, 0xA, 0, 0, SECTOR, SECTOR)
    version = struct.pack("<6I", 10, 0, _WINDOWS_BUILD, 2, 0, 0x02010110)
    extra = struct.pack("<Q2I", areas.extra_offset, EXTRA_SIZE, 0)
    return datum(_ROLE_RELOCATED_HEADER, _TYPE_RELOCATED_HEADER, place + extended + version + extra)


def _block_header(areas: ReservedAreas, length: int, size: int) -> bytes:
    return struct.pack(
        "<8s4HQ2I4Q",
        SIGNATURE,
        size // 16,
        _VERSION,
        _STATE_ENCRYPTED,
        _STATE_ENCRYPTED,
        length,
        0,
        HEADER_SIZE // SECTOR,
        *areas.block_offsets,
        areas.header_offset,
    )


def _dataset_header(
    settings: BitLockerSettings, identifier: str, datums: int, next_counter: int, created: int
) -> bytes:
    size = _DATASET_HEADER_SIZE + datums
    return struct.pack(
        "<4I16sI2HQ",
        size,
        1,
        _DATASET_HEADER_SIZE,
        size,
        uuid.UUID(identifier).bytes_le,
        next_counter,
        _METHODS[settings.method],
        0,
        created,
    )


def _validation(checked: bytes, keys: VolumeKeys, sealer: Sealer, created: int) -> bytes:
    """Both checks over all that goes before: a CRC-32 in the open, a SHA-256 sealed with the VMK."""
    head = struct.pack("<2HI", BLOCK_SIZE - len(checked), 2, zlib.crc32(checked))
    digest = Secret(hashlib.sha256(checked).digest())
    return head + sealer.seal(keys.master, KeyAlgorithm.HASH, digest, time=created | _VALIDATION_TIME_BIT)


def _draw_guid(generator: random.Random) -> str:
    return str(uuid.UUID(bytes=generator.randbytes(16), version=4)).upper()
