"""Small Windows trees in a plain folder, from data: enough for whoever only reads them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from unbrick.windows.installation import Installation
from unbrick.windows.services import Service

CHANNEL_HEADER = bytes.fromhex("AAAAAAAA01002301")
CROWDSTRIKE = "\\Windows\\System32\\drivers\\CrowdStrike"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def content_of(word: str, size: int | None) -> bytes:
    """A file's bytes: `channel`, `zeros`, `other`, `empty`, or hex digits, filled up to `size`."""
    known = {
        "channel": CHANNEL_HEADER + b"content of a channel file",
        "zeros": bytes(200),
        "other": b"MZ something else",
        "empty": b"",
    }
    data = known[word] if word in known else bytes.fromhex(word)
    return data.ljust(size or 0, b".")


def put_file(root: Path, windows_path: str, data: bytes, modified: str = "2024-07-19T04:09:00Z") -> Path:
    """Write a file below `root` with a modified time, to the microsecond."""
    path = root.joinpath(*windows_path.strip("\\").split("\\"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    set_time(path, modified)
    return path


def set_time(path: Path, modified: str) -> None:
    """Set a file's modified time, exactly."""
    nanoseconds = (datetime.fromisoformat(modified) - _EPOCH) // timedelta(microseconds=1) * 1000
    os.utime(path, ns=(nanoseconds, nanoseconds))


def put_files(root: Path, folder: str, files: Sequence[Mapping[str, Any]]) -> None:
    """Write what a case's `files` say; relative paths lie in `folder`."""
    for file in files:
        path = file["path"] if file["path"].startswith("\\") else f"{folder}\\{file['path']}"
        if file.get("link"):
            target = put_file(root, "\\elsewhere.sys", CHANNEL_HEADER)
            place = root.joinpath(*path.strip("\\").split("\\"))
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(target)
            continue
        data = bytes(file.get("zeros", 0)) + content_of(file["content"], file.get("size"))
        put_file(root, path, data, file.get("modified", "2024-07-19T04:09:00Z"))


def installation(
    services: Sequence[Mapping[str, Any]] | None = ({"name": "CSAgent", "start": 1},),
    class_filters: Sequence[str] = (),
    folder: str = "\\Windows",
) -> Installation:
    """An installation with these services; None is one whose registry cannot be read."""
    if services is None:
        return Installation(folder, warnings=("SYSTEM is cut short",), readable=False)
    return Installation(
        folder,
        hostname="PC-1",
        product="Windows 10 Pro",
        control_set=1,
        services=tuple(
            Service(one["name"], one.get("start"), one.get("type"), one.get("image_path")) for one in services
        ),
        class_filters=tuple(class_filters),
    )
