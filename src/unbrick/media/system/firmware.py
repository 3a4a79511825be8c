"""The firmware files that the chosen modules name, as the kernel looks for them below /lib/firmware."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from unbrick.media.system.debian_root import DebianRoot
from unbrick.media.system.definition import matching
from unbrick.media.system.file_tree import FileTree
from unbrick.media.system.kernel_modules import Module
from unbrick.processes.command import Runner

_FOLDER = "usr/lib/firmware"
_PACK_SECONDS = 300.0
# Run by the medium's own Python: [[file, packed file], …] on its standard input.
_PACKER = """
import json, lzma, os, sys
for source, target in json.load(sys.stdin):
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(source, "rb") as file, open(target, "wb") as packed:
        packed.write(lzma.compress(file.read(), check=lzma.CHECK_CRC32, preset=6))
"""


@dataclass(frozen=True)
class FirmwareChoice:
    """By name below /lib/firmware: the files; why one is left out; the driver that names a missing one."""

    files: Mapping[str, Path]
    left_out: Mapping[str, str]
    missing: Mapping[str, str]


def choose_firmware(modules: Iterable[Module], root: Path, left_out: Mapping[str, str]) -> FirmwareChoice:
    files: dict[str, Path] = {}
    out: dict[str, str] = {}
    missing: dict[str, str] = {}
    for module in modules:
        for name in module.firmware:
            if pattern := matching(left_out, name):
                out[name] = left_out[pattern]
                continue
            found = _find(root, name)
            files.update(found)
            if not found:
                missing[name] = module.name
    return FirmwareChoice(files, out, missing)


def _find(root: Path, name: str) -> dict[str, Path]:
    folder = root / _FOLDER
    if name.startswith("/") or ".." in name.split("/"):
        return {}
    paths = folder.glob(name) if any(letter in name for letter in "*?[") else [folder / name]
    found = {}
    for path in paths:
        real = Path(os.path.realpath(path))
        if real.is_file() and real.is_relative_to(folder.resolve()):
            found[path.relative_to(folder).as_posix()] = real
    return found


def add_firmware(
    tree: FileTree, choice: FirmwareChoice, root: DebianRoot, workdir: Path, runner: Runner
) -> None:
    """Add the files, each once, packed as the kernel unpacks them (xz with CRC-32)."""
    first: dict[Path, str] = {}
    for name, path in sorted(choice.files.items()):
        place = f"{_FOLDER}/{name}.xz"
        if path in first:
            tree.add_link(place, "../" * name.count("/") + f"{first[path]}.xz")
            continue
        first[path] = name
        tree.add_file(place, workdir / f"{name}.xz")
    work = [[str(path), str(workdir / f"{name}.xz")] for path, name in first.items()]
    root.run_python(runner, _PACKER, json.dumps(work).encode(), timeout=_PACK_SECONDS)
