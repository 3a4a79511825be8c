"""XTS against published vectors and against cryptography's own, sector by sector."""

import random

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from unbrick.drill.bitlocker.keys import SECTOR, encrypt_sectors, password_bytes
from unbrick.secret import Secret

COUNTING = bytes(range(256)) * 2


def reference(key: bytes, first_sector: int, data: bytes) -> bytes:
    out = b""
    for start in range(0, len(data), SECTOR):
        tweak = (first_sector + start // SECTOR).to_bytes(16, "little")
        out += Cipher(algorithms.AES(key), modes.XTS(tweak)).encryptor().update(data[start : start + SECTOR])
    return out


@pytest.mark.parametrize(
    ("key", "sector", "begins"),
    [
        # IEEE 1619-2007, annex B, vectors 4 (AES-128) and 10 (AES-256).
        (
            "2718281828459045235360287471352631415926535897932384626433832795",
            0,
            "27a7479befa1d476489f308cd4cfa6e2a96e4bbe3208ff25287dd3819616e89c",
        ),
        (
            "2718281828459045235360287471352662497757247093699959574966967627"
            "3141592653589793238462643383279502884197169399375105820974944592",
            0xFF,
            "1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b",
        ),
    ],
)
def test_published_vectors(key: str, sector: int, begins: str) -> None:
    encrypted = encrypt_sectors(Secret(bytes.fromhex(key)), sector, COUNTING)
    assert encrypted.startswith(bytes.fromhex(begins))
    assert len(encrypted) == SECTOR


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("sectors", [1, 2, 127, 128, 129, 300])
@pytest.mark.parametrize("first", [16, 0xFFFF_FFF0, 1 << 40])
def test_agrees_with_one_sector_at_a_time(size: int, sectors: int, first: int) -> None:
    generator = random.Random(sectors)
    key, data = generator.randbytes(size), generator.randbytes(sectors * SECTOR)
    assert encrypt_sectors(Secret(key), first, data) == reference(key, first, data)


@pytest.mark.parametrize("edge", [b"\x00", b"\xff"])
def test_no_byte_is_lost_with_extreme_data(edge: bytes) -> None:
    key = bytes(range(32))
    data = edge * (130 * SECTOR)
    assert encrypt_sectors(Secret(key), 7, data) == reference(key, 7, data)


def test_no_other_keys() -> None:
    with pytest.raises(ValueError, match="384"):
        encrypt_sectors(Secret(bytes(48)), 0, bytes(512))


def test_a_password_made_by_windows_as_bytes() -> None:
    password = Secret("235818-357951-253979-013365-241120-245575-342914-591910")
    first = b"".join((group // 11).to_bytes(2, "little") for group in (235818, 357951))
    assert password_bytes(password).reveal()[:4] == first
    assert len(password_bytes(password).reveal()) == 16
