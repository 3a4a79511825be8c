"""Making a drill fails in the middle: no mount, no program and no half-made disk is left."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from unbrick.drill.disk import ntfs
from unbrick.drill.disk.truth import sha256_of
from unbrick.drill.fleet import make_fleet
from unbrick.drill.options import MIB, FleetOptions, ImageFormat, MachineOptions
from unbrick.processes.command import CommandError, Result, SystemRunner


def _left_behind(folder: Path) -> list[str]:
    """Mounts and running programs that have to do with a folder; other tests may run beside this one."""
    left = [line for line in Path("/proc/mounts").read_text().splitlines() if str(folder) in line]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(folder) in words and str(os.getpid()) != process.parent.name:
                left.append(words)
    return left


class _Failing(SystemRunner):
    """A runner whose world breaks at one program."""

    def __init__(self, program: str, calls: int = 1) -> None:
        self._program, self._calls = program, calls

    def run(self, argv: Sequence[str], **how: Any) -> Result:
        if argv[0] == self._program:
            self._calls -= 1
            if self._calls == 0:
                raise CommandError(argv, 1, b"no")
        return super().run(argv, **how)


@pytest.mark.parametrize(("program", "calls"), [("mkntfs", 2), ("umount", 1), ("umount", 2), ("qemu-img", 1)])
def test_a_tool_that_fails_leaves_no_mount_and_no_half_made_disk(
    tmp_path: Path, program: str, calls: int
) -> None:
    machine = MachineOptions("PC-1", 1, size=160 * MIB, files=10, image_format=ImageFormat.QCOW2)
    with pytest.raises(CommandError):
        make_fleet(
            tmp_path / "fleet", FleetOptions((machine,), 1), _Failing(program, calls), lambda line: None
        )
    assert _left_behind(tmp_path) == []
    assert list((tmp_path / "fleet").iterdir()) == []


def test_a_mount_ends_with_its_block_even_when_it_fails(tmp_path: Path) -> None:
    image, at = tmp_path / "volume", tmp_path / "mount"
    runner = SystemRunner()
    ntfs.make_volume(
        image, length=32 * MIB, sector_size=512, first_sector=2048, label="X", serial=1, runner=runner
    )
    content = b"x" * 3_000_000

    def write_and_fail() -> None:
        with ntfs.mounted(image, at, runner) as root:
            (root / "kept.bin").write_bytes(content)
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError):
        write_and_fail()
    assert _left_behind(tmp_path) == []
    with pytest.raises(CommandError), ntfs.mounted(image, at, _Failing("umount")):
        pass
    assert _left_behind(tmp_path) == []
    with ntfs.mounted(image, at, runner, read_only=True) as root:
        digest = hashlib.sha256((root / "kept.bin").read_bytes()).hexdigest()
    assert digest == hashlib.sha256(content).hexdigest()
    assert not at.is_mount()


def test_sparse_copies_are_exact_and_sparse(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as stream:
        stream.truncate(64 * MIB)
        for at in (0, 5 * MIB + 7, 40 * MIB):
            stream.seek(at)
            stream.write(os.urandom(100_000))
    with target.open("wb") as stream:
        stream.truncate(80 * MIB)
        ntfs.copy_sparse(source, stream, 8 * MIB)
    assert sha256_of(target, 8 * MIB, 64 * MIB) == sha256_of(source)
    assert target.stat().st_blocks * 512 < 8 * MIB
