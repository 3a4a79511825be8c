"""A volume with changes that are held in memory: what it would be if they were written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from unbrick.disks.ntfs.structures import ByteView

_PAGE = 4096


class PatchedView:
    """A byte view that takes writes and keeps them from the view below it."""

    def __init__(self, below: ByteView, length: int) -> None:
        self._below = below
        self._length = length
        self._pages: dict[int, bytearray] = {}  # by their place on the volume

    def read(self, offset: int, length: int) -> bytes:
        first, last = offset // _PAGE * _PAGE, offset + length
        if not any(at in self._pages for at in range(first, last, _PAGE)):
            return self._below.read(offset, length)
        data = bytearray(self._below.read(offset, length))
        for at in range(first, last, _PAGE):
            page = self._pages.get(at)
            if page is not None:
                start, end = max(at, offset), min(at + len(page), offset + len(data))
                data[start - offset : end - offset] = page[start - at : end - at]
        return bytes(data)

    def write(self, offset: int, data: bytes) -> None:
        """Raises OSError where it would be beyond the end of the volume."""
        if offset + len(data) > self._length:
            raise OSError("a write beyond the end of the volume")
        done = 0
        while done < len(data):
            at, inside = divmod(offset + done, _PAGE)
            at *= _PAGE
            piece = data[done : done + _PAGE - inside]
            page = self._pages.get(at)
            if page is None:
                page = self._pages[at] = bytearray(self._below.read(at, min(_PAGE, self._length - at)))
            page[inside : inside + len(piece)] = piece
            done += len(piece)

    def take(self, written: Iterable[tuple[int, bytes]]) -> None:
        """Write what differs, by places and bytes; bytes beyond the end of the volume are cut off."""
        for offset, data in written:
            whole = data[: max(0, self._length - offset)]
            former = self.read(offset, len(whole))
            if former == whole:
                continue
            for at in range(0, len(whole), _PAGE):
                piece = whole[at : at + _PAGE]
                if piece != former[at : at + _PAGE]:
                    self.write(offset + at, piece)

    def changed(self) -> Iterator[tuple[int, bytes, bytes]]:
        """Place, former and new bytes of each page that was written to, by place."""
        for at in sorted(self._pages):
            former = self._below.read(at, len(self._pages[at]))
            yield at, former, bytes(self._pages[at])
