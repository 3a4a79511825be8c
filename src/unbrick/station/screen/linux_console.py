"""What only the Linux console can do: larger letters, clear colours, NumLock.

On a serial line, an xterm or an old kernel none of it happens, and everything else works. The requests and
structures are the kernel's (`include/uapi/linux/kd.h`, console_ioctl(2)).
"""

from __future__ import annotations

import fcntl
import struct
from array import array
from contextlib import suppress
from dataclasses import dataclass

_KDGKBTYPE = 0x4B33
_KDSETLED = 0x4B32
_KDSKBLED = 0x4B65
_GIO_CMAP = 0x4B70
_PIO_CMAP = 0x4B71
_KDFONTOP = 0x4B72
_NUM_LOCK = 0x02
_PALETTE_LENGTH = 16 * 3

_SET, _GET, _SET_TALL, _GET_TALL = 0, 1, 4, 5
_FONT_OP = struct.Struct("@5IP")  # op, flags, width, height, number of glyphs, address of the bits
_MOST_GLYPHS = 512
_WIDEST, _TALLEST = 64, 128
_OLD_PITCH = 32  # rows that each glyph takes in the older requests

# Red, green and amber on which black or white text is read easily; the console's own amber is a brown.
_COLOURS = {1: (0xB4, 0x1E, 0x1E), 2: (0x1E, 0xAA, 0x50), 3: (0xFF, 0xB4, 0x00)}


@dataclass(frozen=True)
class Font:
    """A console font: dots across and down, and each glyph's rows, padded to whole bytes, without gaps."""

    width: int
    height: int
    glyphs: tuple[bytes, ...]


def is_linux_console(descriptor: int) -> bool:
    with suppress(OSError):
        fcntl.ioctl(descriptor, _KDGKBTYPE, bytearray(1))
        return True
    return False


def prepare(descriptor: int, columns: int, rows: int) -> None:
    """Make letters as large as 80 by 25 allows, set the colours, switch NumLock on, as far as possible."""
    with suppress(OSError):
        _enlarge_letters(descriptor, columns, rows)
    with suppress(OSError):
        palette = bytearray(_PALETTE_LENGTH)
        fcntl.ioctl(descriptor, _GIO_CMAP, palette)
        for number, colour in _COLOURS.items():
            palette[number * 3 : number * 3 + 3] = bytes(colour)
        fcntl.ioctl(descriptor, _PIO_CMAP, bytes(palette))
    with suppress(OSError):
        fcntl.ioctl(descriptor, _KDSKBLED, _NUM_LOCK)
        # The light stays off: with it on, older laptops turn letters, and the key 0, into a keypad.
        fcntl.ioctl(descriptor, _KDSETLED, 0)


def _enlarge_letters(descriptor: int, columns: int, rows: int) -> None:
    times = min(columns // 80, rows // 25)
    if times < 2:
        return
    for get, put in ((_GET_TALL, _SET_TALL), (_GET, _SET)):
        try:
            font = _read_font(descriptor, get)
            highest = _TALLEST if put == _SET_TALL else _OLD_PITCH
            fitting = min(times, _WIDEST // font.width, highest // font.height)
            if fitting >= 2:
                _write_font(descriptor, put, enlarged(font, fitting))
        except OSError:
            continue
        return


def _read_font(descriptor: int, request: int) -> Font:
    pitch = _TALLEST if request == _GET_TALL else _OLD_PITCH
    bits = array("B", bytes(_WIDEST // 8 * pitch * _MOST_GLYPHS))
    head = bytearray(_FONT_OP.pack(request, 0, _WIDEST, pitch, _MOST_GLYPHS, bits.buffer_info()[0]))
    fcntl.ioctl(descriptor, _KDFONTOP, head)
    _, _, width, height, count, _ = _FONT_OP.unpack(head)
    if not (0 < width <= _WIDEST and 0 < height <= pitch and 0 < count <= _MOST_GLYPHS):
        raise OSError("the kernel describes a font that cannot be")
    row = (width + 7) // 8
    data = bits.tobytes()
    step = pitch * row  # each glyph takes as many rows as were asked for, whatever its height
    return Font(
        width, height, tuple(data[start : start + height * row] for start in range(0, count * step, step))
    )


def _write_font(descriptor: int, request: int, font: Font) -> None:
    stored = font.height if request == _SET_TALL else _OLD_PITCH
    length = stored * ((font.width + 7) // 8)
    bits = array("B", b"".join(glyph.ljust(length, b"\0") for glyph in font.glyphs))
    address = bits.buffer_info()[0]
    fcntl.ioctl(
        descriptor,
        _KDFONTOP,
        bytes(_FONT_OP.pack(request, 0, font.width, font.height, len(font.glyphs), address)),
    )


def enlarged(font: Font, times: int) -> Font:
    """A font whose every dot is so many dots wide and high."""
    return Font(
        font.width * times,
        font.height * times,
        tuple(_enlarged_glyph(glyph, font, times) for glyph in font.glyphs),
    )


def _enlarged_glyph(glyph: bytes, font: Font, times: int) -> bytes:
    old, new = (font.width + 7) // 8, (font.width * times + 7) // 8
    rows = []
    for start in range(0, font.height * old, old):
        bits = int.from_bytes(glyph[start : start + old]) >> (old * 8 - font.width)
        dots = f"{bits:0{font.width}b}"
        wide = int("".join(dot * times for dot in dots), 2) << (new * 8 - font.width * times)
        rows.append(wide.to_bytes(new) * times)
    return b"".join(rows)
