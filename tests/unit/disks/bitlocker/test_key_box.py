"""Sealed keys: a box made here, and the password rule."""

from __future__ import annotations

import hashlib
import struct

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from unbrick.disks.bitlocker import key_box
from unbrick.disks.bitlocker.datums import SealedBox
from unbrick.disks.bitlocker.key_box import open_box, password_key, stretch
from unbrick.secret import Secret

KEY = Secret(bytes(range(32)))
NONCE = bytes(12)


def sealed(datum: bytes, key: Secret = KEY) -> SealedBox:
    whole = AESCCM(key.reveal(), tag_length=16).encrypt(NONCE, datum, None)
    return SealedBox(nonce=NONCE, tag=whole[-16:], ciphertext=whole[:-16])


def key_datum(key: bytes, *, kind: int = 1, size: int | None = None) -> bytes:
    length = size if size is not None else 12 + len(key)
    return struct.pack("<HHHHHH", length, 0, kind, 0, 0x2003, 0) + key


def test_right_key_opens() -> None:
    opened = open_box(KEY, sealed(key_datum(b"v" * 32)))
    assert opened == Secret(b"v" * 32)


def test_wrong_key_does_not() -> None:
    assert open_box(Secret(bytes(32)), sealed(key_datum(b"v" * 32))) is None


@pytest.mark.parametrize(
    "datum",
    [
        b"",
        b"short",
        key_datum(b""),
        key_datum(b"v" * 32, kind=2),
        key_datum(b"v" * 32, size=200),
        key_datum(b"v", size=4),
    ],
)
def test_what_is_no_key_datum_is_not_taken_for_one(datum: bytes) -> None:
    assert open_box(KEY, sealed(datum)) is None


def test_nonsense_box_is_not_opened() -> None:
    assert open_box(KEY, SealedBox(nonce=b"", tag=b"", ciphertext=b"")) is None
    assert open_box(Secret(b"x"), sealed(key_datum(b"v" * 32))) is None


def test_password_key_is_the_groups_divided_by_eleven() -> None:
    password = Secret("000011-000022-000033-000044-000055-000066-000077-720885")
    expected = hashlib.sha256(struct.pack("<8H", 1, 2, 3, 4, 5, 6, 7, 65535)).digest()
    assert password_key(password) == Secret(expected)


@pytest.mark.parametrize("text", ["", "1-2", "000012-" * 7 + "000011", "720896-" * 7 + "720896", "ü"])
def test_bad_password_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a BitLocker recovery password$") as caught:
        password_key(Secret(text))
    assert caught.value.__suppress_context__


def test_stretch_is_the_chain_of_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_box, "_ROUNDS", 3)
    last = bytes(32)
    for counter in range(3):
        last = hashlib.sha256(last + KEY.reveal() + b"s" * 16 + struct.pack("<Q", counter)).digest()
    assert stretch(KEY, b"s" * 16) == Secret(last)
