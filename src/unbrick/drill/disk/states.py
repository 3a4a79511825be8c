"""How Windows left an NTFS volume: the dirty flag, and a journal that a crash left open.

Works on the bytes of an unmounted volume. The restart page is that of the public NTFS documentation of the
Linux-NTFS project, version 1.1.
"""

from __future__ import annotations

import struct
from pathlib import Path

from unbrick.disks.ntfs.log import open_log
from unbrick.disks.ntfs.structures import open_view, read_geometry, write_dirty

_STRIDE = 512  # update sequence arrays count in these, whatever the sector size
_PAGE = 4096
_NO_CLIENT = 0xFFFF


def mark_dirty(volume: Path) -> None:
    with open_view(volume, writable=True) as view:
        write_dirty(view, read_geometry(view), dirty=True)


def leave_journal_open(volume: Path) -> None:
    """Make $LogFile that of a crash with nothing pending: two open restart pages, no records."""
    with open_view(volume, writable=True) as view:
        log = open_log(view, read_geometry(view))
        size = log.size // _PAGE * _PAGE
        log.write(0, restart_page(size, 2) + restart_page(size, 1))
        log.write(2 * _PAGE, b"\xff" * (size - 2 * _PAGE))


def restart_page(log_bytes: int, sequence: int) -> bytes:
    """A restart page of a journal of version 1.1 that is open: one client, `NTFS`, and not marked clean."""
    page = bytearray(_PAGE)
    updates, area, client, strides = 0x1E, 0x30, 0x40, _PAGE // _STRIDE
    struct.pack_into("<4sHHQIIHHH", page, 0, b"RSTR", updates, strides + 1, 0, _PAGE, _PAGE, area, 1, 1)
    struct.pack_into("<H", page, updates, sequence)
    last = log_bytes // 8 + 0x400
    sequence_bits = 67 - log_bytes.bit_length()
    lengths = (client + 0xA0, client, log_bytes, 0, 0x30, 0x40)
    head = (last, 1, _NO_CLIENT, 0, 0, sequence_bits, *lengths, sequence)
    struct.pack_into("<QHHHHIHHQIHHI", page, area, *head)
    name = "NTFS".encode("utf-16-le")
    clients = (last, last, _NO_CLIENT, _NO_CLIENT, 0, len(name), name)
    struct.pack_into("<QQHHH6xI128s", page, area + client, *clients)
    for index in range(1, strides + 1):
        tail, kept = index * _STRIDE - 2, updates + 2 * index
        page[kept : kept + 2] = page[tail : tail + 2]
        page[tail : tail + 2] = page[updates : updates + 2]
    return bytes(page)
