"""A text as QR codes drawn with half blocks, as many as the screen needs, to be photographed.

The version is the largest that the screen has room for with the quiet zone of four modules that the standard
(ISO/IEC 18004) asks for; the lowest error correction, as a screen has no dirt on it.
"""

from __future__ import annotations

from dataclasses import dataclass

from unbrick.station.screen.sheet import half_blocks

QUIET_ZONE = 4
_SMALLEST, _LARGEST = 1, 40
_MOST_CODES = 99


@dataclass(frozen=True)
class Code:
    """One QR code: rows of half blocks, light where a block is drawn. `number` counts from 1 to `of`."""

    rows: tuple[str, ...]
    number: int
    of: int


def codes_for(text: str, columns: int, rows: int) -> tuple[Code, ...]:
    """The codes for a text on so many columns and rows; none where not even the smallest code fits.

    A text that needs several is cut, and each part is written `1/3:part.`, which the tally's import puts
    together again. (The full stop keeps a blank at the end of a part.) What is not ASCII becomes `?`.
    """
    side = min(columns, rows * 2)
    version = min((side - 2 * QUIET_ZONE - 17) // 4, _LARGEST)
    if version < _SMALLEST:
        return ()
    # Readers guess at the encoding of what is not ASCII, and guess wrong.
    plain = text.encode("ascii", "replace").decode()
    for count in range(1, _MOST_CODES + 1):
        made = [_modules(part, version) for part in _parts(plain, count)]
        if all(made):
            return tuple(
                Code(_drawn(modules, side), number, count)
                for number, modules in enumerate((one for one in made if one), 1)
            )
    return ()


def _parts(text: str, count: int) -> list[str]:
    if count == 1:
        return [text]
    length = -(-len(text) // count)
    return [
        f"{number + 1}/{count}:{text[number * length : (number + 1) * length]}." for number in range(count)
    ]


def _modules(text: str, most_version: int) -> list[list[bool]] | None:
    """The code's modules with its quiet zone, True where light; None where the text is too long for it.

    Capitals and digits alone (base 45) are packed tighter than other texts.
    """
    # Loaded here because most visits end without a code.
    import segno

    try:
        code = segno.make_qr(text, error="L", boost_error=False)
    except segno.DataOverflowError:
        return None
    if int(code.version) > most_version:
        return None
    return [[not dark for dark in row] for row in code.matrix_iter(border=QUIET_ZONE)]


def _drawn(modules: list[list[bool]], side: int) -> tuple[str, ...]:
    """The modules as half blocks, as large as there is room."""
    times = max(side // len(modules), 1)
    dots = [[dot for dot in row for _ in range(times)] for row in modules for _ in range(times)]
    return tuple(half_blocks(dots, below=True))
