"""Encrypts the NTFS of a drill machine in place, as BitLocker does: real tools open it.

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

from unbrick.disks.ntfs.structures import read_geometry
from unbrick.drill.bitlocker.areas import (
    HEADER_SIZE,
    NtfsImageError,
    ReservedAreas,
    find_reserved_areas,
    used_ranges,
)
from unbrick.drill.bitlocker.keys import SECTOR, encrypt_sectors, make_volume_keys
from unbrick.drill.bitlocker.metadata import build_first_sector, build_metadata
from unbrick.drill.bitlocker.settings import BitLockerSettings
from unbrick.model import Protector

_CHUNK = 1 << 20
Span = tuple[int, int]


@dataclass(frozen=True)
class EncryptedVolume:
    """`identifier` is the volume's GUID; `encrypted` counts bytes of ciphertext."""

    identifier: str
    protectors: tuple[Protector, ...]
    areas: ReservedAreas
    encrypted: int


def encrypt_volume(
    path: Path, offset: int, length: int, settings: BitLockerSettings, *, used_space_only: bool = False
) -> EncryptedVolume:
    """Encrypt in place the unmounted NTFS in `length` bytes from byte `offset` of the image `path`.

    The reserved files must be in it (`prepare_reserved_files`). With `used_space_only` free clusters are left
    as they are and will decrypt to noise, which is what Windows does on a new machine. Raises NtfsImageError
    and NeedsHandsError (damaged-volume), before anything is written, where the volume is not fit.
    """
    if offset % SECTOR or length % SECTOR:
        raise NtfsImageError("a volume begins and ends at a whole sector")
    generator = random.Random(settings.seed)  # noqa: S311 - a drill must be the same each time
    keys = make_volume_keys(settings.method, generator)
    with path.open("r+b", buffering=0) as stream:
        if stream.seek(0, os.SEEK_END) < offset + length:
            raise NtfsImageError("the image ends before its volume does")
        volume = _Volume(stream, offset)
        geometry = read_geometry(volume)
        if volume.read(0x0B, 2) != SECTOR.to_bytes(2, "little"):
            raise NtfsImageError("only NTFS with 512-byte sectors can be encrypted")
        if geometry.length >= length:
            raise NtfsImageError("the NTFS is larger than its partition")
        areas = find_reserved_areas(volume, geometry)
        _check_areas(volume, length, areas)
        spans = [(0, length)]
        if used_space_only:
            # Behind the last cluster lies the copy of the boot sector.
            clusters_end = geometry.length // geometry.cluster * geometry.cluster
            spans = [*used_ranges(volume, geometry), (clusters_end, length)]
        metadata = build_metadata(settings, keys, areas, length, generator)

        header = volume.read(0, HEADER_SIZE)
        encrypted = HEADER_SIZE
        for start, end in spans_without(spans, [(0, HEADER_SIZE), *areas.unencrypted()]):
            for at in range(start, end, _CHUNK):
                plain = volume.read(at, min(_CHUNK, end - at))
                volume.write(at, encrypt_sectors(keys.encryption, at // SECTOR, plain))
            encrypted += end - start
        moved = encrypt_sectors(keys.encryption, areas.header_offset // SECTOR, header)
        volume.write(areas.header_offset, moved)
        for block_offset in areas.block_offsets:
            volume.write(block_offset, metadata.block)
        first_sector = build_first_sector(areas, offset, geometry.cluster // SECTOR)
        # Windows leaves noise in the rest of the old header; nothing ever reads it.
        volume.write(0, first_sector + generator.randbytes(HEADER_SIZE - SECTOR))
    return EncryptedVolume(metadata.identifier, metadata.protectors, areas, encrypted)


class _Volume:
    """A part of a file as a view of a volume; where it cannot be read or written whole: NtfsImageError."""

    def __init__(self, stream: BinaryIO, offset: int) -> None:
        self._stream = stream
        self._offset = offset

    def read(self, offset: int, length: int) -> bytes:
        self._stream.seek(self._offset + offset)
        data = self._stream.read(length)
        if len(data) != length:
            raise NtfsImageError("the image could not be read to the end of its volume")
        return data

    def write(self, offset: int, data: bytes) -> None:
        self._stream.seek(self._offset + offset)
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


def _check_areas(volume: _Volume, length: int, areas: ReservedAreas) -> None:
    spans = sorted(areas.all())
    edges = [HEADER_SIZE, *(edge for span in spans for edge in span), length]
    if edges != sorted(edges) or any(start % SECTOR for start, _ in spans):
        raise NtfsImageError("the areas reserved for BitLocker overlap or leave the volume")
    # They will read as zeros, so they must hold zeros now.
    for start, end in spans:
        if any(volume.read(start, end - start)):
            raise NtfsImageError("a file reserved for BitLocker holds data where zeros must be")
