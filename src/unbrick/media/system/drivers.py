"""The drivers of the medium: kernel modules by class of hardware, what they depend on, their firmware.

Known from what `modinfo` prints; `depmod` writes the index of the modules that were chosen. A text says which
hardware is covered, by id, and what was left out and why.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from unbrick.errors import FailedError
from unbrick.media.system.debian_root import DebianRoot
from unbrick.media.system.definition import ModulesDefinition, matching
from unbrick.media.system.file_tree import FileTree
from unbrick.processes.command import Runner

_SECONDS = 300.0
_KMOD = "usr/bin/kmod"
_FIRMWARE = "usr/lib/firmware"
# Run by the medium's own Python: [[file, packed file], …] on its standard input.
_PACKER = """
import json, lzma, os, sys
for source, target in json.load(sys.stdin):
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(source, "rb") as file, open(target, "wb") as packed:
        packed.write(lzma.compress(file.read(), check=lzma.CHECK_CRC32, preset=6))
"""
_BUSES = (
    *("pci", "usb", "acpi", "virtio", "vmbus", "xen", "pnp", "hid", "hdaudio", "scsi", "sdio", "mmc"),
    *("pcmcia", "of", "i2c", "spi", "platform", "serio", "tbsvc", "ssam", "mdio", "wmi", "dmi", "input"),
    "auxiliary",
)


@dataclass(frozen=True)
class Module:
    """One module as `modinfo` shows it; `path` is relative to the kernel's folder, as in modules.dep(5)."""

    name: str
    path: str
    depends: tuple[str, ...]
    softly: tuple[str, ...]
    firmware: tuple[str, ...]
    aliases: tuple[str, ...]

    @property
    def source(self) -> str:
        """Such as `drivers/net/ethernet/intel/e1000e/e1000e`."""
        return re.sub(r"^kernel/|\.ko(\.\w+)?$", "", self.path)


@dataclass(frozen=True)
class Choice:
    """The modules by class; all with what they depend on; those left out, and why; the others."""

    by_class: Mapping[str, tuple[Module, ...]]
    modules: tuple[Module, ...]
    left_out: tuple[tuple[Module, str], ...]
    not_chosen: tuple[Module, ...]


def canonical(name: str) -> str:
    """A module's name as the kernel has it."""
    return name.replace("-", "_")


def read_modules(root: DebianRoot, runner: Runner) -> dict[str, Module]:
    folder = root.folder / "usr/lib/modules" / root.kernel
    files = sorted(folder.glob("kernel/**/*.ko*"))
    if not files:
        raise FailedError("the kernel package has no modules")
    shown = root.run(runner, _KMOD, *map(str, files), timeout=_SECONDS, called="modinfo").stdout
    found = {}
    for block in re.split(r"^filename:", shown.decode(errors="replace"), flags=re.MULTILINE)[1:]:
        module = _module(block, folder)
        found[module.name] = module
    if len(found) != len(files):
        raise FailedError(f"{len(files)} modules, of which {len(found)} could be read")
    return found


def _module(block: str, folder: Path) -> Module:
    path, _, rest = block.strip().partition("\n")
    fields: dict[str, list[str]] = {}
    for line in rest.splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name, []).append(value.strip())
    softly = " ".join(fields.get("softdep", ())).replace("pre:", " ").replace("post:", " ").split()
    return Module(
        name=canonical(fields["name"][0]),
        path=Path(path.strip()).relative_to(folder).as_posix(),
        depends=tuple(map(canonical, filter(None, ",".join(fields.get("depends", ())).split(",")))),
        softly=(*softly, *" ".join(fields.get("weakdep", ())).split()),
        firmware=tuple(fields.get("firmware", ())),
        aliases=tuple(fields.get("alias", ())),
    )


