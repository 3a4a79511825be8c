"""BitLocker volumes that are not as a drill makes them: other labels, protectors, entries and copies."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.drilled import Drilled, Drills
from support.fve_bytes import datum
from support.fve_edit import BLOCK, MOVED_HEADER, RECOVERY, TPM, Metadata, edit_metadata
from support.program import Ended, run_program

pytestmark = pytest.mark.usefixtures("leaves_nothing")


def edit(disk: Drilled, change: Callable[[Metadata], None], volume: int = 0) -> None:
    """Change the metadata of one of the disk's Windows volumes."""
    truth = disk.truth.volumes[volume]
    assert truth.protector
    edit_metadata(disk.image, truth.offset, disk.passwords()[truth.protector], change)


@pytest.mark.parametrize(
    ("label", "outcome"),
    [
        ("LAB-001-2 OSDisk 9/8/2018", ("needs-key", "key-missing")),
        ("", ("needs-key", "key-missing")),
        ("LAB-001 D: 9/8/2018", ("repaired", None)),
    ],
)
def test_a_second_volume_that_stays_locked_is_excused_only_by_a_proof(
    drills: Drills, tmp_path: Path, label: str, outcome: tuple[str, str | None]
) -> None:
    disk = drills.copy("two-locked", tmp_path / "disks")

    def without_tpm(metadata: Metadata) -> None:
        metadata.drop_protectors(TPM)
        metadata.describe(label)

    edit(disk, without_tpm, volume=1)
    first, second = disk.truth.volumes
    assert first.protector
    assert second.protector
    disk.keys.write_text(f"KeyID,RecoveryKey\n{first.protector},{disk.passwords()[first.protector]}\n")
    ended = run_program("repair", disk.image, "--keys", disk.keys, "--yes", "--json")
    document = ended.document
    assert (document["status"], document["reason"]) == outcome
    assert [one["status"] for one in document["installations"]] == ["repaired"]
    if outcome[0] == "needs-key":
        assert second.protector in document["error"]
        again = run_program("repair", disk.image, "--keys", disk.keys, "--yes")
        assert second.protector in again.said


def repair(disk: Drilled, *options: str) -> Ended:
    return run_program("repair", disk.image, "--keys", disk.keys, *options, "--json")


def said_of(ended: Ended) -> tuple[str, str | None]:
    return ended.document["status"], ended.document["reason"]


def spoil(disk: Drilled, copy: int, how: str) -> None:
    """Damage one copy of the metadata, as a bad sector or a stray write does."""
    with disk.image.open("r+b") as image:
        image.seek(disk.volume.offset)
        place = disk.volume.offset + struct.unpack_from("<3Q", image.read(512), 0xB0)[copy]
        image.seek(place)
        block = bytearray(image.read(BLOCK))
        if how == "one bit":
            block[200] ^= 1
        elif how == "other places":
            struct.pack_into("<Q", block, 56, struct.unpack_from("<Q", block, 56)[0] + 0x10000)
        else:
            block = bytearray(BLOCK) if how == "zeros" else bytearray(random.Random(copy).randbytes(BLOCK))
        image.seek(place)
        image.write(block)


@pytest.mark.parametrize(
    ("copies", "how"),
    [
        ((0,), "one bit"),
        ((0,), "zeros"),
        ((1,), "noise"),
        ((0, 1), "noise"),
        ((0, 2), "other places"),
        ((1, 2), "zeros"),
    ],
)
def test_one_sound_copy_of_the_metadata_is_enough(
    drills: Drills, tmp_path: Path, copies: tuple[int, ...], how: str
) -> None:
    disk = drills.copy("xts-128", tmp_path / "disks")
    for copy in copies:
        spoil(disk, copy, how)
    assert said_of(repair(disk, "--dry-run")) == ("found", None)
    assert said_of(repair(disk, "--yes")) == ("repaired", None)
    assert disk.complaints(repaired=True) == ()


