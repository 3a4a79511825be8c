"""The signed list of an image: every file on it, and a hash of each piece of all its bytes.

It lies on the image itself, in two files that are reserved before they are known; while hashing, the bytes of
those two count as zeros. So a stick alone is enough to check every byte of it against the site's key.

    {"schema": 1, "id": "<16 hex>", "version": "0.1.0", "built": "…Z", "expires": "…Z",
     "image": {"size": 0, "sha256": "…", "piece": 4194304, "pieces": ["…", …],
               "zeros": [[offset, length], …]},
     "files": {"boot/vmlinuz": {"size": 0, "sha256": "…"}, …}}
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from unbrick.errors import FailedError

NAMESPACE = "unbrick-medium@unbrick"
MANIFEST_NAME = "manifest.json"
SIGNATURE_NAME = "manifest.sig"
MANIFEST_BYTES = 64 * 1024
SIGNATURE_BYTES = 4096
PIECE = 4 * 1024 * 1024
_SCHEMA = 1
_MOST_BYTES = 16 * 1024 * 1024 * 1024
_MOST_FILES = 1000
_HASH = re.compile(r"[0-9a-f]{64}")
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


class ManifestError(FailedError):
    """A manifest that is not one of ours."""


@dataclass(frozen=True)
class ListedFile:
    """A file on the image."""

    size: int
    sha256: str


@dataclass(frozen=True)
class ImageManifest:
    """What an image is; sizes and offsets in bytes."""

    id: str
    version: str
    built: str
    expires: str
    size: int
    sha256: str
    piece: int
    pieces: tuple[str, ...]
    zeros: tuple[tuple[int, int], ...]
    files: Mapping[str, ListedFile]


def reserved(medium: str, length: int, what: str) -> bytes:
    """What stands in a reserved file until its content is known, so that it can be found in the image."""
    mark = hashlib.sha256(f"{medium} {what}".encode()).digest()
    return (mark * (length // len(mark) + 1))[:length]


def fill(content: bytes, length: int) -> bytes:
    """What stands in a reserved file in the end."""
    return content.ljust(length, b"\n")


def hash_image(
    read: Callable[[int, int], bytes], size: int, zeros: Sequence[tuple[int, int]], piece: int = PIECE
) -> tuple[str, tuple[str, ...]]:
    """The hash of `size` bytes and of each piece of them, read by `read(offset, length)`."""
    whole = hashlib.sha256()
    pieces = []
    for offset in range(0, size, piece):
        data = bytearray(read(offset, min(piece, size - offset)))
        for at, length in zeros:
            first, last = max(at, offset), min(at + length, offset + len(data))
            if first < last:
                data[first - offset : last - offset] = bytes(last - first)
        whole.update(data)
        pieces.append(hashlib.sha256(data).hexdigest())
    return whole.hexdigest(), tuple(pieces)


def manifest_bytes(manifest: ImageManifest) -> bytes:
    """Its JSON form; the same manifest, the same bytes."""
    document = {
        "schema": _SCHEMA,
        "id": manifest.id,
        "version": manifest.version,
        "built": manifest.built,
        "expires": manifest.expires,
        "image": {
            "size": manifest.size,
            "sha256": manifest.sha256,
            "piece": manifest.piece,
            "pieces": list(manifest.pieces),
            "zeros": [list(area) for area in manifest.zeros],
        },
        "files": {name: asdict(manifest.files[name]) for name in sorted(manifest.files)},
    }
    data = json.dumps(document, indent=1).encode() + b"\n"
    if len(data) > MANIFEST_BYTES:
        raise ManifestError("the list of the image's files is too long")
    return data


def parse_manifest(data: bytes) -> ImageManifest:
    """Read a manifest from an image, padding and all; raises ManifestError."""
    try:
        document = json.loads(data.rstrip(b"\0\n ").decode())
        return _parse(document)
    except (ValueError, KeyError, TypeError, RecursionError, AttributeError) as error:
        raise ManifestError("the list of the image's files cannot be read") from error


def signed_bytes(data: bytes) -> bytes:
    """The part of a reserved file that was signed: without its padding."""
    return data.rstrip(b"\0\n ") + b"\n"


def _parse(document: Any) -> ImageManifest:
    image = document["image"]
    if document["schema"] != _SCHEMA or not re.fullmatch(r"[0-9a-f]{16}", document["id"]):
        raise ValueError("schema")
    size, piece = _number(image["size"]), _number(image["piece"])
    zeros = tuple((_number(at), _number(length)) for at, length in image["zeros"])
    pieces = tuple(map(_hash, image["pieces"]))
    if piece != PIECE or len(pieces) != -(-size // piece) or len(zeros) > 2:
        raise ValueError("pieces")
    if sum(length for _, length in zeros) > MANIFEST_BYTES + SIGNATURE_BYTES:
        raise ValueError("too little would be checked")
    files = document["files"]
    if len(files) > _MOST_FILES or any(not isinstance(name, str) or len(name) > 255 for name in files):
        raise ValueError("files")
    return ImageManifest(
        id=document["id"],
        version=str(document["version"])[:40],
        built=_moment(document["built"]),
        expires=_moment(document["expires"]),
        size=size,
        sha256=_hash(image["sha256"]),
        piece=piece,
        pieces=pieces,
        zeros=zeros,
        files={name: ListedFile(_number(one["size"]), _hash(one["sha256"])) for name, one in files.items()},
    )


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _MOST_BYTES:
        raise ValueError("number")
    return value


def _hash(value: Any) -> str:
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise ValueError("hash")
    return value


def _moment(value: Any) -> str:
    if not isinstance(value, str) or not _MOMENT.fullmatch(value):
        raise ValueError("time")
    return value
