"""Other vendors' encryption is named, and an ordinary disk is not accused of it."""

from __future__ import annotations

import pytest
from support.disk_bytes import MIB, fat32_boot_sector, mbr_disk, ntfs_boot_sector, view_of, windows_disk

from unbrick.disks.identify.foreign_encryption import (
    find_boot_folder,
    find_encrypted_disk,
    find_encrypted_volume,
)

BOOT_LOADERS = [
    (6, b" VeraCrypt Boot Loader\r\n", "veracrypt"),
    (6, b" TrueCrypt Boot Loader\r\n", "truecrypt"),
    (0, b"\xeb\x48\x90PGPGUARD", "symantec-pgp"),
    (3, b"SafeBoot", "mcafee"),
    (3, b"Safeboot", "mcafee"),
    (119, b"SGM400:", "sophos"),
    (119, b"SGE400:", "sophos"),
    (6, b"PCGM", "guardianedge"),
    (90, b"Protect", "check-point"),
    (246, b"WMSD", "winmagic"),
]


@pytest.mark.parametrize(("at", "mark", "product"), BOOT_LOADERS)
def test_a_boot_loader_in_the_first_sector(at: int, mark: bytes, product: str) -> None:
    disk = mbr_disk(MIB, [(7, 63, 100)])
    disk[at : at + len(mark)] = mark
    found = find_encrypted_disk(view_of(disk))
    assert found is not None
    assert found.reason == f"foreign-encryption:{product}"


@pytest.mark.parametrize(("at", "mark", "product"), BOOT_LOADERS)
def test_the_same_bytes_elsewhere_mean_nothing(at: int, mark: bytes, product: str) -> None:
    disk = mbr_disk(MIB, [(7, 63, 100)])
    disk[1024 : 1024 + len(mark)] = mark
    assert find_encrypted_disk(view_of(disk)) is None


def test_luks_and_filevault_volumes() -> None:
    luks = find_encrypted_volume(view_of(b"LUKS\xba\xbe\x00\x02" + bytes(1000)), None)
    assert luks is not None
    assert luks.reason == "foreign-encryption:luks"
    core_storage = view_of(bytes(88) + b"CS" + bytes(1000))
    vault = find_encrypted_volume(core_storage, "53746F72-6167-11AA-AA11-00306543ECAC")
    assert vault is not None
    assert vault.reason == "foreign-encryption:filevault"
    assert find_encrypted_volume(core_storage, "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7") is None


def test_ordinary_disks_and_volumes_are_not_accused() -> None:
    assert find_encrypted_disk(view_of(windows_disk())) is None
    for sector in (ntfs_boot_sector(MIB), fat32_boot_sector(), bytes(512)):
        assert find_encrypted_volume(view_of(sector), None) is None
        assert find_encrypted_disk(view_of(sector)) is None


def test_boot_folders_are_compared_without_case() -> None:
    found = find_boot_folder(["Microsoft", "Boot", "VERACRYPT"])
    assert found is not None
    assert found.reason == "foreign-encryption:veracrypt"
    assert find_boot_folder(["Microsoft", "Boot", "HP", "Dell", "ubuntu"]) is None
