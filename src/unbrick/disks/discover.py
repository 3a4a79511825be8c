"""One disk or disk image, opened: its raw bytes, its volumes, what each is, what forbids writing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from unbrick.command import Runner
from unbrick.model import Volume


@dataclass(frozen=True)
class Disk:
    """A disk that is open for work; sizes and offsets are bytes.

    `path` is what was asked for, `raw` the same disk as raw bytes (the device, the raw image, or the
    export of another format). `guid` is the GPT's disk GUID, or an MBR's signature as 8 hex digits, upper
    case. `refusal` is a reason word where nothing on this disk may ever be written, `refusal_text` its
    sentence. `notes` are sentences for a person (a table read from its backup).
    """

    path: Path
    raw: Path
    size: int
    sector_size: int
    guid: str | None
    volumes: tuple[Volume, ...]
    refusal: str | None = None
    refusal_text: str | None = None
    notes: tuple[str, ...] = ()
    _sync: Callable[[], None] = lambda: None

    def sync(self) -> None:
        """Flush what was written to `raw` all the way down to the disk; raises FailedError."""
        self._sync()


@contextmanager
def open_disk(path: Path, runner: Runner, workdir: Path) -> Iterator[Disk]:
    """Open a block device or an image; all that was started for it has ended when the context is left."""
    raise NotImplementedError
    yield
