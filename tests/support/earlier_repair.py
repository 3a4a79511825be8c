"""A volume that the program of an earlier commit has repaired, and how it was made.

    git worktree add /tmp/earlier COMMIT
    .venv/bin/python -m support.earlier_repair /tmp/earlier tests/data/NAME      (with PYTHONPATH=tests)

writes `NAME.img.xz`, the volume, and `NAME.json`, what lay on it before. The volume is a disk without a
table, with the hives of a Windows from the drill of that commit; two files were moved away and put back by
one run, and moved away again by a second. `repaired-before-kinds` is of commit b6a2252.
"""

from __future__ import annotations

import json
import lzma
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from support.bricked_volume import CROWDSTRIKE, make_volume, mounted, place
from support.ntfs_reader import read_independently
from support.truth_file import read_truth_file

from unbrick.drill.disk.truth import FileTruth

DATA = Path(__file__).parents[1] / "data"
_HIVES = "\\Windows\\System32\\config"


def unpack(name: str, target: Path) -> dict[str, FileTruth]:
    """Write the volume to `target`; gives what lay on it before it was repaired, by path."""
    target.write_bytes(lzma.decompress((DATA / f"{name}.img.xz").read_bytes()))
    truths = (FileTruth(**file) for file in json.loads((DATA / f"{name}.json").read_text()))
    return {truth.path: truth for truth in truths}


def make(tree: Path, target: Path) -> None:
    """Make one with the program in the checkout `tree`."""
    with tempfile.TemporaryDirectory() as made:
        volume = Path(made) / "volume.img"
        make_volume(volume, Path(made) / "mount")
        _add_hives(tree, volume, Path(made))
        with volume.open("rb") as stream:
            before = read_independently(stream)
        for verb in ("repair", "undo", "repair"):
            _unbrick(tree, verb, volume, "--yes")
        target.with_suffix(".img.xz").write_bytes(lzma.compress(volume.read_bytes(), preset=9))
    documents = [vars(one) for _, one in sorted(before.items())]
    target.with_suffix(".json").write_text(json.dumps(documents, indent=1) + "\n")


def _add_hives(tree: Path, volume: Path, folder: Path) -> None:
    _unbrick(tree, "drill", "new", folder / "drill", "--files", "0", "--size", "160M")
    (machine,) = read_truth_file(folder / "drill" / "truth.json")
    (drilled,) = machine.volumes
    with (folder / "drill" / machine.disk).open("rb") as disk, (folder / "drilled.img").open("wb") as alone:
        disk.seek(drilled.offset)
        alone.write(disk.read(drilled.length))
    with (
        mounted(folder / "drilled.img", folder / "from") as source,
        mounted(volume, folder / "to") as root,
    ):
        place(root, f"{CROWDSTRIKE}\\csagent.sys").write_bytes(b"MZ what its service starts")
        place(root, _HIVES).mkdir()
        for name in ("SYSTEM", "SOFTWARE"):
            shutil.copyfile(place(source, _HIVES) / name, place(root, _HIVES) / name)


def _unbrick(tree: Path, *arguments: str | Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "unbrick", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(tree / "src")},
        check=True,
    )


if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(sys.argv[2]))
