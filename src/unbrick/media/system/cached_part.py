"""What is the same on every site's medium: system archive, kernel, boot programs. Kept in a cache.

<cache>/debian-<hash>/    unpacked packages, fetched anew after a week or when asked
<cache>/system-<hash>/    what was made of them; the hash covers all that went into it
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from unbrick.media.system import debian_root
from unbrick.media.system.boot_files import copy_boot_files
from unbrick.media.system.contents import add_libraries, add_system
from unbrick.media.system.debian_root import DebianRoot
from unbrick.media.system.definition import PACKAGE, Definition, SystemDefinition
from unbrick.media.system.drivers import (
    choose_firmware,
    choose_modules,
    describe_hardware,
    read_modules,
    write_index,
)
from unbrick.media.system.file_tree import FileTree, write_cpio
from unbrick.media.system.python_part import add_python, fetch_packages, read_packages
from unbrick.media.system.software import list_software, write_licences
from unbrick.processes.command import SystemRunner

Progress = Callable[[str], AbstractContextManager[None]]
"""Shows a person, while a block runs, the step that it is given."""

_FORMAT = 1  # counted up when the same inputs are to give something else
_DAY = 24 * 3600.0
_WEEK = 7 * _DAY
_PACK_SECONDS = 900.0
_LEVEL = "-12"


@dataclass(frozen=True)
class SystemPart:
    """Where the parts are: each by its path, `software` (the bill of materials' components) as JSON."""

    folder: Path
    root: DebianRoot
    digest: str

    @property
    def archive(self) -> Path:
        return self.folder / "system.img"

    @property
    def boot(self) -> Path:
        return self.folder / "boot"

    @property
    def licences(self) -> Path:
        return self.folder / "licences.tar.xz"

    @property
    def software(self) -> bytes:
        return (self.folder / "software.json").read_bytes()

    @property
    def hardware(self) -> bytes:
        return (self.folder / "hardware.txt").read_bytes()


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base, "unbrick", "media")


def make_system(
    definition: Definition, cache: Path, *, fresh: bool, progress: Progress, runner: SystemRunner
) -> SystemPart:
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / "lock", progress):
        for unfinished in cache.glob(".new-*"):  # of builds that were killed
            shutil.rmtree(unfinished, ignore_errors=True)
        root = _debian(definition.system, cache, fresh=fresh, progress=progress, runner=runner)
        key = _key(_FORMAT, definition.digest, digest_of_package(), root.packages, root.newest)
        folder = cache / f"system-{key}"
        if not folder.is_dir():
            with _whole_or_not(folder) as place:
                _make(definition, root, place, progress, runner)
        os.utime(folder)
        _remove_old(cache)
        return SystemPart(folder, root, key)


def digest_of_package(package: Path = PACKAGE) -> str:
    digest = hashlib.sha256()
    found = (Path(above, name) for above, _, names in os.walk(package) for name in names)
    for path in sorted(path for path in found if path.parent.name != "__pycache__"):
        data = path.read_bytes()
        digest.update(f"{path.relative_to(package).as_posix()}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()


def _debian(
    definition: SystemDefinition, cache: Path, *, fresh: bool, progress: Progress, runner: SystemRunner
) -> DebianRoot:
    key = _key(definition.suite, definition.architecture, definition.components, definition.packages)
    folder = cache / f"debian-{key}"
    stamp = folder / "fetched"
    if fresh or not stamp.exists() or time.time() - stamp.stat().st_mtime > _WEEK:
        mirrors = debian_root.find_mirrors(definition, runner)
        with progress("fetching Debian packages"), _whole_or_not(folder) as place:
            debian_root.fetch(definition, mirrors, place / "system", runner)
            (place / "fetched").touch()
    return debian_root.open_root(folder / "system")


def _make(
    definition: Definition, root: DebianRoot, place: Path, progress: Progress, runner: SystemRunner
) -> None:
    work = place / "work"
    work.mkdir()
    with progress("fetching Python packages"):
        fetch_packages(definition.requirements, definition.system.python.version, work / "packages", runner)
    with progress("choosing drivers and firmware"):
        choice = choose_modules(read_modules(root, runner), definition.modules)
        write_index(root, choice, work / "modules", runner)
        firmware = choose_firmware(choice.modules, root.folder, definition.modules.firmware_left_out)
    tree = FileTree()
    with progress("putting the system together"):
        add_system(tree, root, choice, firmware, work, definition, runner)
        add_python(tree, root, definition.system, work / "packages", PACKAGE, work / "bytecode", runner)
        add_libraries(tree, root, definition.system)
        software = list_software(tree, root, read_packages(work / "packages"))
    covered = describe_hardware(choice, firmware, definition.modules)
    (place / "hardware.txt").write_text("\n".join(covered) + "\n", encoding="utf-8")
    (place / "software.json").write_text(json.dumps(software, indent=1, sort_keys=True), encoding="utf-8")
    copy_boot_files(root, place / "boot", runner)
    write_licences(root, software, work / "packages", place / "licences.tar.xz", runner)
    with progress("packing the system"):
        with (work / "system.cpio").open("wb") as archive:
            write_cpio(tree, archive, root.newest)
        packed = place / "system.img"
        arguments = ("-q", _LEVEL, "-T2", str(work / "system.cpio"), "-o", str(packed))
        root.run(runner, "usr/bin/zstd", *arguments, timeout=_PACK_SECONDS)
    shutil.rmtree(work)


def _remove_old(cache: Path) -> None:
    # Systems that no build has used for a day: another build may be reading a newer one. And packages that
    # would be fetched anew: those of an older list of packages are never asked for again.
    for pattern, stamp, seconds in (("system-*", ".", _DAY), ("debian-*", "fetched", _WEEK)):
        for folder in cache.glob(pattern):
            mark = folder / stamp
            if not mark.exists() or time.time() - mark.stat().st_mtime > seconds:
                shutil.rmtree(folder, ignore_errors=True)


def _key(*parts: object) -> str:
    return hashlib.sha256("\n".join(map(repr, parts)).encode()).hexdigest()[:16]


@contextmanager
def _locked(path: Path, progress: Progress) -> Iterator[None]:
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with progress("waiting for another build"):
                fcntl.flock(stream, fcntl.LOCK_EX)
        yield


@contextmanager
def _whole_or_not(folder: Path) -> Iterator[Path]:
    """A folder that gets its name once it is complete, in the place of an older one."""
    place = folder.with_name(f".new-{folder.name}")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    try:
        yield place
        shutil.rmtree(folder, ignore_errors=True)
        place.rename(folder)
    finally:
        shutil.rmtree(place, ignore_errors=True)
