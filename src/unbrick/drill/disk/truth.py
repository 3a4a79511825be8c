"""What truly lies on a volume, read back from a read-only mount, and what differs from it later.

The MFT change time is left out: no tool can set it, so it can neither be promised nor put back.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from unbrick.files import windows_path_of
from unbrick.windows import ntfs_file

_BLOCK = 1024 * 1024


@dataclass(frozen=True)
class FileTruth:
    """One name on a volume. Times are FILETIMEs; `acl` is the SHA-256 of the security descriptor.

    `kind` is `file`, `folder` or `link` (any reparse point; `sha256` is then that of its reparse data).
    A folder has no `sha256`; `links` counts the long names of the same file.
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
    streams: tuple[tuple[str, str], ...]
    links: int

    def to_document(self) -> dict[str, Any]:
        """As it stands in `truth.json`: the streams as an object of name to SHA-256."""
        document = {field.name: getattr(self, field.name) for field in fields(self)}
        document["streams"] = dict(self.streams)
        return document


def file_truth(document: dict[str, Any]) -> FileTruth:
    """A `FileTruth` from its entry in `truth.json`."""
    return FileTruth(**{**document, "streams": tuple(document["streams"].items())})


def sha256_of(path: Path, offset: int = 0, length: int | None = None) -> str:
    """The SHA-256 of a file or of a part of it, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        stream.seek(offset)
        left = length
        while left is None or left > 0:
            block = stream.read(_BLOCK if left is None else min(_BLOCK, left))
            if not block:
                break
            digest.update(block)
            left = left - len(block) if left is not None else None
    return digest.hexdigest()


def read_entry(root: Path, path: Path) -> FileTruth:
    """The truth about one name below `root`; links are not followed; raises OSError."""
    status = path.lstat()
    reparse = ntfs_file.read_xattr(path, "system.ntfs_reparse_data")
    if reparse is not None or stat.S_ISLNK(status.st_mode):
        kind, digest, size = "link", hashlib.sha256(reparse or b"").hexdigest(), 0
        streams: tuple[tuple[str, str], ...] = ()
    elif stat.S_ISDIR(status.st_mode):
        kind, digest, size, streams = "folder", None, 0, _read_streams(path)
    else:
        kind, digest, size, streams = "file", sha256_of(path), status.st_size, _read_streams(path)
    times = ntfs_file.read_times(path)
    # ntfs-3g refuses to be asked for the root folder's short name; there is none.
    short_name = None if path == root else ntfs_file.read_short_name(path)
    # It counts a short name as a link, which Windows does not.
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


def _read_streams(path: Path) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name, hashlib.sha256(ntfs_file.read_xattr(path, f"user.{name}") or b"").hexdigest())
        for name in sorted(ntfs_file.list_streams(path))
    )


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
    """One Windows volume: where it lies, whose it is, what must go and what must stay.

    `faulty` are the paths a repair takes away; `may_change` those that it, or a person's decision, may
    touch besides. `protector` is the id of the recovery password, None on a volume that is not encrypted.
    """

    partition: int
    offset: int
    length: int
    hostname: str
    protector: str | None
    faulty: tuple[str, ...]
    may_change: tuple[str, ...]
    files: tuple[FileTruth, ...]

    def to_document(self) -> dict[str, Any]:
        """As it stands in `truth.json`."""
        document: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        document["files"] = [file.to_document() for file in self.files]
        return document


def volume_truth(document: dict[str, Any]) -> VolumeTruth:
    """A `VolumeTruth` from its entry in `truth.json`."""
    return VolumeTruth(
        **{
            **document,
            "faulty": tuple(document["faulty"]),
            "may_change": tuple(document["may_change"]),
            "files": tuple(file_truth(file) for file in document["files"]),
        }
    )


def differences(
    truth: VolumeTruth, found: Iterable[FileTruth], *, repaired: bool, ours: str = "\\Unbrick"
) -> tuple[str, ...]:
    """What is not as it should be, one sentence each; empty when all is well.

    After a repair the faulty files are gone, and the folders they lay in have new times; otherwise (never
    touched, or undone) everything is as it was, but for the root folder's times. What lies below `ours`
    is unbrick's own and not looked at.
    """
    present = {entry.path: entry for entry in found if not (entry.path + "\\").startswith(ours + "\\")}
    gone = set(truth.faulty) if repaired else set()
    free_times = {path.rpartition("\\")[0] for path in gone} | {"\\", ""}
    shared = {(entry.sha256, entry.size) for entry in truth.files if entry.path in gone and entry.links > 1}
    complaints = []
    expected = {entry.path: entry for entry in truth.files if entry.path not in truth.may_change}
    for path, entry in expected.items():
        other = present.get(path)
        if path in gone:
            if other is not None:
                complaints.append(f"{path} is still there")
        elif other is None:
            complaints.append(f"{path} is missing")
        else:
            ignored = {"created", "modified", "accessed"} if path in free_times else set()
            if (entry.sha256, entry.size) in shared:
                ignored.add("links")
            complaints += _unlike(entry, other, ignored)
    complaints += [
        f"{path} is new" for path in present if path not in expected | dict.fromkeys(truth.may_change)
    ]
    return tuple(complaints)


def _unlike(expected: FileTruth, found: FileTruth, ignored: set[str]) -> list[str]:
    return [
        f"{expected.path}: {field.name} was {getattr(expected, field.name)!r}, "
        f"is {getattr(found, field.name)!r}"
        for field in fields(FileTruth)
        if field.name not in ignored and getattr(expected, field.name) != getattr(found, field.name)
    ]
