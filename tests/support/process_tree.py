"""A running program and all that it started: who they are, and what an outsider may see of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")


def tree_of(process: int) -> list[int]:
    """The numbers of a process and of everything below it."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with suppress(OSError, IndexError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found = [process]
    for one in found:
        found += children.get(one, [])
    return found


def core_limits(process: int) -> tuple[str, str]:
    """How large a core dump may become: soft and hard."""
    limits = (_PROC / str(process) / "limits").read_text()
    found = re.search(r"^Max core file size +(\S+) +(\S+)", limits, re.MULTILINE)
    assert found
    return found[1], found[2]


def memory_of(process: int) -> bytes:
    """All that a process has mapped and that can be read, as root sees it."""
    return b"".join(_readable(process))


def _readable(process: int) -> Iterator[bytes]:
    folder = _PROC / str(process)
    with (folder / "mem").open("rb", buffering=0) as memory:
        for line in (folder / "maps").read_text().splitlines():
            span, rights = line.split()[:2]
            if "r" in rights:
                start, end = (int(text, 16) for text in span.split("-"))
                with suppress(OSError, OverflowError, ValueError):  # the kernel's own pages
                    memory.seek(start)
                    yield memory.read(end - start)
