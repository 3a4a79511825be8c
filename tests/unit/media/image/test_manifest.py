"""The signed list of an image: what it hashes, and lists that lie."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from unbrick.media.image.manifest import (
    PIECE,
    SCHEMA,
    ImageBytes,
    ImageManifest,
    ListedFile,
    ManifestError,
    hash_image,
    manifest_bytes,
    parse_manifest,
    signed_bytes,
)

SIZE = PIECE + 1000


def manifest() -> ImageManifest:
    zeros = ((4096, 65536), (70000, 4096))
    return ImageManifest(
        SCHEMA,
        id="0123456789abcdef",
        version="0.1.0",
        built="2026-11-25T17:00:00Z",
        expires="2027-12-25T17:00:00Z",
        image=ImageBytes(SIZE, "0" * 64, PIECE, ("1" * 64, "2" * 64), zeros),
        files={"boot/vmlinuz": ListedFile(12, "3" * 64)},
    )


def test_a_manifest_is_read_back_also_with_padding_behind_it() -> None:
    data = manifest_bytes(manifest())
    assert parse_manifest(data) == manifest()
    padded = data.ljust(65536, b"\n")
    assert parse_manifest(padded) == manifest()
    assert signed_bytes(padded) == data


def test_every_byte_but_the_zeroed_ones_counts() -> None:
    image = bytearray(range(256)) * 20_000
    zeros = [(PIECE - 10, 20)]

    def hashes() -> tuple[str, tuple[str, ...]]:
        return hash_image(lambda at, length: bytes(image[at : at + length]), len(image), zeros)

    before = hashes()
    expected = bytearray(image)
    expected[PIECE - 10 : PIECE + 10] = bytes(20)
    assert before[0] == hashlib.sha256(expected).hexdigest()
    image[PIECE - 10] ^= 1
    image[PIECE + 9] ^= 1
    assert hashes() == before
    for at in (0, PIECE - 11, PIECE + 10, len(image) - 1):
        image[at] ^= 1
        changed = hashes()
        assert changed[0] != before[0]
        assert changed[1][at // PIECE] != before[1][at // PIECE]
        image[at] ^= 1


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"id": "../etc"},
        {"built": "yesterday"},
        {"files": []},
        {"files": {"x": {"size": -1, "sha256": "3" * 64}}},
        {"image": {"size": SIZE, "sha256": "0" * 64, "piece": PIECE, "pieces": ["1" * 64], "zeros": []}},
        {"image": {"size": SIZE, "sha256": "0" * 64, "piece": 1, "pieces": ["1" * 64] * SIZE, "zeros": []}},
        {
            "image": {
                "size": SIZE,
                "sha256": "0" * 64,
                "piece": PIECE,
                "pieces": ["1" * 64] * 2,
                "zeros": [[0, SIZE]],
            }
        },
    ],
)
def test_a_list_that_lies_is_refused(change: dict[str, Any]) -> None:
    document = {**json.loads(manifest_bytes(manifest())), **change}
    with pytest.raises(ManifestError):
        parse_manifest(json.dumps(document).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ManifestError):
        parse_manifest(data)
