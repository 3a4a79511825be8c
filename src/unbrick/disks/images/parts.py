"""The files that a disk image consists of: only ever plain files in the image's own folder.

An image is hostile input: its header can name any file of the host as its backing, data or extent file.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NoReturn

from unbrick.disks.raw_view import RawView
from unbrick.errors import FailedError, NeedsHandsError, Reason
from unbrick.text import printable

# 256 TiB: four times what the largest of the formats (VHDX) can hold.
LARGEST_DISK = 1 << 48


def refuse_unsafe(path: Path, what: str, hint: str | None = None) -> NoReturn:
    raise NeedsHandsError(f"{path}: {what}", hint=hint, reason=Reason.IMAGE_UNSAFE)


def refuse_truncated(path: Path) -> NoReturn:
    raise NeedsHandsError(
        f"{path}: the image is cut off: parts that it refers to lie after its end",
        hint="copy it again from its source",
        reason=Reason.TRUNCATED,
    )


# What follows an image's name in the name of a part: as VMware and qemu-img name extents (-flat, -f001,
# -s001), and as people name a data file. Not more: `web` and `web-2` may be two machines.
_OF_A_PART = re.compile(r"(-flat|-[fs]\d{3,6}|[-_.]data)?(\.\w{1,12})?", re.ASCII | re.IGNORECASE)


def own_part(image: Path, name: str) -> Path:
    """Like `part_beside`, for a part that is written too: its name must also begin with the image's name.

    Otherwise an image could name another machine's disk in the same folder, which would then be changed.
    """
    part = part_beside(image, name)
    prefixes = [prefix for prefix in (image.name, image.stem) if part.name.startswith(prefix)]
    if not any(_OF_A_PART.fullmatch(part.name.removeprefix(prefix)) for prefix in prefixes):
        refuse_unsafe(
            image,
            f"it names {part.name} as a part of it, which by its name may belong to another machine",
            f"if it belongs to this image, have both call it {image.stem}-flat{part.suffix}, or the like",
        )
    return part


def part_beside(image: Path, name: str) -> Path:
    """A regular file in the image's own folder that the image names; any other name is refused.

    `image` is resolved. No protocol (`nbd:…`), no way out of the folder, no link is followed.
    """
    shown = printable(name[:200])
    if not name or "\0" in name or ":" in name or ".." in Path(name).parts:
        refuse_unsafe(image, f"it refers to {shown!r}, which is not a file beside it")
    part = image.parent / name
    if part.parent.resolve() != image.parent or part == image:
        refuse_unsafe(image, f"it refers to {shown!r}, which lies outside its own folder")
    try:
        mode = part.lstat().st_mode
    except OSError as error:
        raise NeedsHandsError(
            f"{image}: it refers to {shown!r}, which is not there",
            hint="put all files of the image into one folder",
            reason=Reason.TRUNCATED,
        ) from error
    if not stat.S_ISREG(mode):
        refuse_unsafe(image, f"it refers to {shown!r}, which is a link or no regular file")
    return part


def open_part(path: Path) -> BinaryIO:
    """Open a regular file, or a whole device, for reading, without waiting; raises FailedError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise FailedError(
            f"{path} cannot be opened: {error.strerror}",
            hint="run it as root, or give yourself the right to read it",
            reason=Reason.UNREADABLE_DISK,
        ) from error
    return os.fdopen(descriptor, "rb", buffering=0)


@contextmanager
def view_part(path: Path) -> Iterator[RawView]:
    """The bytes of a regular file; raises FailedError."""
    with open_part(path) as stream:
        yield RawView(stream, path.stat().st_size, str(path))
