"""What software is on the medium, as CycloneDX components, and its licences, packed into one file."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from unbrick import __version__
from unbrick.media.system.debian_root import DebianPackage, DebianRoot, merged_path
from unbrick.media.system.definition import PACKAGE
from unbrick.media.system.file_tree import FileTree
from unbrick.media.system.python_part import PythonPackage
from unbrick.processes.command import Runner

_BOOT = (
    *("grub-common", "grub-efi-amd64-signed", "grub-pc-bin", "shim-signed", "shim-helpers-amd64-signed"),
    *("pxelinux", "syslinux-common"),
)
_PACK_SECONDS = 300.0
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


def list_software(tree: FileTree, root: DebianRoot, python: Iterable[PythonPackage]) -> list[dict[str, Any]]:
    """Components (CycloneDX 1.5) of all packages that have a file on the medium."""
    used = [package for package in root.packages if _is_used(package, tree, root)]
    return [
        *(_debian_component(package, _licences(root, package.name)) for package in used),
        *(_python_component(package) for package in sorted(python)),
        {
            "bom-ref": f"unbrick@{__version__}",
            "type": "application",
            "name": "unbrick",
            "version": __version__,
            "licenses": [{"expression": "Apache-2.0"}],
        },
    ]


def bill_of_materials(components: list[dict[str, Any]], medium: str, seconds: int) -> bytes:
    """The CycloneDX 1.5 document of a medium, made at `seconds` since 1970."""
    number = uuid.UUID(bytes=hashlib.sha256(medium.encode()).digest()[:16], version=4)
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{number}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "firmware",
                "name": "unbrick boot medium",
                "version": medium,
                "bom-ref": "medium",
            },
        },
        "components": components,
    }
    return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"


def write_licences(
    root: DebianRoot, components: Iterable[dict[str, Any]], packages: Path, target: Path, runner: Runner
) -> None:
    """Pack Debian's copyright files, the licence files of the Python packages and unbrick's own."""
    files: dict[str, Path] = {}
    for component in components:
        name = str(component["name"])
        if document := _find_copyright(root, name):
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
    root.run_python(runner, _PACKER, json.dumps(asked).encode(), timeout=_PACK_SECONDS)


def _is_used(package: DebianPackage, tree: FileTree, root: DebianRoot) -> bool:
    if package.name in _BOOT:
        return True
    files = root.files_of(package.name)
    if files is None:
        return True
    merged = {merged_path(path) for path in files}
    return any(_is_from(root, path, tree) or (path.endswith(".py") and f"{path}c" in tree) for path in merged)


def _is_from(root: DebianRoot, path: str, tree: FileTree) -> bool:
    """Whether the medium's file of that path is the package's, not a name of busybox."""
    return path in tree and tree.entries[path].content == root.folder / path


def _find_copyright(root: DebianRoot, package: str) -> Path | None:
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


def _licences(root: DebianRoot, package: str) -> tuple[str, ...]:
    document = _find_copyright(root, package)
    return licence_names(document.read_text(encoding="utf-8", errors="replace")) if document else ()


def _debian_component(package: DebianPackage, licences: Iterable[str]) -> dict[str, Any]:
    version = quote(package.version, safe=".-~")
    source = quote(f"{package.source}@{package.source_version}", safe=".-~")
    name = quote(package.name, safe=".-~")
    purl = f"pkg:deb/debian/{name}@{version}?arch={package.architecture}&upstream={source}"
    known = [{"license": {"name": licence}} for licence in licences]
    return {
        "bom-ref": purl,
        "type": "library",
        "name": package.name,
        "version": package.version,
        "purl": purl,
        **({"licenses": known} if known else {}),
        "properties": [
            {"name": "debian:source", "value": package.source},
            {"name": "debian:source-version", "value": package.source_version},
        ],
    }


def _python_component(package: PythonPackage) -> dict[str, Any]:
    purl = f"pkg:pypi/{package.name.lower().replace('_', '-')}@{package.version}"
    return {
        "bom-ref": purl,
        "type": "library",
        "name": package.name,
        "version": package.version,
        "purl": purl,
        "licenses": [{"license": {"name": package.licence}}],
    }
