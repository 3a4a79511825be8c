"""Opens BitLocker's sealed keys: recovery password → stretched key → volume master key → volume key.

From cryptsetup's and dislocker's sources and from Windows-made volumes: the stretch is 0x100000 rounds of
SHA-256, a box is AES-CCM without additional data and holds one whole key datum.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from typing import TYPE_CHECKING

from unbrick.secret import Secret

if TYPE_CHECKING:
    from unbrick.disks.bitlocker.datums import SealedBox

_ROUNDS = 0x100000
_GROUPS = 8
_KEY_DATUM = 0x0001
_KEY_HEADER = 12  # datum header of 8 bytes, algorithm, padding


def password_key(password: Secret) -> Secret:
    """The 32 bytes a recovery password stands for: SHA-256 of its groups, each divided by 11, 16 bits each.

    `password` is the canonical text `123456-…`. Raises ValueError (without the password) where it is none.
    """
    try:
        numbers = [int(group) for group in password.reveal().decode("ascii").split("-")]
        if len(numbers) != _GROUPS or any(number % 11 for number in numbers):
            raise ValueError
        words = struct.pack("<8H", *(number // 11 for number in numbers))
    except (ValueError, struct.error):
        raise ValueError("not a BitLocker recovery password") from None
    return Secret(hashlib.sha256(words).digest())


def stretch(key: Secret, salt: bytes) -> Secret:
    """A password's key made slow to guess with a protector's 16 bytes of salt; takes 0.3 to 0.8 s."""
    sha256 = hashlib.sha256
    fixed = key.reveal() + salt
    last = bytes(32)
    # One call that packs is quicker than two that join, and this loop is most of what unlocking takes.
    pack = struct.Struct(f"<32s{len(fixed)}sQ").pack
    for counter in range(_ROUNDS):
        last = sha256(pack(last, fixed, counter)).digest()
    return Secret(last)


def open_box(key: Secret, box: SealedBox) -> Secret | None:
    """The key in a sealed box; None where `key` does not open it."""
    # Loaded here because it takes longer than a whole plain repair, and only locked volumes need it.
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESCCM

    try:
        datum = AESCCM(key.reveal(), tag_length=16).decrypt(box.nonce, box.ciphertext + box.tag, None)
    except (InvalidTag, ValueError):
        return None
    if len(datum) <= _KEY_HEADER:
        return None
    size, _, kind = struct.unpack_from("<HHH", datum)
    if kind != _KEY_DATUM or not _KEY_HEADER < size <= len(datum):
        return None
    return Secret(datum[_KEY_HEADER:size])


def holds(key: Secret, box: SealedBox, content: bytes) -> bool:
    """Whether `key` opens a sealed box, and `content` is in it."""
    found = open_box(key, box)
    return found is not None and hmac.compare_digest(found.reveal(), content)


def key_length(key: Secret) -> int:
    return len(key.reveal())
