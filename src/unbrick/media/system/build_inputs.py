"""What a build starts from, and what it hands back."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

PACKAGE = Path(__file__).resolve().parents[2]
"""The folder of unbrick's own source."""


class Progress(Protocol):
    """Shows a person which step runs."""

    def __call__(self, words: str) -> AbstractContextManager[None]:
        """A block of work with a name."""


@dataclass(frozen=True)
class BuildRequest:
    """What is asked for; times in seconds since 1970, None for the usual."""

    out: Path
    settings: Mapping[str, bytes]
    site_key: Path
    built: int | None = None
    expires: int | None = None
    fresh: bool = False


def digest_of_package(package: Path = PACKAGE) -> str:
    """A hash over every file of unbrick's source, by name and content."""
    digest = hashlib.sha256()
    for path in sorted(_source_files(package)):
        data = path.read_bytes()
        digest.update(f"{path.relative_to(package).as_posix()}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()


def _source_files(package: Path) -> Iterator[Path]:
    for above, folders, names in os.walk(package):
        folders[:] = [name for name in folders if name != "__pycache__"]
        yield from (Path(above, name) for name in names)
