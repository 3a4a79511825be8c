"""What only looks leaves every byte of an image as it was, whatever its format would do when it is opened."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.crashed_image import leave_log, set_dirty
from support.drilled import Drilled, Drills
from support.program import Argument, at_terminal, run_program

from unbrick.drill.disk.truth import sha256_of

pytestmark = pytest.mark.usefixtures("leaves_nothing")

MIB = 1024 * 1024


def _with_log(image: Path) -> None:
    leave_log(image, 8 * MIB)


def _with_bitmap(image: Path) -> None:
    subprocess.run(["qemu-img", "bitmap", "--add", str(image), "backup"], check=True)


def _with_unknown_autoclear_bit(image: Path) -> None:
    with image.open("r+b") as stream:
        stream.seek(88)
        stream.write((1 << 40).to_bytes(8, "big"))


def _as_it_is(image: Path) -> None:
    pass


STATES: list[tuple[str, Callable[[Path], None]]] = [
    ("vhdx", _with_log),
    ("qcow2", set_dirty),
    ("qcow2", _with_bitmap),
    ("qcow2", _with_unknown_autoclear_bit),
    ("qcow2", _as_it_is),
    ("vmdk", _as_it_is),
    ("plain", _as_it_is),
    ("crashed", _as_it_is),
]
LOOKS: list[tuple[tuple[Argument, ...], str]] = [
    (("scan",), "scanned"),
    (("diagnose",), "found"),
    (("repair", "--dry-run"), "found"),
    (("undo", "--dry-run"), "needs-hands"),
    (("undo", "--yes"), "needs-hands"),
]


@contextmanager
def _unchanged(folder: Path) -> Iterator[None]:
    """No file in a folder changes, comes or goes meanwhile."""
    before = {path: sha256_of(path) for path in folder.iterdir()}
    yield
    assert {path: sha256_of(path) for path in folder.iterdir()} == before


@pytest.mark.parametrize(("kind", "leave"), STATES, ids=lambda one: getattr(one, "__name__", one).strip("_"))
def test_looking_changes_no_byte_and_a_repair_still_works(
    drills: Drills, tmp_path: Path, kind: str, leave: Callable[[Path], None]
) -> None:
    disk = drills.copy(kind, tmp_path / "disks")
    leave(disk.image)
    with _unchanged(disk.image.parent):
        for (verb, *options), status in LOOKS:
            ended = run_program(verb, disk.image, *options, "--json")
            assert ended.document["status"] == status, ended
        with at_terminal("repair", disk.image) as person:
            person.wait_for("Go ahead?")
            person.type("n")
            assert person.end() == 3
    repaired = run_program("repair", disk.image, "--yes", "--json")
    assert repaired.document["status"] == "repaired", repaired
    assert disk.complaints(repaired=True) == ()
    with _unchanged(disk.image.parent):
        assert run_program("diagnose", disk.image, "--json").document["status"] == "healthy"
        assert run_program("undo", disk.image, "--dry-run", "--json").document["status"] == "found"
    undone = run_program("undo", disk.image, "--yes", "--json")
    assert undone.document["status"] == "undone", undone
    assert disk.complaints(repaired=False) == ()


@pytest.mark.parametrize(("kind", "status"), [("healthy", "healthy"), ("hibernated", "needs-hands")])
@pytest.mark.parametrize(("image_format", "leave"), [("qcow2", set_dirty), ("vhdx", _with_log)])
def test_a_repair_that_writes_nothing_changes_no_byte(
    drills: Drills, tmp_path: Path, kind: str, status: str, image_format: str, leave: Callable[[Path], None]
) -> None:
    disk = _converted(drills.copy(kind, tmp_path / "disks"), image_format)
    leave(disk)
    with _unchanged(disk.parent):
        assert run_program("repair", disk, "--yes", "--json").document["status"] == status


def _converted(disk: Drilled, image_format: str) -> Path:
    image = disk.image.with_name(f"machine.{image_format}")
    argv = ["qemu-img", "convert", "-f", "raw", "-O", image_format, str(disk.image), str(image)]
    subprocess.run(argv, check=True)
    disk.image.unlink()
    return image


def test_a_locked_volume_in_an_image_is_opened_twice_and_its_key_asked_for_once(
    drills: Drills, tmp_path: Path
) -> None:
    locked = drills.copy("two-locked", tmp_path / "disks")
    image = _converted(locked, "qcow2")
    set_dirty(image)
    with _unchanged(image.parent):
        found = run_program("diagnose", image, "--keys", locked.keys, "--json")
        assert found.document["status"] == "found"
    with at_terminal("repair", image) as person:
        for password in locked.passwords().values():
            person.wait_for("ecovery password")
            person.type(password)
        person.wait_for("Go ahead?")
        person.type("y")
        assert person.end() == 0
    assert run_program("diagnose", image, "--keys", locked.keys, "--json").document["status"] == "healthy"
