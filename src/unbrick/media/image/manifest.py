"""The signed list of an image: every file on it, and a hash of each piece of all its bytes.

It is on the image itself, in two files whose room is reserved before their content is known; their bytes are
hashed as zeros. So a stick alone is enough to check every byte of it against the site's key.

    {"schema": 1, "id": "<16 hex>", "version": "0.1.0", "built": "…Z", "expires": "…Z",
     "image": {"size": 0, "sha256": "…", "piece": 4194304, "pieces": ["…", …],
               "zeros": [[offset, length], …]},
     "files": {"boot/vmlinuz": {"size": 0, "sha256": "…"}, …}}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

from unbrick.errors import FailedError
from unbrick.settings.strict import Form, Shape, Span, StrictError, number, read_json

NAMESPACE = "unbrick-medium@unbrick"
MANIFEST_NAME = "manifest.json"
SIGNATURE_NAME = "manifest.sig"
MANIFEST_BYTES = 64 * 1024
SIGNATURE_BYTES = 4096
PIECE = 4 * 1024 * 1024
SCHEMA = 1
_MOST_BYTES = 16 * 1024 * 1024 * 1024
_MOST_FILES = 1000
_PADDING = b"\0\n "
_FORM = Form("a list of an image's files", most_bytes=MANIFEST_BYTES)

Hash = Annotated[str, Shape("a SHA-256 of 64 hex digits", r"^[0-9a-f]{64}$")]
Size = Annotated[int, number("a number of bytes", 0, _MOST_BYTES)]
Moment = Annotated[
    str,
    Shape("a time such as 2026-11-25T17:00:00Z", r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"),
]


class ManifestError(FailedError):
    """Bytes that are no manifest of a medium."""


@dataclass(frozen=True)
class ListedFile:
    """A file on the image."""

    size: Size
    sha256: Hash


@dataclass(frozen=True)
class ImageBytes:
    """The bytes of an image; `zeros` are the areas (offset, length) that count as zeros."""

    size: Size
    sha256: Hash
    piece: Annotated[int, number(str(PIECE), PIECE, PIECE)]
    pieces: Annotated[tuple[Hash, ...], Span(0)]
    zeros: Annotated[tuple[tuple[Size, Size], ...], Span(0, 2)]

    def faults(self) -> Iterator[tuple[str, str]]:
        if len(self.pieces) != -(-self.size // self.piece):
            yield "pieces", "a hash of each piece"
        if sum(length for _, length in self.zeros) > MANIFEST_BYTES + SIGNATURE_BYTES:
            yield "zeros", "no more than the manifest and its signature, else too little would be checked"


@dataclass(frozen=True)
class ImageManifest:
    """What manifest.json holds."""

    schema: Annotated[int, number(str(SCHEMA), SCHEMA, SCHEMA)]
    id: Annotated[str, Shape("an id of 16 hex digits", r"^[0-9a-f]{16}$")]
    version: Annotated[str, Shape("a version", longest=40)]
    built: Moment
    expires: Moment
    image: ImageBytes
    files: Mapping[str, ListedFile]

    def faults(self) -> Iterator[tuple[str, str]]:
        if len(self.files) > _MOST_FILES or any(len(name) > 255 for name in self.files):
            yield "files", f"at most {_MOST_FILES} files, with names of at most 255 characters"


def reserved(medium: str, length: int, what: str) -> bytes:
    """What a reserved file holds until its content is known, so that it can be found in the image."""
    mark = hashlib.sha256(f"{medium} {what}".encode()).digest()
    return (mark * (length // len(mark) + 1))[:length]


def fill(content: bytes, length: int) -> bytes:
    """`content` as a reserved file holds it; `signed_bytes` takes the padding off."""
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
    document = asdict(manifest)
    document["files"] = dict(sorted(document["files"].items()))
    data = json.dumps(document, indent=1).encode() + b"\n"
    if len(data) > MANIFEST_BYTES:
        raise ManifestError("the list of the image's files is too long")
    return data


def parse_manifest(data: bytes) -> ImageManifest:
    """Read a manifest from an image, padding and all; raises ManifestError."""
    try:
        return read_json(ImageManifest, data.rstrip(_PADDING), MANIFEST_NAME, _FORM)
    except StrictError as error:
        raise ManifestError(f"the list of the image's files cannot be read: {error.message}") from error


def signed_bytes(data: bytes) -> bytes:
    """The part of a reserved file that was signed: without its padding."""
    return data.rstrip(_PADDING) + b"\n"