def choose_modules(modules: Mapping[str, Module], definition: ModulesDefinition) -> Choice:
    by_class: dict[str, tuple[Module, ...]] = {}
    left_out = []
    chosen: set[str] = set()
    for module in modules.values():
        if pattern := matching(definition.left_out, module.source):
            left_out.append((module, definition.left_out[pattern]))
    without = {module.name for module, _ in left_out}
    for kind in definition.classes:
        members = [
            module
            for module in modules.values()
            if module.name not in without and matching(kind.folders, module.source)
        ]
        by_class[kind.name] = tuple(members)
        chosen.update(module.name for module in members)
    needed = _with_dependencies(modules, chosen)
    return Choice(
        by_class=by_class,
        modules=tuple(modules[name] for name in sorted(needed)),
        left_out=tuple(entry for entry in left_out if entry[0].name not in needed),
        not_chosen=tuple(modules[name] for name in sorted(modules) if name not in needed | without),
    )


def _with_dependencies(modules: Mapping[str, Module], names: Iterable[str]) -> set[str]:
    """These modules and all they depend on, softly too; what is none of the modules is built in."""
    by_alias = {alias: module.name for module in modules.values() for alias in module.aliases}
    needed: set[str] = set()
    waiting = [canonical(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in needed or name not in modules:
            continue
        needed.add(name)
        module = modules[name]
        waiting.extend(module.depends)
        waiting.extend(
            canonical(soft) if canonical(soft) in modules else by_alias.get(soft, "")
            for soft in module.softly
        )
    return needed


def write_index(root: DebianRoot, choice: Choice, folder: Path, runner: Runner) -> None:
    """Make a folder with the chosen modules and the files by which `modprobe` finds them."""
    source = root.folder / "usr/lib/modules" / root.kernel
    target = folder / "lib/modules" / root.kernel
    for module in choice.modules:
        place = target / module.path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(source / module.path)
    for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        (target / name).write_bytes((source / name).read_bytes())
    arguments = ("-b", str(folder), root.kernel)
    root.run(runner, _KMOD, *arguments, timeout=_SECONDS, called="depmod")


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
            found = _find_firmware(root, name)
            files.update(found)
            if not found:
                missing[name] = module.name
    return FirmwareChoice(files, out, missing)


def _find_firmware(root: Path, name: str) -> dict[str, Path]:
    folder = root / _FIRMWARE
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
        place = f"{_FIRMWARE}/{name}.xz"
        if path in first:
            tree.add_link(place, "../" * name.count("/") + f"{first[path]}.xz")
            continue
        first[path] = name
        tree.add_file(place, workdir / f"{name}.xz")
    work = [[str(path), str(workdir / f"{name}.xz")] for path, name in first.items()]
    root.run_python(runner, _PACKER, json.dumps(work).encode(), timeout=_SECONDS)


def _hardware_ids(modules: Iterable[Module]) -> set[str]:
    """The ids by which the kernel finds these drivers for a device; ACPI's begin `acpi*:`."""
    return {
        alias for module in modules for alias in module.aliases if alias.split(":")[0].rstrip("*") in _BUSES
    }


def describe_hardware(
    choice: Choice, firmware: FirmwareChoice, definition: ModulesDefinition
) -> Iterator[str]:
    """The lines of the text beside the image."""
    yield "Covered: all drivers that Debian's kernel has for"
    for name, modules in choice.by_class.items():
        yield f"  {name}: {len(modules)} drivers, {len(_hardware_ids(modules))} device ids"
    yield f"With what those need: {len(choice.modules)} modules, {len(firmware.files)} firmware files."
    yield ""
    yield "Not covered"
    for name, why in definition.not_covered.items():
        yield f"  {name}: {why}"
    yield ""
    yield "Drivers of the covered kinds that were left out"
    for module, why in sorted(choice.left_out, key=lambda pair: pair[0].name):
        yield f"  {module.name} ({len(_hardware_ids([module]))} ids): {why}"
    yield ""
    yield "Firmware that was left out"
    for name, why in sorted(firmware.left_out.items()):
        yield f"  {name}: {why}"
    yield ""
    yield "Firmware that a driver names and Debian does not have"
    for name, driver in sorted(firmware.missing.items()):
        yield f"  {name} ({driver})"
    yield ""
    yield "Drivers of other kinds, with device ids, that were left out"
    for module in choice.not_chosen:
        if count := len(_hardware_ids([module])):
            yield f"  {module.source} ({count} ids)"
