"""Python on the medium: Debian's interpreter and standard library, the locked packages, unbrick itself.

The medium's own Python compiles it all, without time stamps: the same source gives the same bytes. Only
unbrick keeps its source, for the log of a crash.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from unbrick.errors import FailedError
from unbrick.media.system.debian_root import NETWORK_ENVIRONMENT, DebianRoot
from unbrick.media.system.definition import SystemDefinition, matching
from unbrick.media.system.file_tree import FileTree
from unbrick.processes.command import CommandError, Runner, SystemRunner

_PIP_SECONDS = 600.0
_COMPILE_SECONDS = 600.0
_PACKAGES = "usr/lib/python3/dist-packages"
_PLATFORMS = ("manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014")
_ENVIRONMENT = (
    *("HOME", *NETWORK_ENVIRONMENT, "PIP_CERT", "PIP_CONFIG_FILE", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"),
    *("PIP_INDEX_URL", "PIP_TRUSTED_HOST"),
)
_CLASSIFIED = "License :: OSI Approved :: "
# Run by the medium's own Python: [[source, name in tracebacks, byte code], …] on its standard input.
_COMPILER = """
import json, os, py_compile, sys
for source, name, target in json.load(sys.stdin):
    os.makedirs(os.path.dirname(target), exist_ok=True)
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(source, cfile=target, dfile=name, doraise=True, invalidation_mode=mode)
"""


class PythonError(FailedError):
    """The Python packages could not be had or compiled."""


@dataclass(frozen=True, order=True)
class PythonPackage:
    """A package of the lock file, as installed."""

    name: str
    version: str
    licence: str


def fetch_packages(requirements: Path, version: str, folder: Path, runner: SystemRunner) -> None:
    """Install exactly the locked packages, by hash, for the medium's Python, into a new folder."""
    argv = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    argv += ["--target", str(folder), "--no-deps", "--no-compile", "--require-hashes", "--only-binary=:all:"]
    argv += ["--implementation", "cp", "--python-version", version]
    argv += [f"--platform={platform}_x86_64" for platform in _PLATFORMS]
    try:
        runner.run([*argv, "-r", str(requirements)], timeout=_PIP_SECONDS, keep=_ENVIRONMENT, tidies_up=True)
    except CommandError as error:
        if b"No space left on device" in error.stderr:
            raise  # the story of the build says where
        said = error.stderr.decode(errors="replace").strip().splitlines()
        last = next((line for line in reversed(said) if line.startswith("ERROR")), error.message)
        raise PythonError(
            f"the Python packages could not be fetched: {last.removeprefix('ERROR: ')}",
            hint="check that pip reaches its index on this machine",
        ) from error


def read_packages(folder: Path) -> tuple[PythonPackage, ...]:
    """What `fetch_packages` installed."""
    found = []
    for metadata in folder.glob("*.dist-info/METADATA"):
        fields: dict[str, str] = {}
        for line in metadata.read_text(encoding="utf-8").partition("\n\n")[0].splitlines():
            name, _, value = line.partition(": ")
            if value.startswith(_CLASSIFIED):
                name, value = "Classified", value.removeprefix(_CLASSIFIED)
            fields.setdefault(name, value)
        named = (fields.get(name) for name in ("License-Expression", "License", "Classified"))
        licence = next(filter(None, named), "see its licence file")
        found.append(PythonPackage(fields["Name"], fields["Version"], licence.splitlines()[0][:80]))
    return tuple(sorted(found))


@dataclass(frozen=True)
class _Source:
    path: Path
    place: str
    keep: bool


def add_python(
    tree: FileTree,
    root: DebianRoot,
    definition: SystemDefinition,
    packages: Path,
    unbrick: Path,
    workdir: Path,
    runner: Runner,
) -> None:
    """Put the standard library, the locked packages and unbrick into the tree, compiled in `workdir`."""
    library = f"usr/lib/python{definition.python.version}"
    left_out = definition.python.packages_left_out
    own_left_out = {pattern.removeprefix("unbrick/"): why for pattern, why in left_out.items()}
    sources = [
        *_collect(tree, root.folder / library, library, definition.python.left_out),
        *_collect(tree, root.folder / _PACKAGES, _PACKAGES, {}, only=("hivex", "libhivexmod")),
        *_collect(tree, packages, _PACKAGES, left_out),
        *_collect(tree, unbrick, f"{_PACKAGES}/unbrick", own_left_out, keep=True),
    ]
    _compile(tree, root, definition, sources, workdir, runner)


def _collect(
    tree: FileTree,
    folder: Path,
    place: str,
    left_out: Mapping[str, str],
    *,
    keep: bool = False,
    only: tuple[str, ...] = (),
) -> list[_Source]:
    """Add the files of a folder, sources only with `keep`; `only` are the names that count, up to a dot."""
    sources = []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder).as_posix()
        if only and relative.split("/")[0].split(".")[0] not in only:
            continue
        if "__pycache__" in relative or matching(left_out, relative) or path.is_dir():
            continue
        if path.suffix == ".py":
            sources.append(_Source(path, f"{place}/{relative}", keep))
        if path.suffix != ".py" or keep:
            tree.add_file(f"{place}/{relative}", path.resolve(strict=True))
    return sources


def _compile(
    tree: FileTree,
    root: DebianRoot,
    definition: SystemDefinition,
    sources: Sequence[_Source],
    workdir: Path,
    runner: Runner,
) -> None:
    shutil.rmtree(workdir, ignore_errors=True)
    tag = f"cpython-{definition.python.version.replace('.', '')}"
    work = []
    for source in sources:
        above, _, name = source.place.rpartition("/")
        stem = name.removesuffix(".py")
        place = f"{above}/__pycache__/{stem}.{tag}.pyc" if source.keep else f"{above}/{stem}.pyc"
        work.append([str(source.path), f"/{source.place}", str(workdir / place)])
        tree.add_file(place, workdir / place)
    root.run_python(runner, _COMPILER, json.dumps(work).encode(), timeout=_COMPILE_SECONDS)
