"""An initramfs with one more program in it: the kernel unpacks archives that follow one another.

Format: "newc" of cpio, as `Documentation/driver-api/early-userspace/buffer-format.rst` of Linux has it.
"""

from __future__ import annotations

from pathlib import Path

_EXECUTABLE = 0o100755
_ALIGNMENT = 512


def with_program(initrd: Path, name: str, text: str, target: Path) -> Path:
    """Write to `target` the archive with the program `/name` added."""
    data = initrd.read_bytes()
    more = _entry(name, text.encode(), _EXECUTABLE) + _entry("TRAILER!!!", b"", 0)
    target.write_bytes(data + bytes(-len(data) % _ALIGNMENT) + more)
    return target


def _entry(name: str, data: bytes, mode: int) -> bytes:
    fields = [1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)
