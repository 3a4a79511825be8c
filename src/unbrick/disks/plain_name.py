"""A name that every tool accepts, for a file whose own name has no UTF-8, a line break, a comma.

Some tools answer in JSON or in lines, or read `@@` in a name as an offset; QEMU is told names in JSON.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LONGEST = 1000


def _is_plain(text: str) -> bool:
    return text.isprintable() and "@@" not in text and "," not in text and len(text) <= _LONGEST


@contextmanager
def plain_name(path: Path, workdir: Path) -> Iterator[Path]:
    """The path itself, or a link to it in `workdir` (private, and of a plain name) while the context lasts.

    The link goes to the folder where that is enough, so that a tool finds the file's neighbours too.
    """
    if _is_plain(str(path)):
        yield path
        return
    link = workdir / f"named-{secrets.token_hex(4)}"
    through_folder = _is_plain(path.name)
    link.symlink_to(path.parent if through_folder else path)
    try:
        yield link / path.name if through_folder else link
    finally:
        link.unlink()
