"""Encrypting a small hand-made NTFS: what changes, what stays, what is refused before anything is written."""

import random
import struct
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from support import small_ntfs
from support.small_ntfs import CLUSTER, LENGTH, Runs

from unbrick.disks.bitlocker import key_box
from unbrick.disks.ntfs.structures import read_geometry
from unbrick.drill.bitlocker.areas import (
    RESERVED_FILES,
    NtfsImageError,
    ReservedAreas,
    find_reserved_areas,
    used_ranges,
)
from unbrick.drill.bitlocker.encrypt import encrypt_volume, spans_without
from unbrick.drill.bitlocker.keys import make_volume_keys
from unbrick.drill.bitlocker.settings import BitLockerSettings
from unbrick.errors import NeedsHandsError
from unbrick.secret import Secret

BEFORE, AFTER = b"what lies before" * 64, b"what lies after" * 100
OFFSET = len(BEFORE)
FILL = random.Random(3).randbytes(50_000)
PLACES: dict[str, tuple[int, Runs]] = {
    name: (size, [(64 + 32 * index, -(-size // CLUSTER))])
    for index, (name, size) in enumerate(RESERVED_FILES.items())
}
AREAS = ReservedAreas((64 * CLUSTER, 160 * CLUSTER, 192 * CLUSTER), 96 * CLUSTER, 128 * CLUSTER)
SETTINGS = BitLockerSettings(
    method="aes-xts-128",
    computer="WARD-7",
    recovery_password=Secret("235818-357951-253979-013365-241120-245575-342914-591910"),
    protector_id="64311DEA-4587-4029-924A-BA299647998E",
    seed=1,
    created=datetime(2024, 7, 4, tzinfo=UTC),
)


@pytest.fixture(autouse=True)
def quick_stretch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way in by password is proved elsewhere."""
    monkeypatch.setattr(key_box, "_ROUNDS", 2)


def write_image(folder: Path, volume: bytes, name: str = "disk.img") -> Path:
    path = folder / name
    path.write_bytes(BEFORE + volume + AFTER)
    return path


def decrypt(volume: bytes, settings: BitLockerSettings) -> bytes:
    """By the rules for readers, one sector at a time."""
    key = make_volume_keys(settings.method, random.Random(settings.seed)).encryption.reveal()

    def sectors(start: int, end: int) -> bytes:
        out = b""
        for at in range(start, end, 512):
            mode = modes.XTS((at // 512).to_bytes(16, "little"))
            out += Cipher(algorithms.AES(key), mode).decryptor().update(volume[at : at + 512])
        return out

    blocks = struct.unpack_from("<3Q", volume, 0xB0)
    (header,) = struct.unpack_from("<Q", volume, blocks[0] + 56)
    plain = bytearray(sectors(0, len(volume)))
    plain[:0x2000] = sectors(header, header + 0x2000)
    for start, size in [*((block, 0x10000) for block in blocks), (header, 0x2000)]:
        plain[start : start + size] = bytes(size)
    return bytes(plain)


@pytest.mark.parametrize("method", ["aes-xts-128", "aes-xts-256"])
def test_decrypts_to_the_source_and_touches_nothing_else(tmp_path: Path, method: str) -> None:
    source = bytes(small_ntfs.build(PLACES, FILL))
    path = write_image(tmp_path, source)
    settings = replace(SETTINGS, method=method)  # type: ignore[arg-type]
    result = encrypt_volume(path, OFFSET, LENGTH, settings)
    written = path.read_bytes()
    assert written[:OFFSET] == BEFORE
    assert written[OFFSET + LENGTH :] == AFTER
    volume = written[OFFSET : OFFSET + LENGTH]
    assert decrypt(volume, settings) == source
    assert volume[3:11] == b"-FVE-FS-"
    assert b"boot code" not in volume
    assert FILL[:512] not in volume
    assert result.areas == AREAS
    assert result.encrypted == LENGTH - 3 * 0x10000 - 0x2000


def test_the_three_copies_are_the_same(tmp_path: Path) -> None:
    path = write_image(tmp_path, bytes(small_ntfs.build(PLACES)))
    encrypt_volume(path, OFFSET, LENGTH, SETTINGS)
    volume = path.read_bytes()[OFFSET:]
    first, second, third = (volume[start : start + 0x10000] for start in AREAS.block_offsets)
    assert first == second == third
    assert first.startswith(b"-FVE-FS-")


def test_used_space_only_leaves_free_clusters_alone(tmp_path: Path) -> None:
    source = small_ntfs.build(PLACES, FILL)
    free = 500 * CLUSTER
    source[free : free + CLUSTER] = b"deleted " * 512
    path = write_image(tmp_path, bytes(source))
    result = encrypt_volume(path, OFFSET, LENGTH, SETTINGS, used_space_only=True)
    volume = path.read_bytes()[OFFSET : OFFSET + LENGTH]
    plain = decrypt(volume, SETTINGS)
    used = {0, 1, *range(4, 20), 24, *range(300, 313)}
    for _, runs in PLACES.values():
        used |= {cluster for start, count in runs if start for cluster in range(start, start + count)}
    for cluster in range(LENGTH // CLUSTER):
        span = slice(cluster * CLUSTER, (cluster + 1) * CLUSTER)
        if cluster in used or cluster == small_ntfs.CLUSTERS:
            assert plain[span] == source[span], cluster
        else:
            assert volume[span] == source[span], cluster
    # Used clusters and what lies behind the last one, less what is never decrypted.
    assert result.encrypted == (len(used) + 1) * CLUSTER - 3 * 0x10000 - 0x2000


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    source = bytes(small_ntfs.build(PLACES, FILL))
    one, two, three = (write_image(tmp_path, source, name) for name in ("one", "two", "three"))
    assert encrypt_volume(one, OFFSET, LENGTH, SETTINGS) == encrypt_volume(two, OFFSET, LENGTH, SETTINGS)
    encrypt_volume(three, OFFSET, LENGTH, replace(SETTINGS, seed=2))
    assert one.read_bytes() == two.read_bytes()
    assert one.read_bytes() != three.read_bytes()


def broken_places(name: str, size: int, runs: Runs) -> dict[str, tuple[int, Runs]]:
    return {**PLACES, name: (size, runs)}


HEADER = list(RESERVED_FILES)[1]
BLOCK = next(iter(RESERVED_FILES))


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ({name: place for name, place in PLACES.items() if name != HEADER}, "has no file"),
        (broken_places(HEADER, 0x2000, [(96, 1), (99, 1)]), "one piece"),
        (broken_places(HEADER, 0x2000, [(None, 2)]), "one piece"),
        (broken_places(HEADER, 0x1000, [(96, 1)]), "one piece"),
        (broken_places(HEADER, 0x2000, []), "one piece"),
        (broken_places(HEADER, 0x2000, [(70, 2)]), "overlap"),
        (broken_places(HEADER, 0x2000, [(1, 2)]), "overlap"),
        (broken_places(BLOCK, 0x10000, [(5000, 16)]), "outside the volume"),
        (broken_places(BLOCK, 0x10000, [(300, 16)]), "holds data"),
    ],
)
def test_unfit_reserved_files_are_refused_before_anything_is_written(
    tmp_path: Path, places: dict[str, tuple[int, Runs]], message: str
) -> None:
    path = write_image(tmp_path, bytes(small_ntfs.build(places, FILL)))
    before = path.read_bytes()
    with pytest.raises((NtfsImageError, NeedsHandsError), match=message):
        encrypt_volume(path, OFFSET, LENGTH, SETTINGS, used_space_only=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("at", "data", "message"),
    [
        (3, b"-FVE-FS-", "boot sector is damaged"),
        (0x0B, b"\x00\x10", "512-byte sectors"),
        (0x0D, b"\x03", "cluster size"),
        (0x28, b"\xff" * 8, "larger than its partition"),
        (0x30, b"\xff" * 7 + b"\x7f", "points outside the volume"),
        (0x40, b"\x00", "record size"),
        (0x40, b"\x80", "record size"),
        (4 * CLUSTER, b"BAAD", "record 0"),
        (4 * CLUSTER + 4, b"\xff\xff", "record 0"),
        (4 * CLUSTER + 510, b"\x99\x99", "record 0"),
        (4 * CLUSTER + 0x14, b"\xff\xff", "broken attribute"),
        (4 * CLUSTER + 56 + 4, b"\x01\x00\x00\x00", "broken attribute"),
        (10 * CLUSTER + 510, b"\x99\x99", "has no file"),
    ],
)
def test_a_damaged_volume_is_refused_before_anything_is_written(
    tmp_path: Path, at: int, data: bytes, message: str
) -> None:
    volume = small_ntfs.build(PLACES)
    volume[at : at + len(data)] = data
    path = write_image(tmp_path, bytes(volume))
    before = path.read_bytes()
    with pytest.raises((NtfsImageError, NeedsHandsError), match=message):
        encrypt_volume(path, OFFSET, LENGTH, SETTINGS, used_space_only=True)
    assert path.read_bytes() == before


class InMemory:
    def __init__(self, data: bytearray) -> None:
        self.data = data

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self.data[offset : offset + length])

    def write(self, offset: int, data: bytes) -> None:
        raise AssertionError


def test_a_table_of_files_with_wrong_bytes_raises_nothing_else() -> None:
    """Whatever a record says, it is either taken or refused in plain words."""
    generator = random.Random(9)
    good = bytes(small_ntfs.build(PLACES))
    refused = 0
    for _ in range(400):
        volume = bytearray(good)
        record = generator.choice([0, 6, 24, 25])
        for _ in range(3):
            volume[4 * CLUSTER + record * 1024 + generator.randrange(400)] = generator.choice(
                [0, 1, 128, 255]
            )
        view = InMemory(volume)
        try:
            geometry = read_geometry(view)
            find_reserved_areas(view, geometry)
            used_ranges(view, geometry)
        except (NtfsImageError, NeedsHandsError):
            refused += 1
    assert 50 < refused < 400


@pytest.mark.parametrize(("offset", "length"), [(OFFSET + 1, LENGTH), (OFFSET, LENGTH - 1)])
def test_half_sectors_are_refused(tmp_path: Path, offset: int, length: int) -> None:
    path = write_image(tmp_path, bytes(small_ntfs.build(PLACES)))
    with pytest.raises(NtfsImageError, match="whole sector"):
        encrypt_volume(path, offset, length, SETTINGS)


def test_a_cut_image_is_refused(tmp_path: Path) -> None:
    path = write_image(tmp_path, bytes(small_ntfs.build(PLACES)))
    with path.open("r+b") as stream:
        stream.truncate(OFFSET + LENGTH - 512)
    before = path.read_bytes()
    with pytest.raises(NtfsImageError, match="image ends"):
        encrypt_volume(path, OFFSET, LENGTH, SETTINGS)
    assert path.read_bytes() == before


def test_spans_without() -> None:
    assert list(spans_without([(0, 10), (20, 30)], [(25, 27), (0, 2), (8, 22)])) == [
        (2, 8),
        (22, 25),
        (27, 30),
    ]
    assert list(spans_without([(0, 10)], [(0, 10)])) == []
    assert list(spans_without([(0, 10)], [(10, 20), (2, 4), (3, 5)])) == [(0, 2), (5, 10)]