def test_three_damaged_copies_are_too_many(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("xts-128", tmp_path / "disks")
    for copy in range(3):
        spoil(disk, copy, "one bit")
    before = disk.digest()
    ended = repair(disk, "--yes")
    assert said_of(ended) == ("needs-hands", "damaged-metadata")
    assert ended.document["error"]
    assert disk.digest() == before


def relabel(metadata: Metadata) -> None:
    metadata.describe("WARD-000 C: 1/1/2020")


def move_header(metadata: Metadata) -> None:
    """Say in both places that the file system's first bytes lie elsewhere."""
    (place,) = struct.unpack_from("<Q", metadata.header, 56)
    struct.pack_into("<Q", metadata.header, 56, place + 0x20000)
    for entry in metadata.entries:
        if (entry.role, entry.type) == MOVED_HEADER:
            entry.payload = struct.pack("<Q", place + 0x20000) + entry.payload[8:]


@pytest.mark.parametrize(
    ("kind", "change", "copies", "sealed"),
    [
        ("xts-128", relabel, (0, 1, 2), False),
        ("clear-key", relabel, (0, 1, 2), False),
        ("xts-128", move_header, (0, 1, 2), False),
        ("clear-key", move_header, (0, 1, 2), False),
        ("xts-128", move_header, (0,), False),
        ("xts-128", move_header, (2,), True),
    ],
)
def test_metadata_that_was_changed_or_contradicts_itself_is_not_written_by(
    drills: Drills,
    tmp_path: Path,
    kind: str,
    change: Callable[[Metadata], None],
    copies: tuple[int, ...],
    sealed: bool,
) -> None:
    disk = drills.copy(kind, tmp_path / "disks")
    password = disk.passwords().get(disk.volume.protector or "", "")
    edit_metadata(disk.image, disk.volume.offset, password, change, copies=copies, sealed=sealed)
    before = disk.digest()
    ended = repair(disk, "--yes")
    assert said_of(ended) == ("needs-hands", "damaged-metadata")
    assert ended.document["error"]
    assert said_of(repair(disk, "--dry-run")) == ("needs-hands", "damaged-metadata")
    assert disk.digest() == before


def test_a_copy_that_was_changed_without_the_key_is_passed_over(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("xts-128", tmp_path / "disks")
    assert disk.volume.protector
    password = disk.passwords()[disk.volume.protector]
    edit_metadata(disk.image, disk.volume.offset, password, relabel, copies=(0,), sealed=False)
    assert said_of(repair(disk, "--yes")) == ("repaired", None)
    assert disk.complaints(repaired=True) == ()


def test_an_entry_that_nobody_knows_yet_stops_nothing(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("xts-128", tmp_path / "disks")

    def hint(metadata: Metadata) -> None:
        for entry in metadata.entries:
            if entry.protector == RECOVERY:
                entry.payload += datum(0, 25, "j****n@example.com\0".encode("utf-16-le"))

    edit(disk, hint)
    assert said_of(repair(disk, "--yes")) == ("repaired", None)
    assert disk.complaints(repaired=True) == ()


def test_of_many_recovery_passwords_the_one_with_the_key_id_opens(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("xts-128", tmp_path / "disks")

    def crowd(metadata: Metadata) -> None:
        ours = next(entry for entry in metadata.entries if entry.protector == RECOVERY)
        others = [
            replace(ours, payload=bytes([number]) * 16 + ours.payload[16:40] + bytes(16) + ours.payload[56:])
            for number in range(1, 180)
        ]
        at = metadata.entries.index(ours)
        metadata.entries[at:at] = others

    edit(disk, crowd)
    assert said_of(repair(disk, "--yes")) == ("repaired", None)


@pytest.mark.parametrize(
    ("kind", "way"),
    [
        (0x2000, "with its own password"),
        (0x0200, "with the USB stick that has its startup key"),
        (0x0100, "in its own computer (TPM)"),
        (0x4321, "nothing that unbrick knows"),
    ],
)
def test_what_opens_a_volume_without_a_recovery_password_is_said(
    drills: Drills, tmp_path: Path, kind: int, way: str
) -> None:
    disk = drills.copy("xts-128", tmp_path / "disks")

    def other_kind(metadata: Metadata) -> None:
        metadata.drop_protectors(TPM)
        for entry in metadata.entries:
            if entry.protector == RECOVERY:
                entry.payload = entry.payload[:26] + struct.pack("<H", kind) + entry.payload[28:]

    edit(disk, other_kind)
    ended = repair(disk, "--yes")
    assert said_of(ended) == ("needs-key", "key-missing")
    assert way in ended.document["error"]
    assert "machine" not in ended.document["error"]


def test_windows_vista_s_bitlocker_is_not_called_damaged(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("xts-128", tmp_path / "disks")
    with disk.image.open("r+b") as image:
        image.seek(disk.volume.offset)
        sector = bytearray(image.read(512))
        sector[:3] = b"\xeb\x52\x90"
        sector[0x38:0x40] = struct.pack("<Q", 0x4000)
        sector[0xA0:0xC8] = bytes(40)
        image.seek(disk.volume.offset)
        image.write(sector)
    ended = repair(disk, "--yes")
    assert said_of(ended) == ("needs-hands", "unsupported-bitlocker")
    assert "damaged" not in ended.document["error"]
    states = {volume["partition"]: volume["state"] for volume in ended.document["volumes"]}
    assert states[disk.volume.partition] == "locked"
