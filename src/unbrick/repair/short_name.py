"""The 8.3 name of a file: reading it where ntfs-3g will not tell, and giving it back after a move dropped it.

ntfs-3g answers EMLINK for a file that has an 8.3 name and more than one long name. Such a name is found by
asking for the ones that Windows would have made, and believed where it leads to the same file.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from unbrick.windows.ntfs_file import read_short_name, write_short_name

_NEVER_IN_ONE = str.maketrans(dict.fromkeys('+,;=[]"*/:<>?\\|', "_"))
_HIGHEST_NUMBER = 64


def find_short_name(path: Path) -> str | None:
    """A file's 8.3 name; None where it has none, or one that no guess tells. Raises OSError."""
    try:
        return read_short_name(path)
    except OSError as error:
        if error.errno != errno.EMLINK:
            raise
    for name in _likely_names(path.name):
        with contextlib.suppress(OSError):
            if _leads_to(path.parent / name, path):
                return name
    return None


def _has_short_name(path: Path, name: str) -> bool:
    """Whether a file has this 8.3 name; where ntfs-3g will not tell, whether the name leads to it.

    Raises OSError.
    """
    try:
        return read_short_name(path) == name
    except OSError as error:
        if error.errno != errno.EMLINK:
            raise
    return _leads_to(path.parent / name, path)


def _leads_to(name: Path, file: Path) -> bool:
    """Whether a name, listed or not, is one of a file's; raises OSError."""
    try:
        return name.lstat().st_ino == file.lstat().st_ino
    except FileNotFoundError:
        return False


def give_short_name(path: Path, name: str) -> None:
    """Give a file its 8.3 name, where that is possible; raises OSError.

    Impossible: another file of the folder has taken the name since, or this one has several long names,
    which ntfs-3g refuses. `plan_undo` says so beforehand.
    """
    if _has_short_name(path, name):
        return
    try:
        write_short_name(path, name)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.EMLINK):
            raise


def _likely_names(long_name: str) -> Iterator[str]:
    """The names that Windows tries first: six letters, a tilde and a number, in capitals."""
    stem, dot, extension = long_name.upper().rpartition(".")
    if not dot:
        stem, extension = extension, ""
    stem = stem.replace(".", "").replace(" ", "").translate(_NEVER_IN_ONE)
    extension = extension.replace(" ", "").translate(_NEVER_IN_ONE)[:3]
    for number in range(1, _HIGHEST_NUMBER + 1):
        tail = f"~{number}"
        yield stem[: 8 - len(tail)][:6] + tail + (f".{extension}" if extension else "")
