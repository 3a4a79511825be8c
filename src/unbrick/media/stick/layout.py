"""Where everything lies on a stick, and the bytes of its partition table: from the image and the sizes alone.

A stick is the image as it stands, but for its first 32 KiB (boot code and GPT): there the GPT is made to fit
the stick (UEFI specification, chapter 5) and gets one more partition, FAT32 `UNBRICK`. What the image had in
those 32 KiB lies untouched behind the image, so that a stick alone is enough to check it against a signature
over the image. The same image and size of stick give the same bytes. Pure.

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

from unbrick.errors import UsageError

SECTOR = 512
HEAD_BYTES = 32 * 1024
LABEL = "UNBRICK"
MIB = 1024 * 1024
SMALLEST_PARTITION = 64 * MIB
LARGEST_PARTITION = 1024 * MIB

_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY = struct.Struct("<16s16sQQQ72s")
_BASIC_DATA = uuid.UUID("EBD0A0A2-B9E5-4433-87C0-68B6B72699C7").bytes_le
_LINUX_DATA = uuid.UUID("0FC63DAF-8483-4772-8E79-3D69D8477DE4").bytes_le
_PROTECTIVE = 0xEE
_MBR_ENTRIES = range(446, 510, 16)
_HINT = "give the file that `unbrick media build --out` made"


@dataclass(frozen=True)
class StickLayout:
    """All bytes of a stick that are neither the image's nor the partition's; offsets and sizes in bytes.

    `pieces` are `(offset, bytes)` in the order of the stick; the first is the head, the last the second GPT.
    """

    image_size: int
    disk_size: int
    pieces: tuple[tuple[int, bytes], ...]
    partition_offset: int
    partition_size: int
    volume_id: str

    @property
    def head(self) -> bytes:
        """The first 32 KiB of the stick."""
        return self.pieces[0][1]


@dataclass(frozen=True)
class _Gpt:
    """The image's own table, found sound."""

    header_size: int
    revision: int
    first_usable: int
    disk_guid: bytes
    entries: bytes
    count: int
    entry_size: int
    entries_at: int


