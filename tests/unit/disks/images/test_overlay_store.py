"""The overlay's own file, against QEMU."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from unbrick.disks.images.overlay_store import CLUSTER, create_store, written_clusters

TIB = 1 << 40


@pytest.mark.parametrize("length", [512, CLUSTER, 512 * 1024**2 + 512, 20 * TIB + 1024])
def test_qemu_finds_an_empty_disk_without_a_fault(tmp_path: Path, length: int) -> None:
    store = tmp_path / "store.qcow2"
    create_store(store, length)
    said = json.loads(subprocess.check_output(["qemu-img", "info", "--output=json", store]))
    assert (said["format"], said["virtual-size"]) == ("qcow2", length)
    assert "backing-filename" not in said
    assert subprocess.run(["qemu-img", "check", "-q", store]).returncode == 0
    assert list(written_clusters(store)) == []


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    store = tmp_path / "store.qcow2"
    create_store(store, 3 * TIB)
    places = (0, 5 * CLUSTER, 2 * TIB + CLUSTER)
    for number, place in enumerate(places, start=1):
        command = f"write -P {number} {place + 512} 1024"
        subprocess.run(
            ["qemu-io", "-f", "qcow2", "-c", command, store], check=True, stdout=subprocess.DEVNULL
        )
    found = list(written_clusters(store))
    assert [place for place, _ in found] == list(places)
    for number, (_, data) in enumerate(found, start=1):
        assert data == (bytes(512) + bytes([number]) * 1024).ljust(CLUSTER, b"\0")


def test_a_store_is_never_made_over_another_file(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"something")
    with pytest.raises(FileExistsError):
        create_store(tmp_path / "store", 512)
