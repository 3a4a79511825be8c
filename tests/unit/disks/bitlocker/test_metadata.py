"""BitLocker's metadata as hostile input: read from any sound copy, or refused, never anything else."""

from __future__ import annotations

import errno
import io
import os
import struct
import zlib
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fve_bytes import (
    BLOCKS,
    CLEAR_ID,
    CLEAR_KEY,
    ENCRYPT_ON_WRITE,
    LENGTH,
    RECOVERY_ID,
    SALT,
    TPM_ID,
    VOLUME_ID,
    FveVolume,
    clear_protector,
    datum,
    protector,
    recovery_protector,
    sealed,
)

from unbrick.disks.bitlocker.metadata import BitLockerMetadata, looks_like_bitlocker, read_metadata
from unbrick.errors import FailedError, NeedsHandsError
from unbrick.model import ProtectorKind, VolumeState

INTACT = bytes(FveVolume().build())


def read(raw: bytes | bytearray) -> BitLockerMetadata:
    return read_metadata(io.BytesIO(raw), 0, len(raw))


def read_or_refuse(raw: bytes | bytearray) -> BitLockerMetadata | None:
    """None where it is refused; anything but that refusal fails the test."""
    try:
        return read(raw)
    except NeedsHandsError as error:
        if error.reason not in {"damaged-metadata", "unsupported-bitlocker"}:
            raise
        return None


def test_what_a_volume_says_of_itself() -> None:
    found = read(INTACT)
    assert (found.state, found.guid, found.method) == (VolumeState.LOCKED, VOLUME_ID, "aes-xts-128")
    assert found.description == "WARD-7 C: 7/19/2024"
    assert [(p.id, p.kind) for p in found.protectors] == [
        (RECOVERY_ID, ProtectorKind.RECOVERY_PASSWORD),
        (TPM_ID, ProtectorKind.TPM),
    ]
    recovery = found.key_protectors[0]
    assert recovery.salt == SALT
    assert recovery.sealed_key is not None
    assert (recovery.sealed_key.nonce, recovery.sealed_key.tag) == (b"N" * 12, b"T" * 16)
    assert recovery.sealed_key.ciphertext == b"C" * 44
    assert found.sealed_volume_key is not None
    assert (found.block_offsets, found.volume_length) == (BLOCKS, LENGTH)
    assert (found.header_offset, found.header_length, found.damaged_copies) == (0x80000, 0x2000, 0)


def test_a_volume_at_an_offset() -> None:
    stream = io.BytesIO(bytes(4096) + INTACT + bytes(4096))
    assert read_metadata(stream, 4096, LENGTH).guid == VOLUME_ID


@pytest.mark.parametrize(
    ("method", "word"),
    [
        (0x8000, "aes-cbc-128-elephant"),
        (0x8001, "aes-cbc-256-elephant"),
        (0x8002, "aes-cbc-128"),
        (0x8003, "aes-cbc-256"),
        (0x8004, "aes-xts-128"),
        (0x8005, "aes-xts-256"),
    ],
)
def test_methods(method: int, word: str) -> None:
    assert read(FveVolume(method=method).build()).method == word


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (0x0100, ProtectorKind.TPM),
        (0x0200, ProtectorKind.STARTUP_KEY),
        (0x0300, ProtectorKind.STARTUP_KEY),
        (0x0500, ProtectorKind.TPM_PIN),
        (0x0700, ProtectorKind.TPM_PIN),
        (0x0800, ProtectorKind.RECOVERY_PASSWORD),
        (0x1000, ProtectorKind.SMART_CARD),
        (0x2000, ProtectorKind.PASSPHRASE),
        (0x4321, ProtectorKind.UNKNOWN),
    ],
)
def test_kinds_of_protector(number: int, kind: ProtectorKind) -> None:
    found = read(FveVolume(protectors=[protector(TPM_ID, number, sealed(0))]).build())
    assert found.protectors[0].kind is kind


