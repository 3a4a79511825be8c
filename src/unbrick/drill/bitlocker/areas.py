"""The places inside an NTFS volume that BitLocker keeps for itself: made as files, found again as bytes.

They must belong to files, else the file system would one day put data where BitLocker gives only zeros.
While the volume is mounted call `prepare_reserved_files`; after it is unmounted the files are found again
by `locate_reserved_files` in the unmounted image.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unbrick.drill.bitlocker.ntfs_reader import FileData, NtfsImage, NtfsImageError
from unbrick.windows.ntfs_file import FileAttributes, write_attributes

FOLDER = "System Volume Information"
BLOCK_SIZE = 0x10000
HEADER_SIZE = 0x2000
EXTRA_SIZE = 0x10000

_BLOCK_NAMES = tuple(f"FVE2.{{e40ad34d-dae9-4bc7-95bd-b16218c10f72}}.{copy}" for copy in (1, 2, 3))
_HEADER_NAME = "FVE2.{24e6f0ae-6a00-4f73-984b-75ce9942852d}"
_EXTRA_NAME = "FVE2.{da392a22-cae0-4f0f-9a30-b8830385d046}"

# Name (in FOLDER) and size of each file, in the order Windows lays them out.
RESERVED_FILES: dict[str, int] = {
    _BLOCK_NAMES[0]: BLOCK_SIZE,
    _HEADER_NAME: HEADER_SIZE,
    _EXTRA_NAME: EXTRA_SIZE,
    _BLOCK_NAMES[1]: BLOCK_SIZE,
    _BLOCK_NAMES[2]: BLOCK_SIZE,
}


@dataclass(frozen=True)
class ReservedAreas:
    """Byte offsets from the start of the volume; sizes are those of `RESERVED_FILES`."""

    block_offsets: tuple[int, int, int]
    header_offset: int
    extra_offset: int

    def unencrypted(self) -> tuple[tuple[int, int], ...]:
        """Start and end of what BitLocker answers with zeros and never decrypts."""
        blocks = tuple((offset, offset + BLOCK_SIZE) for offset in self.block_offsets)
        return (*blocks, (self.header_offset, self.header_offset + HEADER_SIZE))

    def all(self) -> tuple[tuple[int, int], ...]:
        """Start and end of every reserved area."""
        return (*self.unencrypted(), (self.extra_offset, self.extra_offset + EXTRA_SIZE))


def prepare_reserved_files(root: Path) -> None:
    """Make the reserved files, full of zeros, in an NTFS mounted read-write at `root`.

    Best done first, on the empty volume: each must lie in one piece. Raises OSError (FileExistsError where
    one is there already).
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


def locate_reserved_files(path: Path, offset: int, length: int) -> ReservedAreas:
    """Find the reserved files in the unmounted NTFS at `offset` of the image `path`.

    Raises NtfsImageError where one is missing, in pieces or sparse.
    """
    with path.open("rb") as stream:
        return reserved_areas(NtfsImage(stream, offset, length))


def reserved_areas(image: NtfsImage) -> ReservedAreas:
    """The same for an image that is already open."""
    found = image.find_files(RESERVED_FILES)
    places = {name: _place_of(name, size, found.get(name)) for name, size in RESERVED_FILES.items()}
    first, second, third = (places[name] for name in _BLOCK_NAMES)
    return ReservedAreas((first, second, third), places[_HEADER_NAME], places[_EXTRA_NAME])


def _place_of(name: str, size: int, data: FileData | None) -> int:
    if data is None:
        raise NtfsImageError(f"the NTFS has no file {FOLDER}\\{name}: prepare_reserved_files was not called")
    run = data.runs[0] if data.runs else None
    if data.size != size or run is None or run.offset is None or run.length < size:
        raise NtfsImageError(f"the file {FOLDER}\\{name} does not lie in one piece of {size} bytes")
    return run.offset
