"""Chooses the kernel modules of the medium: by class of hardware, with what they depend on.

Known from what `modinfo` prints; `depmod` writes the index of those that were chosen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from unbrick.errors import FailedError
from unbrick.media.system.debian_root import DebianRoot
from unbrick.media.system.definition import ModulesDefinition, matches, matching
from unbrick.processes.command import Runner

_DEPMOD_SECONDS = 300.0
_MODINFO_SECONDS = 300.0
_KMOD = "usr/bin/kmod"


class ModulesError(FailedError):
    """The kernel's modules are not as expected."""


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
        raise ModulesError("the kernel package has no modules")
    shown = root.run(runner, _KMOD, *map(str, files), timeout=_MODINFO_SECONDS, called="modinfo").stdout
    found = {}
    for block in re.split(r"^filename:", shown.decode(errors="replace"), flags=re.MULTILINE)[1:]:
        module = _module(block, folder)
        found[module.name] = module
    if len(found) != len(files):
        raise ModulesError(f"{len(files)} modules, of which {len(found)} could be read")
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
            if module.name not in without and any(matches(pattern, module.source) for pattern in kind.folders)
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
    root.run(runner, _KMOD, *arguments, timeout=_DEPMOD_SECONDS, called="depmod")