def test_a_clear_key_is_given_as_a_secret() -> None:
    found = read(FveVolume(protectors=[recovery_protector(), clear_protector()]).build())
    clear = found.key_protectors[1]
    assert (clear.id, clear.kind) == (CLEAR_ID, ProtectorKind.CLEAR_KEY)
    assert clear.clear_key is not None
    assert clear.clear_key.reveal() == CLEAR_KEY
    assert CLEAR_KEY.hex() not in repr(found)
    assert repr(CLEAR_KEY) not in repr(found)


@pytest.mark.parametrize("state", [(1, 4), (2, 4), (3, 3), (4, 1), (5, 5), (1, 1)])
def test_a_volume_in_any_other_state_is_converting(state: tuple[int, int]) -> None:
    volume = FveVolume(state=state[0], next_state=state[1])
    assert read(volume.build()).state is VolumeState.CONVERTING


def test_a_conversion_log_or_encrypt_on_write_is_converting() -> None:
    assert read(FveVolume(conversion=4096).build()).state is VolumeState.CONVERTING
    found = read(FveVolume(layout=ENCRYPT_ON_WRITE).build())
    assert found.state is VolumeState.CONVERTING
    assert found.protectors[0].id == RECOVERY_ID


def test_one_copy_that_is_converting_is_enough() -> None:
    volume = FveVolume().build()
    converting = FveVolume(state=2, next_state=4).block()
    volume[BLOCKS[1] : BLOCKS[1] + len(converting)] = converting
    assert read(volume).state is VolumeState.CONVERTING


def test_bitlocker_to_go() -> None:
    found = read(FveVolume(signature=b"MSWIN4.1").build())
    assert found.guid == VOLUME_ID
    assert looks_like_bitlocker(bytes(FveVolume(signature=b"MSWIN4.1").build()[:512]))


def test_windows_vista_is_named() -> None:
    volume = bytearray(LENGTH)
    volume[:11] = b"\xeb\x52\x90-FVE-FS-"
    volume[0x38] = 1
    with pytest.raises(NeedsHandsError, match="Vista") as caught:
        read(volume)
    assert caught.value.reason == "unsupported-bitlocker"


@pytest.mark.parametrize("version", [1, 3])
def test_metadata_of_another_version_is_not_called_damaged(version: int) -> None:
    with pytest.raises(NeedsHandsError, match=f"version {version}") as caught:
        read(FveVolume(version=version).build())
    assert caught.value.reason == "unsupported-bitlocker"
    volume = FveVolume().build()
    volume[BLOCKS[0] + 10] = version
    assert read(volume).damaged_copies == 1


def test_a_finished_decryption_is_converting_and_not_damaged() -> None:
    """Windows takes the metadata away at its next start; nothing is encrypted any more."""
    found = read(FveVolume(state=1, next_state=1, method=0, protectors=[]).build())
    assert (found.state, found.method, found.protectors) == (VolumeState.CONVERTING, "none", ())
    assert read_or_refuse(FveVolume(method=0).build()) is None


@pytest.mark.parametrize("sound", [0, 1, 2])
def test_any_one_sound_copy_is_enough(sound: int) -> None:
    volume = bytearray(INTACT)
    for slot, offset in enumerate(BLOCKS):
        if slot != sound:
            volume[offset + 100] ^= 1
    found = read(volume)
    assert (found.guid, found.damaged_copies) == (VOLUME_ID, 2)


class _BadSectors(io.BytesIO):
    """A disk that does not give what lies in some of the copies."""

    def __init__(self, raw: bytes, bad: tuple[int, ...]) -> None:
        super().__init__(raw)
        self._bad = bad

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() in self._bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(size)


