"""The keys of one drill volume, the sealing of one key with another (FVE v2), and AES-XTS over sectors.

A recovery password is stretched to a key that opens the volume master key (VMK), which opens the
full-volume encryption key (FVEK). Layouts: Metz, "BitLocker Drive Encryption format" (libbde), and the
sources of cryptsetup and dislocker, checked against volumes made by Windows.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass
from enum import IntEnum

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from unbrick.drill.bitlocker.settings import Method
from unbrick.secret import Secret

SECTOR = 512
_FIRST_NONCE_COUNTER = 2
_DATUM_HEADER = struct.Struct("<4H")
_TYPE_KEY = 1
_TYPE_SEALED = 5
_FVEK_SIZES: dict[Method, int] = {"aes-xts-128": 32, "aes-xts-256": 64}


class KeyAlgorithm(IntEnum):
    """What a KEY datum says its bytes are."""

    RECOVERY_PASSWORD = 0x1000
    CLEAR_KEY = 0x2000
    VOLUME_MASTER_KEY = 0x2003
    HASH = 0x2005
    STRETCHED_KEY = 0x2008
    AES_XTS_128 = 0x8004
    AES_XTS_256 = 0x8005


@dataclass(frozen=True)
class VolumeKeys:
    """The VMK and the FVEK."""

    master: Secret
    encryption: Secret


def make_volume_keys(method: Method, generator: random.Random) -> VolumeKeys:
    """The same generator gives the same keys: a drill has nothing to protect."""
    return VolumeKeys(
        master=Secret(generator.randbytes(32)), encryption=Secret(generator.randbytes(_FVEK_SIZES[method]))
    )


def encrypt_sectors(key: Secret, first: int, data: bytes) -> bytes:
    """Whole sectors of a volume, the first of which is number `first`, encrypted with its FVEK.

    IEEE 1619: a data unit is one sector of 512 bytes, its tweak the sector's number within the volume, 16
    bytes little-endian.
    """
    aes = algorithms.AES(key.reveal())
    return b"".join(
        Cipher(aes, modes.XTS((first + at // SECTOR).to_bytes(16, "little")))
        .encryptor()
        .update(data[at : at + SECTOR])
        for at in range(0, len(data), SECTOR)
    )


def password_bytes(password: Secret) -> Secret:
    """The 16 bytes that a recovery password (55 characters, well-formed) stands for."""
    groups = password.reveal().split(b"-")
    return Secret(struct.pack("<8H", *(int(group) // 11 for group in groups)))


def datum(role: int, kind: int, payload: bytes, flags: int = 1) -> bytes:
    """One entry of the metadata: u16 size (header included), u16 role, u16 type, u16 flags, payload."""
    return _DATUM_HEADER.pack(_DATUM_HEADER.size + len(payload), role, kind, flags) + payload


def key_datum(algorithm: KeyAlgorithm, key: Secret, flags: int = 1) -> bytes:
    """A KEY datum: u16 algorithm, u16 zero, the key in the open."""
    return datum(0, _TYPE_KEY, struct.pack("<2H", algorithm, 0) + key.reveal(), flags)


class Sealer:
    """Seals keys with AES-CCM under numbered nonces, so that no nonce is used twice.

    `time` is the FILETIME of the volume's encryption, the other half of every nonce.
    """

    def __init__(self, time: int) -> None:
        self._time = time
        self.next_counter = _FIRST_NONCE_COUNTER

    def seal(
        self,
        with_key: Secret,
        algorithm: KeyAlgorithm,
        key: Secret,
        *,
        role: int = 0,
        time: int | None = None,
    ) -> bytes:
        """A datum holding `key`, sealed with the 32-byte `with_key`: nonce, tag, then the ciphertext."""
        nonce = struct.pack("<QI", self._time if time is None else time, self.next_counter)
        self.next_counter += 1
        plain = key_datum(algorithm, key, flags=0)
        box = AESCCM(with_key.reveal(), tag_length=16).encrypt(nonce, plain, None)
        ciphertext, tag = box[:-16], box[-16:]
        return datum(role, _TYPE_SEALED, nonce + tag + ciphertext)
