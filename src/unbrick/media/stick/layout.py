"""The layout of a stick, and the bytes of its partition table, from the image and the sizes. Pure.

A stick is the image, except for its first 32 KiB (boot code and GPT): there the GPT is made to fit the stick
(UEFI specification, chapter 5) and gets one more partition, FAT32 `UNBRICK`. The image's own 32 KiB are kept
behind the image, so that a stick alone is enough to check it against a signature over the image. The same
image and size of stick give the same bytes.

    0         the head: boot code as in the image, GPT of the stick
    32 KiB    the image from here on
    image's end   the image's own head, then zeros up to a whole MiB
    whole MiB     the partition UNBRICK, at most 1 GiB
    stick's end   the second copy of the GPT
"""

from __future__ import annotations

import hashlib
import struct
import uuid
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from unbrick.disks import gpt
from unbrick.errors import UsageError

SECTOR = 512
HEAD_BYTES = 32 * 1024
LABEL = "UNBRICK"
MIB = 1024 * 1024
SMALLEST_PARTITION = 64 * MIB
LARGEST_PARTITION = 1024 * MIB

_BASIC_DATA = uuid.UUID("EBD0A0A2-B9E5-4433-87C0-68B6B72699C7").bytes_le
_LINUX_DATA = uuid.UUID("0FC63DAF-8483-4772-8E79-3D69D8477DE4").bytes_le
_PROTECTIVE = 0xEE
_MBR_ENTRIES = range(446, 510, 16)
_HINT = "give the file that `unbrick media build --out` made"


@dataclass(frozen=True)
class StickLayout:
    """Offsets and sizes are bytes.

    `pieces` are `(offset, bytes)` of all that is neither the image's nor the partition's, in the order of the
    stick: the head, the image's own head and zeros, the second GPT.
    """

    image_size: int
    disk_size: int
    pieces: tuple[tuple[int, bytes], ...]
    partition_offset: int
    partition_size: int
    volume_id: str

    @property
    def head(self) -> bytes:
        return self.pieces[0][1]


