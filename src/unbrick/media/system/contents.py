"""The system of the medium as a file tree: what the definition names, and what that needs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from unbrick.errors import FailedError
from unbrick.media.system.debian_root import MERGED, DebianRoot, merged_path
from unbrick.media.system.definition import Definition, SystemDefinition
from unbrick.media.system.drivers import Choice, FirmwareChoice, add_firmware, canonical
from unbrick.media.system.elf import read_needs
from unbrick.media.system.file_tree import Entry, FileTree
from unbrick.processes.command import Runner

_LIBRARIES = ("usr/lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/systemd", "usr/lib")
_LOADERS = "usr/lib64"
_APPLETS_SECONDS = 30.0
_FIRST_PROGRAM = "usr/lib/unbrick/first-program"
_DEVICE_RULES = "usr/lib/udev/rules.d/60-unbrick.rules"
_FOLDERS = ("dev", "proc", "sys", "run", "root", "mnt", "media", "var/lib/dhcpcd", "var/log", "etc/unbrick")
_TEXTS = {
    "etc/passwd": "root:x:0:0:root:/root:/usr/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "etc/hostname": "unbrick\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
    "etc/mdadm/mdadm.conf": "HOMEHOST <ignore>\nAUTO +all\n",
}
# The groups that udev's rules name, with Debian's numbers where there are any.
_GROUPS = (
    *("root:0", "tty:5", "disk:6", "lp:7", "kmem:15", "dialout:20", "cdrom:24", "tape:26", "audio:29"),
    *("video:44", "render:992", "sgx:993", "kvm:994", "input:995", "clock:996", "nogroup:65534"),
)


def add_system(
    tree: FileTree,
    root: DebianRoot,
    choice: Choice,
    firmware: FirmwareChoice,
    workdir: Path,
    definition: Definition,
    runner: Runner,
) -> None:
    """Put everything but Python into the tree; `drivers.write_index` has written `workdir`/modules."""
    _add_frame(tree, definition)
    _add_named(tree, root, definition.system)
    _add_modules(tree, root, choice, workdir / "modules")
    add_firmware(tree, firmware, root, workdir / "firmware", runner)
    _add_busybox_names(tree, root, definition.system, runner)


def add_libraries(tree: FileTree, root: DebianRoot, definition: SystemDefinition) -> None:
    """Add the libraries that the programs in the tree need; raises FailedError where one is missing."""
    waiting = [(path, entry) for path, entry in tree.entries.items() if _may_be_program(path, entry)]
    for name in definition.libraries:
        waiting.extend(_add_library(tree, root, name, (), "recovery_media/system.yaml"))
    seen: set[str] = set()
    while waiting:
        path, entry = waiting.pop()
        needs = read_needs(entry.read())
        if needs is None:
            continue
        bundled = [folder.replace("$ORIGIN", f"/{PurePosixPath(path).parent}") for folder in needs.folders]
        for name in needs.libraries:
            if name not in seen:
                waiting.extend(_add_library(tree, root, name, bundled, path))
                seen.add(name)
        if needs.loader and needs.loader.lstrip("/").startswith("lib64/"):
            name = Path(needs.loader).name
            tree.add_link(f"{_LOADERS}/{name}", f"../lib/x86_64-linux-gnu/{name}")
            waiting.extend(_add_library(tree, root, name, (), path))


def _may_be_program(path: str, entry: Entry) -> bool:
    return isinstance(entry.content, Path) and (entry.mode & 0o111 != 0 or ".so" in path)


def _add_library(
    tree: FileTree, root: DebianRoot, name: str, folders: Iterable[str], needed_by: str
) -> list[tuple[str, Entry]]:
    places = [os.path.normpath(folder).lstrip("/") for folder in folders]
    if any(f"{place}/{name}" in tree for place in places):
        return []
    for place in (*places, *_LIBRARIES):
        found = root.folder / place / name
        if found.exists():
            return _add_path(tree, root, f"{place}/{name}", executable=True)
    raise FailedError(
        f"{needed_by} needs {name}, which no package has",
        hint="name the package in recovery_media/system.yaml",
    )


def _add_path(tree: FileTree, root: DebianRoot, path: str, *, executable: bool) -> list[tuple[str, Entry]]:
    """Add a file, following links inside the unpacked system; the entries that were not there yet."""
    if path in tree:
        return []
    here = root.folder / path
    if here.is_symlink():
        target = str(here.readlink())
        joined = os.path.normpath(PurePosixPath("/", path).parent / target).lstrip("/")
        tree.add_link(path, target)
        return _add_path(tree, root, merged_path(joined), executable=executable)
    tree.add_file(path, here, executable=executable)
    return [(path, tree.entries[path])]


def _add_frame(tree: FileTree, definition: Definition) -> None:
    for name in MERGED:
        tree.add_folder(f"usr/{name}")
        tree.add_link(name, f"usr/{name}")
    for name in _FOLDERS:
        tree.add_folder(name)
    tree.add_folder("tmp", 0o1777)
    tree.add_link("etc/mtab", "../proc/self/mounts")
    for path, text in _TEXTS.items():
        tree.add_file(path, text.encode())
    groups = "".join("{}:x:{}:\n".format(*group.split(":")) for group in _GROUPS)
    tree.add_file("etc/group", groups.encode())
    tree.add_file("etc/fstab", definition.file_systems.encode())
    tree.add_file(_DEVICE_RULES, definition.device_rules.encode())
    announced = " ".join(f"--subsystem-match={name}" for name in definition.modules.announced_at_boot)
    program = definition.first_program.replace("@MODULES@", " ".join(definition.modules.load_at_boot))
    program = program.replace("@SUBSYSTEMS@", announced)
    tree.add_file(_FIRST_PROGRAM, program.encode(), executable=True)


def _add_named(tree: FileTree, root: DebianRoot, definition: SystemDefinition) -> None:
    for path in definition.programs:
        if not (root.folder / path).exists():
            raise FailedError(
                f"no package has {path}",
                hint="correct the programs, or the packages, of recovery_media/system.yaml",
            )
        _add_path(tree, root, path, executable=True)
    for path in definition.files:
        _add_files(tree, root, path, definition)
    for path, target in definition.links.items():
        tree.add_link(path, target)


def _add_files(tree: FileTree, root: DebianRoot, path: str, definition: SystemDefinition) -> None:
    here = root.folder / path
    if not here.exists():
        raise FailedError(f"no package has {path}", hint="correct the files of recovery_media/system.yaml")
    found = [here] if not here.is_dir() else sorted(below for below in here.rglob("*") if not below.is_dir())
    for each in found:
        if each.name not in definition.udev_rules_left_out:
            executable = each.stat().st_mode & 0o111 != 0
            _add_path(tree, root, each.relative_to(root.folder).as_posix(), executable=executable)


def _add_modules(tree: FileTree, root: DebianRoot, choice: Choice, index: Path) -> None:
    folder = f"usr/lib/modules/{root.kernel}"
    for module in choice.modules:
        tree.add_file(f"{folder}/{module.path}", root.folder / folder / module.path)
    for path in sorted(index.glob(f"lib/modules/{root.kernel}/modules.*")):
        tree.add_file(f"{folder}/{path.name}", path)


def _add_busybox_names(
    tree: FileTree, root: DebianRoot, definition: SystemDefinition, runner: Runner
) -> None:
    listed = root.run(runner, "usr/bin/busybox", "--list", timeout=_APPLETS_SECONDS, called="busybox").stdout
    taken = {path.rsplit("/", 1)[-1] for path in tree.entries if path.startswith(("usr/bin/", "usr/sbin/"))}
    # The first program makes the name modprobe, for kmod.
    taken.update({"modprobe", *definition.busybox_left_out})
    for name in listed.decode().split():
        if canonical(name) not in {canonical(each) for each in taken}:
            tree.add_link(f"usr/bin/{name}", "busybox")
