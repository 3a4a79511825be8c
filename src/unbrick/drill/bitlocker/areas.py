"""The files of an NTFS volume that BitLocker keeps for itself, and the clusters that are in use.

An encrypted volume reads as zeros where these files are. They must be files, or the file system would one
day put data there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from unbrick.disks.ntfs.file_table import find_data, open_stream, open_table
from unbrick.disks.ntfs.structures import DATA, Attribute, ByteView, Geometry
from unbrick.errors import FailedError, Reason
from unbrick.windows.ntfs_file import FileAttributes, write_attributes

FOLDER = "System Volume Information"
BLOCK_SIZE = 0x10000
HEADER_SIZE = 0x2000
EXTRA_SIZE = 0x10000

_BLOCK_NAMES = tuple(f"FVE2.{{e40ad34d-dae9-4bc7-95bd-b16218c10f72}}.{copy}" for copy in (1, 2, 3))
_HEADER_NAME = "FVE2.{24e6f0ae-6a00-4f73-984b-75ce9942852d}"
_EXTRA_NAME = "FVE2.{da392a22-cae0-4f0f-9a30-b8830385d046}"
_BITMAP_RECORD = 6

# Name (in FOLDER) and size of each file, in the order Windows lays them out.
RESERVED_FILES: dict[str, int] = {
    _BLOCK_NAMES[0]: BLOCK_SIZE,
    _HEADER_NAME: HEADER_SIZE,
    _EXTRA_NAME: EXTRA_SIZE,
    _BLOCK_NAMES[1]: BLOCK_SIZE,
    _BLOCK_NAMES[2]: BLOCK_SIZE,
}


class NtfsImageError(FailedError):
    """The NTFS is not one that a drill can encrypt."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason=Reason.DAMAGED_VOLUME)


@dataclass(frozen=True)
class ReservedAreas:
    """Byte offsets from the start of the volume; sizes are those of `RESERVED_FILES`."""

    block_offsets: tuple[int, int, int]
    header_offset: int
    extra_offset: int

    def unencrypted(self) -> tuple[tuple[int, int], ...]:
        """Start and end of what BitLocker reads as zeros and never decrypts."""
        blocks = tuple((offset, offset + BLOCK_SIZE) for offset in self.block_offsets)
        return (*blocks, (self.header_offset, self.header_offset + HEADER_SIZE))

    def all(self) -> tuple[tuple[int, int], ...]:
        return (*self.unencrypted(), (self.extra_offset, self.extra_offset + EXTRA_SIZE))


def prepare_reserved_files(root: Path) -> None:
    """Make the reserved files, full of zeros, in an NTFS mounted read-write at `root`.

    Best done on the empty volume: each must lie in one piece. Raises OSError (FileExistsError where one
    exists already).
    """
    folder = root / FOLDER
    folder.mkdir(exist_ok=True)
    hidden = FileAttributes.HIDDEN | FileAttributes.SYSTEM
    write_attributes(folder, hidden | FileAttributes.DIRECTORY)
    for name, size in RESERVED_FILES.items():
        path = folder / name
        with path.open("xb", buffering=0) as stream:
            # In one write: ntfs-3g then looks for room for the whole file at once.
            stream.write(bytes(size))
        write_attributes(path, hidden)


def find_reserved_areas(view: ByteView, geometry: Geometry) -> ReservedAreas:
    """Where the reserved files are in an unmounted NTFS.

    Raises NtfsImageError where one is missing, in pieces or sparse, NeedsHandsError on a damaged NTFS.
    """
    table = open_table(view, geometry)
    places: dict[str, int] = {}
    for number in range(table.count):
        record = table.find(number)
        if record is None or not record.in_use or record.base is not None:
            continue
        for name in table.names(number):
            if name.text in RESERVED_FILES:
                places[name.text] = _place_of(name.text, table.find_attribute(number, DATA))
        if len(places) == len(RESERVED_FILES):
            break
    if missing := [name for name in RESERVED_FILES if name not in places]:
        raise NtfsImageError(
            f"the NTFS has no file {FOLDER}\\{missing[0]}: prepare_reserved_files was not called"
        )
    first, second, third = (places[name] for name in _BLOCK_NAMES)
    return ReservedAreas((first, second, third), places[_HEADER_NAME], places[_EXTRA_NAME])


def _place_of(name: str, data: Attribute | None) -> int:
    size = RESERVED_FILES[name]
    run = data.runs[0] if data and data.runs and data.size == size else None
    if run is None or run.offset is None or run.length < size:
        raise NtfsImageError(f"the file {FOLDER}\\{name} does not lie in one piece of {size} bytes")
    return run.offset


def used_ranges(view: ByteView, geometry: Geometry) -> list[tuple[int, int]]:
    """Start and end, in bytes, of each stretch of clusters in use; raises NtfsImageError, NeedsHandsError."""
    clusters = geometry.length // geometry.cluster
    data = find_data(view, geometry, _BITMAP_RECORD)
    bitmap = open_stream(view, data).read(0, data.size) if data else b""
    if len(bitmap) * 8 < clusters:
        raise NtfsImageError("the NTFS does not say which of its clusters are used")
    # As text of 0 and 1, lowest cluster first: the fastest way to find stretches without a library.
    bits = f"{int.from_bytes(bitmap, 'little'):b}"[::-1][:clusters]
    size = geometry.cluster
    return [(match.start() * size, match.end() * size) for match in re.finditer("1+", bits)]
