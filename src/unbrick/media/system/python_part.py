"""Python on the medium: Debian's interpreter and standard library, the locked packages, unbrick itself.

The medium's own Python compiles it all, without time stamps: the same source gives the same bytes. Only
unbrick keeps its source, for the log of a crash.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
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
        raise FailedError(
            f"the Python packages could not be fetched: {last.removeprefix('ERROR: ')}",
            hint="check that pip reaches its index on this machine",
        ) from error


def read_packages(folder: Path) -> tuple[PythonPackage, ...]:
    found = []
    for distribution in distributions(path=[str(folder)]):
        fields = distribution.metadata
        named = [one for name in ("License-Expression", "License") for one in fields.get_all(name) or ()]
        classes = fields.get_all("Classifier") or ()
        named += [one.removeprefix(_CLASSIFIED) for one in classes if one.startswith(_CLASSIFIED)]
        licence = next(filter(None, named), "see its licence file")
        found.append(PythonPackage(fields["Name"], fields["Version"], licence.splitlines()[0][:80]))
    return tuple(sorted(found))


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
    shutil.rmtree(workdir, ignore_errors=True)
    version = definition.python.version
    tag = f"cpython-{version.replace('.', '')}"
    library = f"usr/lib/python{version}"
    left_out = definition.python.packages_left_out
    own_left_out = {pattern.removeprefix("unbrick/"): why for pattern, why in left_out.items()}
    work: list[tuple[str, str, str]] = []

    def add(
        folder: Path,
        place: str,
        left_out: Mapping[str, str],
        *,
        keep: bool = False,
        only: tuple[str, ...] = (),
    ) -> None:
        """Add a folder, its sources only with `keep`; `only` are the names that count, up to a dot."""
        for path in sorted(folder.rglob("*")):
            relative = path.relative_to(folder).as_posix()
            if only and relative.split("/")[0].split(".")[0] not in only:
                continue
            if "__pycache__" in relative or matching(left_out, relative) or path.is_dir():
                continue
            if path.suffix != ".py" or keep:
                tree.add_file(f"{place}/{relative}", path.resolve(strict=True))
            if path.suffix == ".py":
                above, _, _ = f"{place}/{relative}".rpartition("/")
                code = f"{above}/__pycache__/{path.stem}.{tag}.pyc" if keep else f"{above}/{path.stem}.pyc"
                work.append((str(path), f"/{place}/{relative}", str(workdir / code)))
                tree.add_file(code, workdir / code)

    add(root.folder / library, library, definition.python.left_out)
    add(root.folder / _PACKAGES, _PACKAGES, {}, only=("hivex", "libhivexmod"))
    add(packages, _PACKAGES, left_out)
    add(unbrick, f"{_PACKAGES}/unbrick", own_left_out, keep=True)
    root.run_python(runner, _COMPILER, json.dumps(work).encode(), timeout=_COMPILE_SECONDS)
