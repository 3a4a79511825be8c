"""The metadata block, field by field, read back by a parser of the test's own."""

import hashlib
import random
import struct
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from unbrick.disks.bitlocker import key_box
from unbrick.drill.bitlocker.areas import ReservedAreas
from unbrick.drill.bitlocker.keys import VolumeKeys, make_volume_keys
from unbrick.drill.bitlocker.metadata import Metadata, build_first_sector, build_metadata
from unbrick.drill.bitlocker.settings import BitLockerSettings
from unbrick.model import ProtectorKind
from unbrick.secret import Secret

AREAS = ReservedAreas((0x2195000, 0x2C1D000, 0x373A000), 0x21A5000, 0x21A7000)
LENGTH = 0x6400000
SETTINGS = BitLockerSettings(
    method="aes-xts-128",
    computer="DESKTOP-NPM7RCA",
    recovery_password=Secret("235818-357951-253979-013365-241120-245575-342914-591910"),
    protector_id="64311DEA-4587-4029-924A-BA299647998E",
    clear_key=True,
    seed=11,
    created=datetime(2024, 7, 4, 8, 30, tzinfo=UTC),
)
FILETIME = 133645554000000000


@dataclass(frozen=True)
class Datum:
    size: int
    role: int
    kind: int
    flags: int
    payload: bytes


def datums(data: bytes) -> Iterator[Datum]:
    while data:
        size, role, kind, flags = struct.unpack_from("<4H", data)
        assert 8 <= size <= len(data)
        yield Datum(size, role, kind, flags, data[8:size])
        data = data[size:]


def open_box(box: Datum, key: bytes) -> tuple[int, bytes]:
    """The algorithm and bytes of a sealed KEY datum."""
    assert box.kind == 5
    nonce, tag, text = box.payload[:12], box.payload[12:28], box.payload[28:]
    plain = AESCCM(key, tag_length=16).decrypt(nonce, text + tag, None)
    (inner,) = datums(plain)
    assert (inner.role, inner.kind, inner.flags) == (0, 1, 0)
    algorithm, reserved = struct.unpack_from("<2H", inner.payload)
    assert reserved == 0
    return algorithm, inner.payload[4:]


def build(**changes: Any) -> tuple[Metadata, VolumeKeys]:
    settings = replace(SETTINGS, **changes)
    generator = random.Random(settings.seed)
    keys = make_volume_keys(settings.method, generator)
    return build_metadata(settings, keys, AREAS, LENGTH, generator), keys


@pytest.fixture(scope="module")
def built() -> tuple[Metadata, VolumeKeys]:
    return build()


def dataset_of(block: bytes) -> list[Datum]:
    (size,) = struct.unpack_from("<I", block, 64)
    return list(datums(block[64 + 48 : 64 + size]))


def every_box(block: bytes) -> list[Datum]:
    """Every sealed box of the block, nested ones and the validation's included."""
    boxes: list[Datum] = []
    checked = struct.unpack_from("<H", block, 8)[0] * 16
    for entry in [*dataset_of(block), *datums(block[checked + 8 : checked + 88])]:
        boxes += [entry] if entry.kind == 5 else []
        nested = list(datums(entry.payload[28:])) if entry.kind == 8 else []
        for inner in nested:
            boxes += [inner] if inner.kind == 5 else []
            boxes += list(datums(inner.payload[20:])) if inner.kind == 3 else []
    return boxes


def test_header(built: tuple[Metadata, VolumeKeys]) -> None:
    block = built[0].block
    assert len(block) == 0x10000
    signature, size16, version, state, following, volume, zero, sectors = struct.unpack_from(
        "<8s4HQ2I", block
    )
    assert (signature, version, state, following, volume, zero, sectors) == (
        b"-FVE-FS-", 2, 4, 4, LENGTH, 0, 16,
    )  # fmt: skip
    assert struct.unpack_from("<4Q", block, 32) == (*AREAS.block_offsets, AREAS.header_offset)
    (dataset,) = struct.unpack_from("<I", block, 64)
    assert size16 * 16 == (64 + dataset + 15) // 16 * 16


