"""A read-only window on a disk's bytes: reads are clipped to the window, failures become FailedError."""

from __future__ import annotations

from typing import BinaryIO

from unbrick.errors import FailedError, Reason

UNREAD_HINT = "the disk may be failing: copy it with ddrescue before anything else"
_CHUNK_LIMIT = 16 * 1024 * 1024


class RawView:
    """Bytes `offset` to `offset + size` of a stream. `name` and `unread_hint` go into errors."""

    def __init__(
        self, stream: BinaryIO, size: int, name: str, offset: int = 0, unread_hint: str = UNREAD_HINT
    ) -> None:
        self._stream = stream
        self._offset = offset
        self._unread_hint = unread_hint
        self.size = size
        self.name = name

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes at `offset`; fewer, or none, where the window ends.

        Raises FailedError (unreadable-disk) on an input/output error, ValueError on an absurd length.
        """
        if not 0 <= length <= _CHUNK_LIMIT:
            raise ValueError(f"a single read of {length} bytes")
        if offset < 0 or offset >= self.size:
            return b""
        wanted = min(length, self.size - offset)
        try:
            self._stream.seek(self._offset + offset)
            parts = []
            while wanted > 0:
                part = self._stream.read(wanted)
                if not part:
                    break
                parts.append(part)
                wanted -= len(part)
        except OSError as error:
            raise FailedError(
                f"{self.name}: reading at byte {self._offset + offset} failed: {error.strerror}",
                hint=self._unread_hint,
                reason=Reason.UNREADABLE_DISK,
            ) from error
        return b"".join(parts)

    def window(self, offset: int, length: int) -> RawView:
        inside = max(0, min(length, self.size - offset))
        return RawView(self._stream, inside, self.name, self._offset + offset, self._unread_hint)
