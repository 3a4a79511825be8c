"""GRUB's words in a language of our own: a catalogue as gettext's `msgfmt` makes it (its manual, 10.3)."""

from __future__ import annotations

import struct
from collections.abc import Mapping

LANGUAGE = "unbrick"
_HEADER = struct.Struct("<7I")
_MAGIC = 0x950412DE
_PAIR = struct.Struct("<2I")


def make_catalogue(words: Mapping[str, str]) -> bytes:
    """The catalogue that has these in place of GRUB's own, sorted, as GRUB searches it."""
    pairs = sorted((theirs.encode(), ours.encode()) for theirs, ours in words.items())
    originals_at = _HEADER.size
    ours_at = originals_at + len(pairs) * _PAIR.size
    texts = bytearray()
    tables = []
    for text in (*(theirs for theirs, _ in pairs), *(ours for _, ours in pairs)):
        tables.append(_PAIR.pack(len(text), ours_at + len(pairs) * _PAIR.size + len(texts)))
        texts += text + b"\0"
    header = _HEADER.pack(_MAGIC, 0, len(pairs), originals_at, ours_at, 0, 0)
    return header + b"".join(tables) + bytes(texts)
