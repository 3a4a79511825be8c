"""Files of a CD image are found where an independent program put them; broken images are told."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from unbrick.media.image.iso_files import IsoError, find_files


@pytest.fixture
def image(tmp_path: Path) -> bytes:
    folder = tmp_path / "folder"
    (folder / "below").mkdir(parents=True)
    (folder / "manifest.json").write_bytes(b"the manifest")
    (folder / "below" / "hidden").write_bytes(b"hidden")
    for number in range(90):  # more than one sector of names
        (folder / f"file{number:02}.bin").write_bytes(str(number).encode())
    out = tmp_path / "x.iso"
    command = ["xorriso", "-as", "mkisofs", "-quiet", "-iso-level", "3", "-r", "-o", str(out), str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return out.read_bytes()


def test_every_plain_file_of_the_top_folder_is_found(image: bytes) -> None:
    files = find_files(lambda at, length: image[at : at + length])
    assert len(files) == 91
    for name, expected in (("manifest.json", b"the manifest"), ("file89.bin", b"89")):
        found = files[name]
        assert image[found.offset : found.offset + found.size] == expected


def test_no_image_is_told(image: bytes) -> None:
    for data in (b"", bytes(40_000), image[:32_800]):
        with pytest.raises(IsoError):
            find_files(lambda at, length, data=data: data[at : at + length])  # type: ignore[misc]


def test_a_folder_that_lies_is_told(image: bytes) -> None:
    broken = bytearray(image)
    broken[16 * 2048 + 156 + 10 : 16 * 2048 + 156 + 14] = b"\xff\xff\xff\xff"
    with pytest.raises(IsoError, match="damaged"):
        find_files(lambda at, length: bytes(broken[at : at + length]))