def plan_stick(image_head: bytes, image_size: int, disk_size: int) -> StickLayout:
    """How an image, of which the first 32 KiB are given, lies on a stick of `disk_size` bytes.

    Raises UsageError: no image of ours, or too small a stick.
    """
    gpt = _read_gpt(image_head, image_size)
    sectors = disk_size // SECTOR
    entry_sectors = -(-len(gpt.entries) // SECTOR)
    backup_at = sectors - 1 - entry_sectors
    start = -(-(image_size + HEAD_BYTES) // MIB) * MIB
    end = min(start + LARGEST_PARTITION, backup_at * SECTOR) // MIB * MIB
    if end - start < SMALLEST_PARTITION:
        needed = -(-(start + SMALLEST_PARTITION + (entry_sectors + 1) * SECTOR) // MIB)
        raise UsageError(
            f"the stick is too small: it holds {disk_size // MIB} MiB, and {needed} MiB are needed",
            hint="take a larger stick",
        )
    digest = hashlib.sha256(gpt.disk_guid + LABEL.encode()).digest()
    entries = _entries(gpt, uuid.UUID(bytes=digest[:16], version=4), start // SECTOR, end // SECTOR - 1)
    first = _header(
        gpt, entries, at=1, other=sectors - 1, entries_at=gpt.entries_at, last_usable=backup_at - 1
    )
    second = _header(gpt, entries, at=sectors - 1, other=1, entries_at=backup_at, last_usable=backup_at - 1)
    head = bytearray(image_head)
    _fit_protective_mbr(head, sectors)
    head[SECTOR : 2 * SECTOR] = first
    head[gpt.entries_at * SECTOR : gpt.entries_at * SECTOR + len(entries)] = entries
    behind = image_head + bytes(start - image_size - HEAD_BYTES)
    return StickLayout(
        image_size=image_size,
        disk_size=disk_size,
        pieces=(
            (0, bytes(head)),
            (image_size, behind),
            (backup_at * SECTOR, entries.ljust(entry_sectors * SECTOR, b"\0") + second),
        ),
        partition_offset=start,
        partition_size=end - start,
        volume_id=digest[:4].hex(),
    )


def find_differences(
    read: Callable[[int, int], bytes], image_size: int, disk_size: int
) -> tuple[bytes, list[str]]:
    """What a stick has that no stick of its image has, in sentences, and the head of its image.

    `read(offset, size)` reads the stick. The head comes from the stick itself: it is to be believed only once
    the head and the stick's bytes from 32 KiB to `image_size`, together, were checked against a signature.
    Raises UsageError where that head is none.
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


def _read_gpt(head: bytes, image_size: int) -> _Gpt:
    if len(head) != HEAD_BYTES or image_size < HEAD_BYTES or image_size % SECTOR:
        raise UsageError("the image is not one of a boot medium", hint=_HINT)
    (
        magic,
        revision,
        header_size,
        checksum,
        _,
        at,
        _,
        first,
        _,
        guid,
        entries_at,
        count,
        entry_size,
        entries_sum,
    ) = _HEADER.unpack_from(head, SECTOR)
    if magic != b"EFI PART" or at != 1 or not _HEADER.size <= header_size <= SECTOR:
        raise UsageError("the image is not one of a boot medium: it has no GPT", hint=_HINT)
    blank = head[SECTOR : SECTOR + 16] + bytes(4) + head[SECTOR + 20 : SECTOR + header_size]
    begin, size = entries_at * SECTOR, count * entry_size
    entries = head[begin : begin + size]
    fits = entry_size == _ENTRY.size and begin >= 2 * SECTOR and size > 0 and begin + size <= HEAD_BYTES
    if not fits or zlib.crc32(blank) != checksum or zlib.crc32(entries) != entries_sum:
        raise UsageError("the image is damaged: its partition table is not sound", hint=_HINT)
    return _Gpt(header_size, revision, first, guid, entries, count, entry_size, entries_at)


def _entries(gpt: _Gpt, guid: uuid.UUID, first: int, last: int) -> bytes:
    """The image's entries and UNBRICK's, the only one that Windows may show: it offers to format what it
    cannot read, and an ISO 9660 partition of a type that it knows is such a one.
    """
    entries = [gpt.entries[at : at + gpt.entry_size] for at in range(0, len(gpt.entries), gpt.entry_size)]
    entries = [_LINUX_DATA + one[16:] if one[:16] == _BASIC_DATA else one for one in entries]
    free = next((index for index, one in enumerate(entries) if one[:16] == bytes(16)), None)
    if free is None:
        raise UsageError("the image has no room for another partition", hint=_HINT)
    entries[free] = _ENTRY.pack(_BASIC_DATA, guid.bytes_le, first, last, 0, LABEL.encode("utf-16-le"))
    return b"".join(entries)


def _header(gpt: _Gpt, entries: bytes, *, at: int, other: int, entries_at: int, last_usable: int) -> bytes:
    def pack(checksum: int) -> bytes:
        fields = _HEADER.pack(
            b"EFI PART",
            gpt.revision,
            gpt.header_size,
            checksum,
            0,
            at,
            other,
            gpt.first_usable,
            last_usable,
            gpt.disk_guid,
            entries_at,
            gpt.count,
            gpt.entry_size,
            zlib.crc32(entries),
        )
        return fields.ljust(SECTOR, b"\0")

    return pack(zlib.crc32(pack(0)[: gpt.header_size]))


def _fit_protective_mbr(head: bytearray, sectors: int) -> None:
    """Make the protective entry span the stick; the other entries and the boot code stay (legacy BIOS)."""
    for at in _MBR_ENTRIES:
        if head[at + 4] == _PROTECTIVE:
            first = int.from_bytes(head[at + 8 : at + 12], "little")
            if first >= sectors:
                raise UsageError("the image is damaged: its first sector is not sound", hint=_HINT)
            struct.pack_into("<I", head, at + 12, min(sectors - first, 0xFFFFFFFF))
            head[at + 5 : at + 8] = b"\xff\xff\xff"
            return
    raise UsageError("the image is not one of a boot medium: its first sector does not say GPT", hint=_HINT)
