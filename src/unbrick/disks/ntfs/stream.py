"""An attribute's runs as one stretch of bytes, and the way back from a place on the volume."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from unbrick.disks.ntfs.structures import ByteView, Run, damaged


class Stream:
    """The `size` bytes that are in `runs`, in their order; where a run is sparse, zeros."""

    def __init__(self, view: ByteView, runs: Sequence[Run], size: int) -> None:
        self.runs = tuple(runs)
        self.size = size
        self._view = view
        self._starts: list[int] = []  # of each run within the stream
        position = 0
        for run in runs:
            self._starts.append(position)
            position += run.length
        self.held = position
        """The bytes in the runs; not less than `size` on a sound volume."""
        placed = ((run.offset, run.length, at) for run, at in zip(runs, self._starts, strict=True))
        self._by_place = sorted((offset, length, at) for offset, length, at in placed if offset is not None)

    def read(self, position: int, length: int) -> bytes:
        """Bytes from `position`; fewer only where the runs or the volume end. Raises OSError."""
        parts = []
        for place, count in self._pieces(position, length):
            parts.append(bytes(count) if place is None else self._view.read(place, count))
        return b"".join(parts)

    def write(self, position: int, data: bytes) -> None:
        """Write all of `data`; raises OSError, NeedsHandsError (damaged-volume) where there is no run."""
        done = 0
        for place, count in self._pieces(position, len(data)):
            if place is None:
                raise damaged("a file of its own has holes")
            self._view.write(place, data[done : done + count])
            done += count
        if done < len(data):
            raise damaged("a file of its own is shorter than it says")

    def places(self, position: int, length: int) -> list[tuple[int, int]]:
        """Offset and length on the volume of each piece of those bytes; sparse ones have none."""
        return [(place, count) for place, count in self._pieces(position, length) if place is not None]

    def extents(self) -> list[tuple[int, int]]:
        """Offset and length on the volume of each run, in bytes."""
        return [(run.offset, run.length) for run in self.runs if run.offset is not None]

    def position_of(self, offset: int) -> int | None:
        """The position in the stream of a byte of the volume; None where it is not in the stream."""
        index = bisect_right(self._by_place, offset, key=lambda run: run[0]) - 1
        if index < 0:
            return None
        start, length, at = self._by_place[index]
        return at + offset - start if offset < start + length else None

    def covers(self, offset: int) -> bool:
        return self.position_of(offset) is not None

    def _pieces(self, position: int, length: int) -> Iterator[tuple[int | None, int]]:
        index = max(bisect_right(self._starts, position) - 1, 0)
        while length > 0 and position < self.held:
            run, start = self.runs[index], self._starts[index]
            count = min(length, run.length - (position - start))
            yield (None if run.offset is None else run.offset + position - start), count
            position += count
            length -= count
            index += 1