def test_dataset_header(built: tuple[Metadata, VolumeKeys]) -> None:
    size, one, header, same, guid, counter, method, again, created = struct.unpack_from(
        "<4I16sI2HQ", built[0].block, 64
    )
    assert (one, header, same) == (1, 0x30, size)
    assert str(uuid.UUID(bytes_le=guid)).upper() == built[0].identifier
    assert (method, again) == (0x8004, 0)
    assert created == FILETIME
    counters = [struct.unpack_from("<I", box.payload, 8)[0] for box in every_box(built[0].block)]
    assert counter == max(counters) + 1


def test_entries_in_the_order_and_sizes_of_windows(built: tuple[Metadata, VolumeKeys]) -> None:
    entries = [(d.role, d.kind, d.flags) for d in dataset_of(built[0].block)]
    assert entries == [(7, 2, 1), (2, 8, 1), (2, 8, 1), (3, 5, 1), (2, 8, 3), (15, 15, 1)]
    description, _, recovery, key, clear, relocated = dataset_of(built[0].block)
    assert description.payload.decode("utf-16-le") == "DESKTOP-NPM7RCA C: 7/4/2024\0"
    assert (recovery.size, key.size, clear.size, relocated.size) == (288, 80, 160, 100)


def test_relocated_header_entry_is_that_of_a_windows_volume(built: tuple[Metadata, VolumeKeys]) -> None:
    # The same places as in a volume made by Windows 10 1709, whose entry this is, with another build number.
    expected = bytes.fromhex(
        "00501a02000000000020000000000000"
        "05004c00000000000a000000000000000000000000000000000000000002000000020000"
        "0a00000000000000654a0000020000000000000010010102"
        "00701a02000000000000010000000000"
    )
    assert dataset_of(built[0].block)[-1].payload == expected


def test_protectors(built: tuple[Metadata, VolumeKeys]) -> None:
    metadata, keys = built
    _, tpm, recovery, _, clear, _ = dataset_of(metadata.block)
    heads = [(d.payload[:16], *struct.unpack_from("<Q2H", d.payload, 16)) for d in (tpm, recovery, clear)]
    assert [head[1:] for head in heads] == [(FILETIME, 0, 0x100), (FILETIME, 0, 0x800), (FILETIME, 0, 0)]
    assert [str(uuid.UUID(bytes_le=head[0])).upper() for head in heads] == [p.id for p in metadata.protectors]
    assert [p.kind for p in metadata.protectors] == [
        ProtectorKind.TPM,
        ProtectorKind.RECOVERY_PASSWORD,
        ProtectorKind.CLEAR_KEY,
    ]
    assert metadata.protectors[1].id == SETTINGS.protector_id

    (blob,) = datums(tpm.payload[28:])
    assert (blob.kind, struct.unpack_from("<I", blob.payload)[0]) == (6, 0x880)
    open_key, sealed_master = datums(clear.payload[28:])
    assert (open_key.kind, struct.unpack_from("<2H", open_key.payload)) == (1, (0x2000, 0))
    assert open_box(sealed_master, open_key.payload[4:]) == (0x2003, keys.master.reveal())


