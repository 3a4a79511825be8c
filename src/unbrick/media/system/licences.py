"""The licences of everything on the medium, packed into one file that lies on the image, not in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from unbrick.media.system.build_inputs import PACKAGE
from unbrick.media.system.debian_root import DebianRoot
from unbrick.processes.command import Runner

_SECONDS = 300.0
# Run by the medium's own Python: {"target": archive, "seconds": time, "files": [[file, name], …]}.
_PACKER = """
import io, json, lzma, sys, tarfile
asked = json.load(sys.stdin)
packed = io.BytesIO()
with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
    for path, name in asked["files"]:
        with open(path, "rb") as file:
            data = file.read()
        member = tarfile.TarInfo(name)
        member.size, member.mtime, member.mode = len(data), asked["seconds"], 0o644
        archive.addfile(member, io.BytesIO(data))
with open(asked["target"], "wb") as out:
    out.write(lzma.compress(packed.getvalue(), preset=9))
"""


def find_copyright(root: DebianRoot, package: str) -> Path | None:
    """Debian's copyright file of a package, which may be a link to another's; None where there is none."""
    document = root.folder / "usr/share/doc" / package / "copyright"
    inside = document.is_file() and document.resolve().is_relative_to(root.folder.resolve())
    return document if inside else None


def licence_names(copyright_file: str) -> tuple[str, ...]:
    """The licences that a copyright file names, where it is in Debian's format 1.0, else none.

    https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/: a field `License` has the short name
    behind it, the text in the lines below.
    """
    if "copyright-format/1.0" not in copyright_file.partition("\n\n")[0]:
        return ()
    found = re.findall(r"^License:[ \t]*(\S.*?)[ \t]*$", copyright_file, re.MULTILINE)
    return tuple(sorted(set(found)))


def write_licences(
    root: DebianRoot, components: Iterable[dict[str, Any]], packages: Path, target: Path, runner: Runner
) -> None:
    """Pack Debian's copyright files, the licence files of the Python packages and unbrick's own."""
    files: dict[str, Path] = {}
    for component in components:
        name = str(component["name"])
        if document := find_copyright(root, name):
            files[f"debian/{name}/copyright"] = document
    for path in packages.rglob("*"):
        upper = path.name.upper()
        if path.is_file() and upper.startswith(("LICEN", "COPYING", "NOTICE", "AUTHORS")):
            files[f"python/{path.relative_to(packages).as_posix()}"] = path
    own = PACKAGE.parents[1] / "LICENSE"
    if own.is_file():
        files["unbrick/LICENSE"] = own
    asked = {
        "target": str(target),
        "seconds": root.newest,
        "files": [[str(path), name[:99]] for name, path in sorted(files.items())],
    }
    root.run_python(runner, _PACKER, json.dumps(asked).encode(), timeout=_SECONDS)
