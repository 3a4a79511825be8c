"""AES-XTS over whole runs of sectors, as BitLocker lays it over a volume (methods 0x8004 and 0x8005).

Holds one volume's cipher; knows nothing of metadata or files. The mode is IEEE 1619: a data unit is one
512-byte sector, its tweak the sector's number within the volume, 16 bytes little endian.

One call a sector into a crypto library costs more than the encryption itself, so a batch of sectors goes
through two bulk AES-ECB calls, with the tweaks of the whole batch multiplied side by side in one integer.
"""

from __future__ import annotations

from array import array
from functools import lru_cache

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from unbrick.secret import Secret

SECTOR = 512
_BLOCK = 16
_BLOCKS_A_SECTOR = SECTOR // _BLOCK
_WORDS_A_SECTOR = SECTOR // 8
# The reduction polynomial of GF(2^128): x^128 = x^7 + x^2 + x + 1.
_REDUCTION = 0x87
# Batches this small keep every intermediate integer in the processor's cache; larger ones are slower.
_BATCH = 128


class XtsCipher:
    """Encrypts sectors with a full-volume encryption key of 32 (AES-128) or 64 bytes (AES-256).

    The first half of the key is the data key, the second the tweak key.
    """

    def __init__(self, key: Secret) -> None:
        raw = key.reveal()
        if len(raw) not in (32, 64):
            raise ValueError(f"an XTS key has 32 or 64 bytes, not {len(raw)}")
        half = len(raw) // 2
        # XTS is built from bare AES blocks; ECB here is the primitive, not the mode of the data.
        self._data = Cipher(algorithms.AES(raw[:half]), modes.ECB()).encryptor()  # noqa: S305
        self._tweak = Cipher(algorithms.AES(raw[half:]), modes.ECB()).encryptor()  # noqa: S305

    def encrypt(self, first_sector: int, data: bytes) -> bytes:
        """Encrypt whole sectors, the first of which is number `first_sector` of the volume.

        Raises ValueError where `data` is not a whole number of 512-byte sectors.
        """
        if len(data) % SECTOR:
            raise ValueError("only whole sectors can be encrypted")
        return b"".join(
            self._encrypt_batch(first_sector + start // SECTOR, data[start : start + _BATCH * SECTOR])
            for start in range(0, len(data), _BATCH * SECTOR)
        )

    def _encrypt_batch(self, first_sector: int, data: bytes) -> bytes:
        mask = int.from_bytes(self._tweaks(first_sector, len(data) // SECTOR), "little")
        whitened = (int.from_bytes(data, "little") ^ mask).to_bytes(len(data), "little")
        sealed = self._data.update(whitened)
        return (int.from_bytes(sealed, "little") ^ mask).to_bytes(len(data), "little")

    def _tweaks(self, first_sector: int, sectors: int) -> array[int]:
        """The tweak of every block of a batch, in the order of the blocks."""
        numbers = b"".join(
            number.to_bytes(_BLOCK, "little") for number in range(first_sector, first_sector + sectors)
        )
        lanes = int.from_bytes(self._tweak.update(numbers), "little")
        ones, low_bits = _lane_masks(sectors)
        tweaks = array("Q", bytes(sectors * SECTOR))
        for block in range(_BLOCKS_A_SECTOR):
            words = array("Q", lanes.to_bytes(sectors * _BLOCK, "little"))
            tweaks[2 * block :: _WORDS_A_SECTOR] = words[::2]
            tweaks[2 * block + 1 :: _WORDS_A_SECTOR] = words[1::2]
            # Times x in every lane at once: the bit that leaves a lane comes back as the polynomial.
            leaving = (lanes >> 127) & ones
            lanes = ((lanes & low_bits) << 1) ^ (leaving * _REDUCTION)
        return tweaks


@lru_cache(maxsize=_BATCH)
def _lane_masks(lanes: int) -> tuple[int, int]:
    """For integers of 128-bit lanes: the lowest bit of each lane, and all bits but the highest."""
    ones = int.from_bytes((b"\x01" + bytes(_BLOCK - 1)) * lanes, "little")
    low_bits = int.from_bytes((b"\xff" * (_BLOCK - 1) + b"\x7f") * lanes, "little")
    return ones, low_bits