def plan_stick(image_head: bytes, image_size: int, disk_size: int) -> StickLayout:
    """The layout of an image with these first 32 KiB on a stick of `disk_size` bytes.

    Raises UsageError for another image, or too small a stick.
    """
    image, image_entries = _read_gpt(image_head, image_size)
    sectors = disk_size // SECTOR
    entry_sectors = -(-len(image_entries) // SECTOR)
    backup_at = sectors - 1 - entry_sectors
    start = -(-(image_size + HEAD_BYTES) // MIB) * MIB
    end = min(start + LARGEST_PARTITION, backup_at * SECTOR) // MIB * MIB
    if end - start < SMALLEST_PARTITION:
        needed = -(-(start + SMALLEST_PARTITION + (entry_sectors + 1) * SECTOR) // MIB)
        raise UsageError(
            f"the stick is too small: it holds {disk_size // MIB} MiB, and {needed} MiB are needed",
            hint="take a larger stick",
        )
    digest = hashlib.sha256(image.guid + LABEL.encode()).digest()
    entries = _entries(
        image_entries, uuid.UUID(bytes=digest[:16], version=4), start // SECTOR, end // SECTOR - 1
    )
    first = image._replace(
        alternate=sectors - 1, last_usable=backup_at - 1, entries_checksum=zlib.crc32(entries), reserved=0
    )
    second = first._replace(own=sectors - 1, alternate=1, entries_at=backup_at)
    head = bytearray(image_head)
    _fit_protective_mbr(head, sectors)
    head[SECTOR : 2 * SECTOR] = first.packed().ljust(SECTOR, b"\0")
    head[image.entries_at * SECTOR : image.entries_at * SECTOR + len(entries)] = entries
    behind = image_head + bytes(start - image_size - HEAD_BYTES)
    return StickLayout(
        image_size=image_size,
        disk_size=disk_size,
        pieces=(
            (0, bytes(head)),
            (image_size, behind),
            (
                backup_at * SECTOR,
                entries.ljust(entry_sectors * SECTOR, b"\0") + second.packed().ljust(SECTOR, b"\0"),
            ),
        ),
        partition_offset=start,
        partition_size=end - start,
        volume_id=digest[:4].hex(),
    )


def find_differences(
    read: Callable[[int, int], bytes], image_size: int, disk_size: int
) -> tuple[bytes, list[str]]:
    """The head of a stick's image, and in sentences where the stick is not as it was written.

    `read(offset, size)` reads the stick. The head comes from the stick itself: believe it only once the head
    and the stick's bytes from 32 KiB to `image_size`, together, were checked against a signature. Raises
    UsageError where it is no head.
    """
    image_head = read(image_size, HEAD_BYTES)
    layout = plan_stick(image_head, image_size, disk_size)
    words = (
        "the boot code or the partition table",
        "what lies behind the image",
        "the second partition table",
    )
    found = [
        f"{what} is not as it was written"
        for (offset, expected), what in zip(layout.pieces, words, strict=True)
        if read(offset, len(expected)) != expected
    ]
    return image_head, found


def _read_gpt(head: bytes, image_size: int) -> tuple[gpt.Header, bytes]:
    """The header and the entries of the image's own table; raises UsageError."""
    if len(head) != HEAD_BYTES or image_size < HEAD_BYTES or image_size % SECTOR:
        raise UsageError("the image is not one of a boot medium", hint=_HINT)
    sector = head[SECTOR : 2 * SECTOR]
    header = gpt.read_header(sector)
    fits = gpt.HEADER_SIZE <= header.size <= SECTOR
    if header.signature != gpt.SIGNATURE or header.own != 1 or not fits:
        raise UsageError("the image is not one of a boot medium: it has no GPT", hint=_HINT)
    begin, size = header.entries_at * SECTOR, header.entry_count * header.entry_size
    entries = head[begin : begin + size]
    fits = begin >= 2 * SECTOR and size > 0 and begin + size <= HEAD_BYTES
    sound = header.is_sound(sector) and zlib.crc32(entries) == header.entries_checksum
    if header.entry_size != gpt.ENTRY_SIZE or not fits or not sound:
        raise UsageError("the image is damaged: its partition table is not sound", hint=_HINT)
    return header, entries


def _entries(image: bytes, guid: uuid.UUID, first: int, last: int) -> bytes:
    entries = [image[at : at + gpt.ENTRY_SIZE] for at in range(0, len(image), gpt.ENTRY_SIZE)]
    # Windows offers to format an ISO 9660 partition of a type that it knows: it may show UNBRICK only.
    entries = [_LINUX_DATA + one[16:] if one[:16] == _BASIC_DATA else one for one in entries]
    free = next((index for index, one in enumerate(entries) if one[:16] == gpt.UNUSED), None)
    if free is None:
        raise UsageError("the image has no room for another partition", hint=_HINT)
    entries[free] = gpt.Entry(_BASIC_DATA, guid.bytes_le, first, last, name=LABEL).packed()
    return b"".join(entries)


def _fit_protective_mbr(head: bytearray, sectors: int) -> None:
    """Make the protective entry span the stick; a legacy BIOS needs the rest as it is."""
    for at in _MBR_ENTRIES:
        if head[at + 4] == _PROTECTIVE:
            first = int.from_bytes(head[at + 8 : at + 12], "little")
            if first >= sectors:
                raise UsageError("the image is damaged: its first sector is not sound", hint=_HINT)
            struct.pack_into("<I", head, at + 12, min(sectors - first, 0xFFFFFFFF))
            head[at + 5 : at + 8] = b"\xff\xff\xff"
            return
    raise UsageError("the image is not one of a boot medium: its first sector does not say GPT", hint=_HINT)
