"""Letters as high as seven dots, drawn with half blocks, to be read across a room. Pure.

Narrow on purpose: the 15 characters of a name that Windows makes up (`DESKTOP-…`) fit 80 columns. Each pair
of dots, one above the other, is one character of the console's font.
"""

from __future__ import annotations

from unbrick.station.screen.sheet import half_blocks

HEIGHT = 7
_GAP = 1

_DRAWN = (
    """
A    B    C    D    E    F    G    H    I   J    K    L    M     N
.##. ###. .### ###. #### #### .### #..# ### ...# #..# #... #...# #..#
#..# #..# #... #..# #... #... #... #..# .#. ...# #..# #... ##.## ##.#
#..# #..# #... #..# #... #... #... #..# .#. ...# #.#. #... #.#.# ##.#
#### ###. #... #..# ###. ###. #.## #### .#. ...# ##.. #... #.#.# #.##
#..# #..# #... #..# #... #... #..# #..# .#. ...# #.#. #... #...# #.##
#..# #..# #... #..# #... #... #..# #..# .#. #..# #..# #... #...# #..#
#..# ###. .### ###. #### #... .### #..# ### .##. #..# #### #...# #..#
""",
    """
O    P    Q     R    S    T   U    V     W     X    Y   Z
.##. ###. .##.. ###. .### ### #..# #...# #...# #..# #.# ####
#..# #..# #..#. #..# #... .#. #..# #...# #...# #..# #.# ...#
#..# #..# #..#. #..# #... .#. #..# #...# #...# #..# #.# ...#
#..# ###. #..#. ###. .##. .#. #..# .#.#. #.#.# .##. .#. ..#.
#..# #... #..#. #.#. ...# .#. #..# .#.#. #.#.# #..# .#. .#..
#..# #... #.##. #..# ...# .#. #..# .#.#. ##.## #..# .#. #...
.##. #... .#### #..# ###. .#. .##. ..#.. #...# #..# .#. ####
""",
    """
0    1   2    3    4    5    6    7    8    9    -   _    . ! ?
.##. .#. .##. ###. ..## #### .##. #### .##. .##. ... .... . # .##.
#..# ##. #..# ...# .#.# #... #... ...# #..# #..# ... .... . # #..#
#.## .#. ...# ...# #..# #... #... ...# #..# #..# ... .... . # ...#
##.# .#. ..#. .##. #..# ###. ###. ..#. .##. .### ### .... . # ..#.
#..# .#. .#.. ...# #### ...# #..# ..#. #..# ...# ... .... . # .#..
#..# .#. #... ...# ...# ...# #..# .#.. #..# ...# ... .... . . ....
.##. ### #### ###. ...# ###. .##. .#.. .##. .##. ... #### # # .#..
""",
)


def _read(drawn: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    glyphs = {}
    for block in drawn:
        names, *rows = block.strip("\n").split("\n")
        for name, *glyph in zip(names.split(), *(row.split() for row in rows), strict=True):
            glyphs[name] = tuple(glyph)
    return glyphs


_GLYPHS = {**_read(_DRAWN), " ": ("..",) * HEIGHT}


def can_draw(text: str) -> bool:
    """Whether there is a letter for each character; small letters are drawn as capitals."""
    return bool(text) and all(character in _GLYPHS for character in text.upper())


def columns_of(text: str, scale: int = 1) -> int:
    glyphs = [_GLYPHS[character] for character in text.upper()]
    return (sum(len(glyph[0]) for glyph in glyphs) + _GAP * (len(glyphs) - 1)) * scale


def big(text: str, scale: int = 1) -> list[str]:
    """The text in big letters, one string a row, all of one width; each dot is `scale` columns wide."""
    dots: list[list[bool]] = []
    for row in range(HEIGHT):
        line = ("." * _GAP).join(_GLYPHS[character][row] for character in text.upper())
        dots += [[dot == "#" for dot in line for _ in range(scale)]] * scale
    return half_blocks(dots, below=False)
