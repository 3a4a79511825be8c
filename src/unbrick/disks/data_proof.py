"""What proves that a locked BitLocker volume holds data, and that no Windows starts from it. Pure.

A volume that stays locked beside a repaired Windows is excused by nothing less: not by a missing TPM
protector (a virtual machine has no TPM), nor by a label that names no drive.
"""

from __future__ import annotations

import re

from unbrick.disks.bitlocker import BitLockerMetadata
from unbrick.model import ProtectorKind

# Windows writes "COMPUTER D: DATE", the date in its short form. A volume that has a name has it there instead
# of the letter (OSDisk, Windows), and a Windows that encrypts its own volume writes C:.
_DATE = r"\d{1,4}(?:[-/.] ?\d{1,4}){2}\.?"
_DATA_LABEL = re.compile(rf"[^\s:]+ [ABD-Z]: {_DATE}")


def proves_data(metadata: BitLockerMetadata) -> bool:
    """Whether the volume's metadata prove it.

    Only a Windows starts by a TPM, so a protector that needs one speaks against every proof, as does one of a
    kind that nobody knows. Windows does not start from the FAT volume that BitLocker To Go makes.
    """
    for protector in metadata.key_protectors:
        if protector.needs_tpm or protector.kind is ProtectorKind.UNKNOWN:
            return False
    return metadata.to_go or _DATA_LABEL.fullmatch(metadata.description or "") is not None
