"""Whether metadata proves that a locked volume holds data, and that no Windows starts from it. Pure.

A volume that stays locked beside a repaired Windows needs this proof: a missing TPM protector is none (a
virtual machine has no TPM), nor a label that names no drive.
"""

from __future__ import annotations

import re

from unbrick.disks.bitlocker.metadata import BitLockerMetadata
from unbrick.model import ProtectorKind

# Windows writes "COMPUTER D: DATE", the date in its short form. A volume that has a name has it there instead
# of the letter (OSDisk, Windows), and a Windows that encrypts its own volume writes C:.
_DATE = r"\d{1,4}(?:[-/.] ?\d{1,4}){2}\.?"
_LABEL = re.compile(rf"[^\s:]+ (?P<letter>[A-Z]): {_DATE}")
_SYSTEM_DRIVE = re.compile(r"(?:^|\s)C:(?:\s|$)")


def holds_data(metadata: BitLockerMetadata) -> bool | None:
    """True where the metadata proves it, False where it has what only a Windows has, else None.

    Only a Windows starts by a TPM, and a protector of an unknown kind may be one of a Windows. None starts
    from the FAT volume that BitLocker To Go makes.
    """
    description = metadata.description or ""
    for protector in metadata.key_protectors:
        if protector.needs_tpm or protector.kind is ProtectorKind.UNKNOWN:
            return False
    if metadata.to_go:
        return True
    if _SYSTEM_DRIVE.search(description):
        return False
    return True if _LABEL.fullmatch(description) else None
