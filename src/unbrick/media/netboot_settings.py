"""Packs settings into a cpio archive that the kernel unpacks beside the system: `/netboot/settings/…`.

The format is "newc" of cpio(5), as the kernel's Documentation/driver-api/early-userspace/buffer-format.rst
describes it; archives may follow one another. The same files give the same bytes.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import PurePosixPath

FOLDER = "netboot/settings"
"""Where a station finds them, from its root."""
_ALIGNMENT = 4
_TRAILER = "TRAILER!!!"


def settings_archive(files: Mapping[str, bytes]) -> bytes:
    """The archive of some settings, by relative name with slashes; only root may read what is unpacked."""
    contents = {f"{FOLDER}/{name}": data for name, data in files.items()}
    folders = {str(parent) for name in contents for parent in PurePosixPath(name).parents} - {"."}
    members = [_member(name, stat.S_IFDIR | 0o700, b"") for name in sorted(folders)]
    members += [_member(name, stat.S_IFREG | 0o600, contents[name]) for name in sorted(contents)]
    return b"".join([*members, _member(_TRAILER, 0, b"")])


def padding(size: int) -> bytes:
    """What has to stand between something of `size` bytes and an archive that follows it."""
    return bytes(-size % _ALIGNMENT)


def _member(name: str, mode: int, data: bytes) -> bytes:
    path = name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    # inode, mode, uid, gid, links, time, size, device (2), rdevice (2), length of the name, checksum
    fields = (0, mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(path), 0)
    header = b"070701" + b"".join(f"{field:08x}".encode() for field in fields)
    return header + path + padding(len(header) + len(path)) + data + padding(len(data))
