"""Reads BitLocker's metadata (FVE, version 2) from a locked volume: protectors, method, state, description.

Pure: reads a stream, changes nothing, holds every byte of it for hostile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from unbrick.model import Protector, ProtectorKind, VolumeState
from unbrick.secret import Secret


@dataclass(frozen=True)
class SealedBox:
    """An AES-CCM datum: 12 bytes of nonce, 16 of tag, and the ciphertext. No additional data."""

    nonce: bytes
    tag: bytes
    ciphertext: bytes


@dataclass(frozen=True)
class KeyProtector:
    """One protector with what is needed to open it: the salt of a stretched one, the box that holds the VMK.

    `clear_key` is set for kind clear-key only: the 32 bytes that open `sealed_key`.
    """

    id: str
    kind: ProtectorKind
    salt: bytes | None = None
    sealed_key: SealedBox | None = None
    clear_key: Secret | None = None


@dataclass(frozen=True)
class BitLockerMetadata:
    """What a volume says of itself while locked.

    `state` is LOCKED or CONVERTING. `guid` is the volume identifier. `method` is the cipher's word
    (`aes-xts-128`, `aes-cbc-256`, `aes-cbc-128-elephant`). Offsets are bytes from the start of the volume;
    `header_offset` and `header_length` are where the file system's first bytes lie. `damaged_copies` of the three
    blocks failed their checks.
    """

    state: VolumeState
    guid: str
    method: str
    description: str | None
    key_protectors: tuple[KeyProtector, ...]
    sealed_volume_key: SealedBox | None
    volume_length: int
    block_offsets: tuple[int, ...]
    header_offset: int | None
    header_length: int | None
    damaged_copies: int = 0

    @property
    def protectors(self) -> tuple[Protector, ...]:
        """The protectors as the contract lists them."""
        return tuple(Protector(p.id, p.kind) for p in self.key_protectors)


def read_metadata(stream: BinaryIO, offset: int, length: int) -> BitLockerMetadata:
    """Read the metadata of the volume at `offset` bytes; raises NeedsHandsError (damaged-metadata)."""
    raise NotImplementedError