def test_a_copy_that_the_disk_does_not_give_leaves_the_others() -> None:
    found = read_metadata(_BadSectors(INTACT, BLOCKS[:2]), 0, LENGTH)
    assert (found.guid, found.damaged_copies) == (VOLUME_ID, 2)
    with pytest.raises(FailedError) as caught:
        read_metadata(_BadSectors(INTACT, BLOCKS), 0, LENGTH)
    assert caught.value.reason == "unreadable-disk"


def test_no_sound_copy_is_refused_with_each_cause() -> None:
    volume = bytearray(INTACT)
    for offset in BLOCKS:
        volume[offset + 100] ^= 1
    with pytest.raises(NeedsHandsError, match="copy 3 fails its checksum") as caught:
        read(volume)
    assert caught.value.reason == "damaged-metadata"


@pytest.mark.parametrize(
    "other",
    [
        FveVolume(volume_id=TPM_ID),
        FveVolume(method=0x8005),
        FveVolume(volume_length=LENGTH - 4096),
        FveVolume(moved_header=(0x90000, 0x2000)),
    ],
)
@pytest.mark.parametrize("slot", [0, 2])
def test_copies_that_contradict_one_another_are_refused(other: FveVolume, slot: int) -> None:
    volume = bytearray(INTACT)
    block = other.block()
    volume[BLOCKS[slot] : BLOCKS[slot] + len(block)] = block
    with pytest.raises(NeedsHandsError, match="contradict one another") as caught:
        read(volume)
    assert caught.value.reason == "damaged-metadata"


def test_copies_may_differ_in_what_decides_nothing_about_the_layout() -> None:
    """A power cut while Windows added a protector leaves an old copy behind."""
    volume = bytearray(INTACT)
    block = FveVolume(protectors=[recovery_protector(), clear_protector()]).block()
    volume[BLOCKS[2] : BLOCKS[2] + len(block)] = block
    found = read(volume)
    assert (len(found.seals), found.damaged_copies) == (3, 0)
    assert [protector.id for protector in found.protectors] == [RECOVERY_ID, TPM_ID]


@pytest.mark.parametrize(
    "volume",
    [
        FveVolume(more=sealed(3)),
        FveVolume(more=datum(15, 15, struct.pack("<2Q", 0x90000, 0x2000))),
        FveVolume(moved_header=(0x80000, 0x4000)),
        FveVolume(sector_size=4096),
        FveVolume(sector_size=520),
        FveVolume(moved_header=(BLOCKS[1] - 0x1000, 0x2000)),
        FveVolume(moved_header=(0x1000, 0x2000)),
    ],
    ids=[
        "two keys",
        "two headers",
        "length",
        "sector size",
        "odd sector size",
        "overlap",
        "header on itself",
    ],
)
def test_metadata_that_programs_could_read_in_two_ways_is_refused(volume: FveVolume) -> None:
    assert read_or_refuse(volume.build()) is None


def test_sectors_of_four_kilobytes_and_exfat_without_a_size() -> None:
    assert read(FveVolume(sector_size=4096, moved_header=(0x80000, 0x10000)).build()).header_length == 0x10000
    assert read(FveVolume(sector_size=0).build()).header_length == 0x2000


def test_what_reads_as_zeros_when_it_is_open() -> None:
    places = tuple((offset, 0x10000) for offset in BLOCKS)
    assert read(INTACT).reserved == (*places, (0x80000, 0x2000))


@pytest.mark.parametrize("place", [BLOCKS[1], BLOCKS[0] + 512, 0, LENGTH, 2**63])
def test_a_first_sector_that_points_elsewhere_is_refused(place: int) -> None:
    """Programs go by it, and no checksum covers it."""
    volume = bytearray(INTACT)
    struct.pack_into("<Q", volume, 0xB0, place)
    with pytest.raises(NeedsHandsError, match="first sector says") as caught:
        read(volume)
    assert caught.value.reason == "damaged-metadata"


def test_a_volume_larger_than_its_partition_is_refused() -> None:
    assert read_or_refuse(FveVolume(volume_length=LENGTH + 512).build()) is None


