"""Recognises a disk or volume that another vendor's program encrypted.

Sources of the signatures: The Sleuth Kit's `detect_encryption.c`, the boot sector of VeraCrypt
(`Boot/Windows/BootSector.asm`), cryptsetup's LUKS headers, libblkid's `cs_fvault2.c`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from unbrick.disks.identify.members import Member
from unbrick.disks.raw_view import RawView
from unbrick.errors import Reason
from unbrick.model import VolumeKind


@dataclass(frozen=True)
class _Mark:
    """Bytes that begin between two offsets (both included) of the first sector."""

    product: str
    text: str
    first: int
    last: int
    mark: bytes


# A boot loader in sector 0: it is there because the disk behind it is encrypted.
_DISK_MARKS = (
    _Mark("veracrypt", "VeraCrypt", 0, 500, b"VeraCrypt Boot Loader"),
    _Mark("truecrypt", "TrueCrypt", 0, 500, b"TrueCrypt Boot Loader"),
    _Mark("symantec-pgp", "Symantec (PGP) Drive Encryption", 0, 32, b"PGPGUARD"),
    _Mark("mcafee", "McAfee (Trellix, SafeBoot) Drive Encryption", 0, 32, b"SafeBoot"),
    _Mark("mcafee", "McAfee (Trellix, SafeBoot) Drive Encryption", 0, 32, b"Safeboot"),
    _Mark("sophos", "Sophos SafeGuard", 110, 150, b"SGM400"),
    _Mark("sophos", "Sophos SafeGuard", 110, 150, b"SGE400"),
    _Mark("guardianedge", "GuardianEdge (Symantec Endpoint) Encryption", 0, 32, b"PCGM"),
    _Mark("check-point", "Check Point Full Disk Encryption", 80, 100, b"Protect"),
    _Mark("winmagic", "WinMagic SecureDoc", 236, 256, b"WMSD"),
)
_VOLUME_MARKS = (
    _Mark("luks", "Linux (LUKS)", 0, 0, b"LUKS\xba\xbe"),
    _Mark("luks", "Linux (LUKS)", 0, 0, b"SKUL\xba\xbe"),
    _Mark("symantec-pgp", "Symantec (PGP) Drive Encryption", 0, 32, b"PGPGUARD"),
)
_CORE_STORAGE_TYPE = "53746F72-6167-11AA-AA11-00306543ECAC"

# A folder below \EFI of a program that unlocks the disk before Windows starts, in lower case.
_BOOT_FOLDERS = {
    "veracrypt": ("veracrypt", "VeraCrypt"),
    "dcs": ("diskcryptor", "DiskCryptor"),
    "diskcryptor": ("diskcryptor", "DiskCryptor"),
    "pgp": ("symantec-pgp", "Symantec (PGP) Drive Encryption"),
    "symantec": ("symantec-pgp", "Symantec (PGP) Drive Encryption"),
    "mcafee": ("mcafee", "McAfee (Trellix) Drive Encryption"),
    "trellix": ("mcafee", "McAfee (Trellix) Drive Encryption"),
    "sophos": ("sophos", "Sophos SafeGuard"),
    "checkpoint": ("check-point", "Check Point Full Disk Encryption"),
    "winmagic": ("winmagic", "WinMagic SecureDoc"),
    "securedoc": ("winmagic", "WinMagic SecureDoc"),
    "eset": ("eset", "ESET Full Disk Encryption"),
    "bestcrypt": ("bestcrypt", "Jetico BestCrypt"),
    "jetico": ("bestcrypt", "Jetico BestCrypt"),
}


def find_encrypted_disk(view: RawView) -> Member | None:
    return _find(view, _DISK_MARKS)


def find_encrypted_volume(view: RawView, partition_type: str | None) -> Member | None:
    found = _find(view, _VOLUME_MARKS)
    if found is None and partition_type == _CORE_STORAGE_TYPE and view.read(88, 2) == b"CS":
        return _member("filevault", "Apple FileVault (CoreStorage)", 88)
    return found


def find_boot_folder(names: Iterable[str]) -> Member | None:
    r"""The product that a folder below `\EFI` belongs to."""
    for name in names:
        found = _BOOT_FOLDERS.get(name.lower())
        if found:
            return _member(*found, 0)
    return None


def _find(view: RawView, marks: tuple[_Mark, ...]) -> Member | None:
    sector = view.read(0, 512)
    for mark in marks:
        at = sector.find(mark.mark, mark.first, mark.last + len(mark.mark))
        if at >= 0:
            return _member(mark.product, mark.text, at)
    return None


def _member(product: str, text: str, offset: int) -> Member:
    reason = f"{Reason.FOREIGN_ENCRYPTION}:{product}"
    return Member(VolumeKind.FOREIGN_ENCRYPTION, reason, f"encrypted by {text}", offset)