def test_the_password_opens_the_volume_by_the_rules(built: tuple[Metadata, VolumeKeys]) -> None:
    metadata, keys = built
    recovery, sealed_key = dataset_of(metadata.block)[2:4]
    stretch, sealed_master = datums(recovery.payload[28:])
    assert struct.unpack_from("<2H", stretch.payload) == (0x1000, 0)
    salt = stretch.payload[4:20]

    groups = SETTINGS.recovery_password.reveal().decode().split("-")
    password = b"".join((int(group) // 11).to_bytes(2, "little") for group in groups)
    first, last = hashlib.sha256(password).digest(), bytes(32)
    for counter in range(0x100000):
        last = hashlib.sha256(last + first + salt + counter.to_bytes(8, "little")).digest()

    algorithm, master = open_box(sealed_master, last)
    assert (algorithm, master) == (0x2003, keys.master.reveal())
    assert open_box(sealed_key, master) == (0x8004, keys.encryption.reveal())
    password_copy, stretched_copy = datums(stretch.payload[20:])
    assert (password_copy.role, stretched_copy.role) == (0x12, 0x13)
    assert open_box(password_copy, master) == (0x1000, password)
    assert open_box(stretched_copy, master) == (0x2008, last)


def test_both_checks_cover_the_block(built: tuple[Metadata, VolumeKeys]) -> None:
    metadata, keys = built
    size = struct.unpack_from("<H", metadata.block, 8)[0] * 16
    rest, version, crc = struct.unpack_from("<2HI", metadata.block, size)
    assert (rest, version, crc) == (0x10000 - size, 2, zlib.crc32(metadata.block[:size]))
    (box,) = datums(metadata.block[size + 8 : size + 88])
    assert open_box(box, keys.master.reveal()) == (0x2005, hashlib.sha256(metadata.block[:size]).digest())
    assert struct.unpack_from("<Q", box.payload)[0] == FILETIME | 1 << 63
    assert not any(metadata.block[size + 88 :])


def test_no_nonce_serves_twice(built: tuple[Metadata, VolumeKeys]) -> None:
    boxes = every_box(built[0].block)
    assert len(boxes) == 6
    assert sorted(struct.unpack_from("<I", box.payload, 8)[0] for box in boxes) == [2, 3, 4, 5, 6, 7]
    assert len({box.payload[:12] for box in boxes}) == len(boxes)


@pytest.fixture
def quick_stretch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the way in by password is not looked at."""
    monkeypatch.setattr(key_box, "_ROUNDS", 2)


@pytest.mark.usefixtures("quick_stretch")
def test_the_longer_key_has_its_own_method_and_size() -> None:
    metadata, keys = build(method="aes-xts-256")
    sealed = dataset_of(metadata.block)[3]
    assert sealed.size == 112
    assert open_box(sealed, keys.master.reveal()) == (0x8005, keys.encryption.reveal())
    assert len(keys.encryption.reveal()) == 64
    assert struct.unpack_from("<H", metadata.block, 64 + 36)[0] == 0x8005


@pytest.mark.usefixtures("quick_stretch")
def test_only_the_protectors_asked_for() -> None:
    metadata, _ = build(tpm=False, clear_key=False)
    assert [p.kind for p in metadata.protectors] == [ProtectorKind.RECOVERY_PASSWORD]
    assert [(d.role, d.kind) for d in dataset_of(metadata.block)] == [(7, 2), (2, 8), (3, 5), (15, 15)]


@pytest.mark.usefixtures("quick_stretch")
def test_another_seed_shares_nothing_secret() -> None:
    (one, keys), (two, other) = build(), build(seed=12)
    assert keys.master != other.master
    assert keys.encryption != other.encryption
    assert one.identifier != two.identifier
    with pytest.raises(InvalidTag):
        open_box(dataset_of(one.block)[3], other.master.reveal())


def test_no_key_lies_in_the_open() -> None:
    metadata, keys = build(clear_key=False)
    for secret in (keys.master, keys.encryption, SETTINGS.recovery_password):
        assert secret.reveal() not in metadata.block
        assert repr(secret.reveal())[2:-1] not in repr(keys)


def test_first_sector() -> None:
    sector = build_first_sector(AREAS, 0x64800 * 512, 8)
    assert len(sector) == 512
    # The first fields of a volume made by Windows 10 at that offset of its disk.
    assert sector[:0x5A] == (
        b"\xeb\x58\x90-FVE-FS-"
        + bytes.fromhex("0002080000 0000000000f80000 3f00ff00 00480600 00000000 e01f0000 0000000000000000")
        + bytes.fromhex("01000600 000000000000000000000000 80002900000000")
        + b"NO NAME    FAT32   "
    )
    assert uuid.UUID(bytes_le=sector[0xA0:0xB0]) == uuid.UUID("4967d63b-2e29-4ad8-8399-f6a339e3d001")
    assert struct.unpack_from("<3Q", sector, 0xB0) == AREAS.block_offsets
    assert sector[-2:] == b"\x55\xaa"
