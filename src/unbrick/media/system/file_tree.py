"""The medium's file tree in memory, and its form as a cpio archive that the kernel unpacks.

The same tree gives the same bytes: sorted, everything owned by root, one time stamp, numbered in order.
The format is "newc" (Documentation/driver-api/early-userspace/buffer-format.rst of the kernel).
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from unbrick.errors import FailedError

_MAGIC = b"070701"
_ALIGN = 4
_LAST = "TRAILER!!!"
_BLOCK = 512
_CHUNK = 1024 * 1024
_MOST_FILE = 0xFFFFFFFF


@dataclass(frozen=True)
class Entry:
    """A file, folder or link: its mode with the type's bits, and its content or the path of it."""

    mode: int
    content: bytes | Path = b""

    @property
    def size(self) -> int:
        return self.content.stat().st_size if isinstance(self.content, Path) else len(self.content)

    def read(self) -> bytes:
        return self.content.read_bytes() if isinstance(self.content, Path) else self.content


@dataclass
class FileTree:
    """Entries by path (relative, with slashes); folders above a file are added by themselves."""

    entries: dict[str, Entry] = field(default_factory=dict)

    def add_file(self, path: str, content: bytes | Path, *, executable: bool = False) -> None:
        self._add(path, Entry(stat.S_IFREG | (0o755 if executable else 0o644), content))

    def add_link(self, path: str, target: str) -> None:
        self._add(path, Entry(stat.S_IFLNK | 0o777, target.encode()))

    def add_folder(self, path: str, mode: int = 0o755) -> None:
        """Keeps a folder that is there."""
        if path not in self.entries:
            self._add(path, Entry(stat.S_IFDIR | mode))

    def __contains__(self, path: str) -> bool:
        return path in self.entries

    def _add(self, path: str, entry: Entry) -> None:
        parts = path.split("/")
        if not path or any(part in ("", ".", "..") for part in parts):
            raise FailedError(f"not a path inside the tree: {path!r}")
        for depth in range(1, len(parts)):
            above = self.entries.setdefault("/".join(parts[:depth]), Entry(stat.S_IFDIR | 0o755))
            if not stat.S_ISDIR(above.mode):
                raise FailedError(f"{path} lies below {'/'.join(parts[:depth])}, which is no folder")
        self.entries[path] = entry


def write_cpio(tree: FileTree, out: IO[bytes], seconds: int) -> None:
    """Write the tree as a newc archive with one time stamp (seconds since 1970).

    `out` must be at a multiple of 512.
    """
    for number, path in enumerate(sorted(tree.entries), start=1):
        entry = tree.entries[path]
        if entry.size > _MOST_FILE:
            raise FailedError(f"{path} is too large for the archive")
        links = 2 if stat.S_ISDIR(entry.mode) else 1
        _write_header(out, path, number, entry.mode, links, seconds, entry.size)
        _write_content(out, entry)
    _write_header(out, _LAST, 0, 0, 1, 0, 0)
    _pad(out, _BLOCK)


def _write_header(
    out: IO[bytes], path: str, number: int, mode: int, links: int, seconds: int, size: int
) -> None:
    name = path.encode() + b"\0"
    fields = (number, mode, 0, 0, links, seconds, size, 0, 0, 0, 0, len(name), 0)
    out.write(_MAGIC + b"".join(b"%08X" % value for value in fields) + name)
    _pad(out, _ALIGN)


def _write_content(out: IO[bytes], entry: Entry) -> None:
    if isinstance(entry.content, Path):
        left = entry.size
        with entry.content.open("rb") as source:
            while left:
                chunk = source.read(min(left, _CHUNK))
                if not chunk:
                    raise FailedError(f"{entry.content} shrank while it was read")
                out.write(chunk)
                left -= len(chunk)
    else:
        out.write(entry.content)
    _pad(out, _ALIGN)


def _pad(out: IO[bytes], to: int) -> None:
    out.write(bytes(-out.tell() % to))
