"""What is on a volume, read back from a read-only mount.

The MFT change time is left out: no tool can set it, so it can neither be promised nor put back.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from unbrick.files import windows_path_of
from unbrick.windows import ntfs_file

_BLOCK = 1024 * 1024


@dataclass(frozen=True)
class FileTruth:
    """One name on a volume. Times are FILETIMEs; `acl` is the SHA-256 of the security descriptor.

    `kind` is `file`, `folder` or `link` (any reparse point; `sha256` is then that of its reparse data).
    A folder has no `sha256`; `streams` has the SHA-256 of each; `links` counts the long names of the file.
    """

    path: str
    kind: str
    sha256: str | None
    size: int
    created: int
    modified: int
    accessed: int
    attributes: int
    short_name: str | None
    acl: str
    streams: Mapping[str, str]
    links: int


def sha256_of(path: Path, offset: int = 0, length: int | None = None) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        left = stream.seek(0, os.SEEK_END) - offset if length is None else length
        stream.seek(offset)
        while block := stream.read(min(_BLOCK, left)):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()


def read_entry(root: Path, path: Path) -> FileTruth:
    """One name below `root`; links are not followed; raises OSError."""
    status = path.lstat()
    reparse = ntfs_file.read_xattr(path, "system.ntfs_reparse_data")
    if reparse is not None or stat.S_ISLNK(status.st_mode):
        kind, digest, size = "link", hashlib.sha256(reparse or b"").hexdigest(), 0
        streams: dict[str, str] = {}
    elif stat.S_ISDIR(status.st_mode):
        kind, digest, size, streams = "folder", None, 0, _read_streams(path)
    else:
        kind, digest, size, streams = "file", sha256_of(path), status.st_size, _read_streams(path)
    times = ntfs_file.read_times(path)
    # ntfs-3g refuses to be asked for the root folder's short name; there is none.
    short_name = None if path == root else ntfs_file.read_short_name(path)
    # ntfs-3g counts a short name as a link, which Windows does not.
    extra = 1 if short_name not in (None, path.name) else 0
    return FileTruth(
        windows_path_of(root, path),
        kind,
        digest,
        size,
        times.created,
        times.modified,
        times.accessed,
        int(ntfs_file.read_attributes(path)),
        short_name,
        hashlib.sha256(ntfs_file.read_acl(path)).hexdigest(),
        streams,
        1 if kind == "folder" else status.st_nlink - extra,
    )


def _read_streams(path: Path) -> dict[str, str]:
    return {
        name: hashlib.sha256(ntfs_file.read_xattr(path, f"user.{name}") or b"").hexdigest()
        for name in sorted(ntfs_file.list_streams(path))
    }


def read_truth(root: Path) -> tuple[FileTruth, ...]:
    """Everything below `root`, the root folder itself first, sorted by path; raises OSError."""
    return (read_entry(root, root), *sorted(_walk(root, root), key=lambda entry: entry.path))


def _walk(root: Path, folder: Path) -> Iterator[FileTruth]:
    with os.scandir(folder) as entries:
        for entry in entries:
            truth = read_entry(root, Path(entry.path))
            yield truth
            if truth.kind == "folder":
                yield from _walk(root, Path(entry.path))


@dataclass(frozen=True)
class VolumeTruth:
    """One Windows volume; `offset` and `length` are bytes of the disk.

    A repair takes the paths `faulty` away; it, or a person's decision, may also touch `may_change`; all else
    must stay. `protector` is the id of the recovery password, None on a volume that is not encrypted.
    """

    partition: int
    offset: int
    length: int
    hostname: str
    protector: str | None
    faulty: tuple[str, ...]
    may_change: tuple[str, ...]
    files: tuple[FileTruth, ...]
