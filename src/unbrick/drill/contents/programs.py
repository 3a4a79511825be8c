"""Stand-ins for Windows programs: PE files (Microsoft's PE/COFF specification) that nothing runs."""

from __future__ import annotations

import random
import struct

_HEADERS = 0x400
_X64 = 0x8664


def stand_in_program(rng: random.Random, size: int, *, subsystem: int = 1) -> bytes:
    """A PE32+ image of about `size` bytes: headers and one section of `rng`'s bytes.

    `subsystem` is 1 for native (drivers, the kernel), 10 for an EFI application, 16 for a boot application.
    """
    body = rng.randbytes(max(size - _HEADERS, 512) // 512 * 512)
    dos = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x80)
    coff = struct.pack("<4sHHIIIHH", b"PE\0\0", _X64, 1, 0x65000000, 0, 0, 240, 0x22)
    image_size = (0x1000 + len(body) + 0xFFF) & ~0xFFF
    fields = [0x20B, 14, 0, len(body), 0, 0, 0x1000, 0x1000, 0x140000000, 0x1000, 0x200]
    fields += [10, 0, 10, 0, 10, 0, 0, image_size, _HEADERS, 0, subsystem, 0]
    fields += [0x100000, 0x1000, 0x100000, 0x1000, 0, 16]
    optional = struct.pack("<HBBIIIIIQIIHHHHHHIIIIHHQQQQII", *fields) + bytes(128)
    section = struct.pack(
        "<8sIIIIIIHHI", b".text", len(body), 0x1000, len(body), _HEADERS, 0, 0, 0, 0, 0x60000020
    )
    headers = dos.ljust(0x80, b"\0") + coff + optional + section
    return headers.ljust(_HEADERS, b"\0") + body
