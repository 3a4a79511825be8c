"""The keys of one drill volume, and the sealing of one key with another (FVE v2).

A recovery password is stretched to a key that opens the volume master key (VMK), which opens the
full-volume encryption key (FVEK). Layouts: Metz, "BitLocker Drive Encryption format" (libbde), and the
sources of cryptsetup and dislocker, checked against volumes made by Windows.
"""

from __future__ import annotations

import hashlib
import random
import struct
from dataclasses import dataclass
from enum import IntEnum

from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from unbrick.drill.bitlocker.settings import Method, password_groups
from unbrick.secret import Secret

_STRETCH_ROUNDS = 0x100000
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
    """The two keys at the heart of a volume."""

    master: Secret
    encryption: Secret


def make_volume_keys(method: Method, generator: random.Random) -> VolumeKeys:
    """Draw the keys; the same generator gives the same keys, since a drill has nothing to protect."""
    return VolumeKeys(
        master=Secret(generator.randbytes(32)), encryption=Secret(generator.randbytes(_FVEK_SIZES[method]))
    )


def password_bytes(password: Secret) -> Secret:
    """The 16 bytes a recovery password stands for."""
    return Secret(struct.pack("<8H", *password_groups(password)))


def stretch_password(password: Secret, salt: bytes) -> Secret:
    """The key a recovery password gives with a salt of 16 bytes: 2^20 rounds of SHA-256, about 0.5 s."""
    initial = hashlib.sha256(password_bytes(password).reveal()).digest()
    constant = initial + salt
    last = bytes(32)
    counter_bytes = struct.Struct("<Q").pack
    sha256 = hashlib.sha256
    for counter in range(_STRETCH_ROUNDS):
        last = sha256(last + constant + counter_bytes(counter)).digest()
    return Secret(last)


def datum(role: int, kind: int, payload: bytes, flags: int = 1) -> bytes:
    """One entry of the metadata: u16 size (header included), u16 role, u16 type, u16 flags, payload."""
    return _DATUM_HEADER.pack(_DATUM_HEADER.size + len(payload), role, kind, flags) + payload


def key_datum(algorithm: KeyAlgorithm, key: Secret, flags: int = 1) -> bytes:
    """A KEY datum: u16 algorithm, u16 zero, the key itself in the open."""
    return datum(0, _TYPE_KEY, struct.pack("<2H", algorithm, 0) + key.reveal(), flags)


class Sealer:
    """Seals keys with AES-CCM under nonces that it numbers through, so that no nonce serves twice.

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