def test_a_description_cannot_speak_to_a_terminal() -> None:
    found = read(FveVolume(description="\x1b[2JEVIL\u202e\n" + "x" * 1000).build())
    assert found.description is not None
    assert found.description.isprintable()
    assert len(found.description) <= 256


@pytest.mark.parametrize("at", [*range(3, 13), *range(0x38, 0x40), *range(0xA0, 0xC8), 510, 511])
@pytest.mark.parametrize("bit", [0, 7])
def test_one_flipped_bit_in_the_first_sector(at: int, bit: int) -> None:
    volume = bytearray(INTACT)
    volume[at] ^= 1 << bit
    found = read_or_refuse(volume)
    assert looks_like_bitlocker(bytes(volume[:512]))
    assert found is None


def test_every_flipped_bit_in_the_first_copy_leaves_the_others() -> None:
    used = len(FveVolume().block())
    seal = used - len(sealed(0))
    checksum = seal - 4
    for at in range(used):
        for bit in range(8):
            volume = bytearray(INTACT)
            volume[BLOCKS[0] + at] ^= 1 << bit
            found = read(volume)
            assert found.guid == VOLUME_ID
            # The validation part's own size and version are not used, and the seal opens with a key only.
            unseen = checksum - 4 <= at < checksum or at >= seal + 6
            assert unseen or found.damaged_copies == 1 or seal <= at < seal + 2


def test_every_flipped_bit_in_all_copies_is_refused_or_harmless() -> None:
    used = len(FveVolume().block())
    intact = read(INTACT)
    for at in range(used):
        volume = bytearray(INTACT)
        for offset in BLOCKS:
            volume[offset + at] ^= 1 << (at % 8)
        found = read_or_refuse(volume)
        assert found is None or replace(found, seals=()) == replace(intact, seals=())


def resigned(change: bytes, at: int) -> bytearray:
    """A volume whose three copies were changed and signed again: an attacker's, not an accident's."""
    block = bytearray(FveVolume().block())
    block[at : at + len(change)] = change
    size = struct.unpack_from("<H", block, 8)[0] * 16
    if 112 <= size <= len(block) - 8:
        struct.pack_into("<I", block, size + 4, zlib.crc32(block[:size]))
    volume = bytearray(INTACT)
    for offset in BLOCKS:
        volume[offset : offset + len(block)] = block
    return volume


@given(st.integers(0, 700), st.binary(min_size=1, max_size=8))
def test_signed_nonsense_is_refused_or_read(at: int, change: bytes) -> None:
    found = read_or_refuse(resigned(change, at))
    if found is not None:
        assert all(UUID(p.id) and p.id == p.id.upper() for p in found.protectors)
        assert found.header_offset is None or found.header_offset + (found.header_length or 0) <= LENGTH


@given(st.binary(max_size=600), st.integers(0, 2))
def test_any_bytes_as_entries(raw: bytes, padding: int) -> None:
    read_or_refuse(FveVolume(protectors=[raw + bytes(padding)]).build())


@given(st.binary(max_size=400))
def test_any_bytes_inside_a_protector(raw: bytes) -> None:
    read_or_refuse(FveVolume(protectors=[protector(TPM_ID, 0, raw), datum(2, 8, raw[:30])]).build())


@given(st.binary(max_size=2048), st.integers(0, 4096))
def test_any_bytes_as_a_volume(raw: bytes, length: int) -> None:
    assert read_or_refuse_stream(raw, length) is None


def read_or_refuse_stream(raw: bytes, length: int) -> BitLockerMetadata | None:
    return read_or_refuse(raw[:length])


@pytest.mark.parametrize("length", [0, 100, 512, 0x20000, 0x2FFFF])
def test_a_cut_off_volume_is_refused(length: int) -> None:
    assert read_or_refuse(INTACT[:length]) is None
