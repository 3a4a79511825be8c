"""Encrypts the NTFS of a drill machine in place, as BitLocker would have: real tools take it for real.

Writes only inside the given stretch of the given file. What it writes is fixed by the settings alone: the
same seed gives the same bytes. Keys never leave this room.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from unbrick.drill.bitlocker.areas import (
    FOLDER,
    HEADER_SIZE,
    RESERVED_FILES,
    ReservedAreas,
    locate_reserved_files,
    prepare_reserved_files,
    reserved_areas,
)
from unbrick.drill.bitlocker.cipher import SECTOR, XtsCipher
from unbrick.drill.bitlocker.keys import make_volume_keys
from unbrick.drill.bitlocker.metadata import build_first_sector, build_metadata
from unbrick.drill.bitlocker.ntfs_reader import NtfsImage, NtfsImageError
from unbrick.drill.bitlocker.settings import BitLockerSettings, Method, make_recovery_password
from unbrick.model import Protector

__all__ = [
    "FOLDER",
    "RESERVED_FILES",
    "BitLockerSettings",
    "EncryptedVolume",
    "Method",
    "ReservedAreas",
    "encrypt_volume",
    "locate_reserved_files",
    "make_recovery_password",
    "prepare_reserved_files",
]

_CHUNK = 1 << 20
Span = tuple[int, int]


@dataclass(frozen=True)
class EncryptedVolume:
    """What became of a volume. `identifier` is the volume's GUID; `encrypted` counts bytes of ciphertext."""

    identifier: str
    method: Method
    description: str
    protectors: tuple[Protector, ...]
    areas: ReservedAreas
    encrypted: int


def encrypt_volume(
    path: Path,
    offset: int,
    length: int,
    settings: BitLockerSettings,
    areas: ReservedAreas | None = None,
    *,
    used_space_only: bool = False,
) -> EncryptedVolume:
    """Encrypt in place the unmounted NTFS in `length` bytes from byte `offset` of the image `path`.

    The reserved files must be in it (`prepare_reserved_files`); without `areas` they are found here. With
    `used_space_only` free clusters are left as they are and will decrypt to noise, which is what Windows
    does on a new machine. Raises NtfsImageError before anything is written where the volume is not fit.
    """
    if offset % SECTOR or length % SECTOR:
        raise NtfsImageError("a volume begins and ends at a whole sector")
    generator = random.Random(settings.seed)  # noqa: S311 - a drill must be the same each time
    keys = make_volume_keys(settings.method, generator)
    with path.open("r+b", buffering=0) as stream:
        if stream.seek(0, os.SEEK_END) < offset + length:
            raise NtfsImageError("the image ends before its volume does")
        image = NtfsImage(stream, offset, length)
        areas = areas or reserved_areas(image)
        _check_areas(stream, offset, image, areas)
        used = _with_tail(image) if used_space_only else [(0, length)]
        metadata = build_metadata(settings, keys, areas, length, generator)
        cipher = XtsCipher(keys.encryption)
        volume = _Volume(stream, offset)

        header = volume.read(0, HEADER_SIZE)
        encrypted = HEADER_SIZE
        for start, end in spans_without(used, [(0, HEADER_SIZE), *areas.unencrypted()]):
            for at in range(start, end, _CHUNK):
                plain = volume.read(at, min(_CHUNK, end - at))
                volume.write(at, cipher.encrypt(at // SECTOR, plain))
            encrypted += end - start
        volume.write(areas.header_offset, cipher.encrypt(areas.header_offset // SECTOR, header))
        for block_offset in areas.block_offsets:
            volume.write(block_offset, metadata.block)
        first_sector = build_first_sector(areas, offset, image.cluster_size // SECTOR)
        # Windows leaves noise in the rest of the old header; nothing ever reads it.
        volume.write(0, first_sector + generator.randbytes(HEADER_SIZE - SECTOR))
    return EncryptedVolume(
        metadata.identifier, settings.method, settings.description, metadata.protectors, areas, encrypted
    )


class _Volume:
    """Reads and writes at byte positions of the volume."""

    def __init__(self, stream: BinaryIO, offset: int) -> None:
        self._stream = stream
        self._offset = offset

    def read(self, position: int, length: int) -> bytes:
        self._stream.seek(self._offset + position)
        data = self._stream.read(length)
        if len(data) != length:
            raise NtfsImageError("the image could not be read to the end of its volume")
        return data

    def write(self, position: int, data: bytes) -> None:
        self._stream.seek(self._offset + position)
        if self._stream.write(data) != len(data):
            raise NtfsImageError("the image could not be written to the end of its volume")


def spans_without(spans: Iterable[Span], holes: Iterable[Span]) -> Iterator[Span]:
    """What is left of spans (start, end; in order, apart from one another) once holes are cut out."""
    ordered = sorted(holes)
    for start, end in spans:
        for hole_start, hole_end in ordered:
            if hole_end <= start or hole_start >= end:
                continue
            if hole_start > start:
                yield start, hole_start
            start = max(start, hole_end)
        if start < end:
            yield start, end


def _with_tail(image: NtfsImage) -> list[Span]:
    """The used clusters, and what lies behind the last cluster: the copy of the boot sector."""
    return [*image.used_ranges(), (image.cluster_count * image.cluster_size, image.length)]


def _check_areas(stream: BinaryIO, offset: int, image: NtfsImage, areas: ReservedAreas) -> None:
    """Reads of these areas give zeros later, so zeros must be what they hold now."""
    spans = sorted(areas.all())
    edges = [HEADER_SIZE, *(edge for span in spans for edge in span), image.length]
    if edges != sorted(edges) or any(start % SECTOR for start, _ in spans):
        raise NtfsImageError("the areas reserved for BitLocker overlap or leave the volume")
    volume = _Volume(stream, offset)
    for start, end in spans:
        if any(volume.read(start, end - start)):
            raise NtfsImageError("a file reserved for BitLocker holds data where zeros must be")
