"""Packs settings into a cpio archive that the kernel unpacks beside the system: `/netboot/settings/…`.

Archives may follow one another (`media/system/file_tree.py` says where their form is described).
"""

from __future__ import annotations

import io
import stat
from collections.abc import Mapping
from pathlib import PurePosixPath

from unbrick.media.system.file_tree import Entry, FileTree, write_cpio

FOLDER = "netboot/settings"
"""Where a station finds them, from its root."""
_ALIGNMENT = 4


def settings_archive(files: Mapping[str, bytes]) -> bytes:
    """The archive of some settings, by relative name with slashes; only root may read what is unpacked."""
    tree = FileTree()
    for name, data in files.items():
        path = PurePosixPath(FOLDER, name)
        for folder in reversed(path.parents[:-1]):
            tree.add_folder(str(folder), 0o700)
        tree.entries[str(path)] = Entry(stat.S_IFREG | 0o600, data)
    archive = io.BytesIO()
    write_cpio(tree, archive, 0)
    return archive.getvalue()


def padding(size: int) -> bytes:
    """What has to stand between something of `size` bytes and an archive that follows it."""
    return bytes(-size % _ALIGNMENT)
