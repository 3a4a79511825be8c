"""The list of a folder's files that a site's key signs: its format, and whether a file is as it was listed.

The list is canonical JSON (`unbrick-signed.json`); its signature is beside it as SSHSIG text, over the list's
bytes, as `ssh-keygen -Y sign` makes it. `media/` signs, `station/` verifies. A list or file is hostile until
the signature was verified *and* the file's own bytes were checked.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property

from unbrick.errors import FailedError

MANIFEST_NAME = "unbrick-signed.json"
SIGNATURE_NAME = "unbrick-signed.json.sig"
SETTINGS_NAMESPACE = "unbrick-settings@unbrick"  # of a signature over settings and playbooks
MOST_MANIFEST_BYTES = 1024 * 1024

_SCHEMA = 1
_MOST_FILES = 4096
_MOST_NAME = 240
_DEEPEST = 8
_LARGEST_FILE = 1 << 50
_FORBIDDEN = set('<>:"|?*\\')
_SHA256 = re.compile(r"[0-9a-f]{64}")


class SignedFolderError(FailedError):
    """A list that is not one, or a file that is not as it was signed."""


@dataclass(frozen=True)
class SignedFile:
    """What was signed of a file: SHA-256 in small hexadecimal digits, size in bytes."""

    sha256: str
    size: int

    @classmethod
    def of(cls, data: bytes) -> SignedFile:
        return cls(hashlib.sha256(data).hexdigest(), len(data))


@dataclass(frozen=True)
class SignedFiles:
    """A list taken apart: relative names with slashes, in order, and what was signed of each."""

    files: Mapping[str, SignedFile]

    @cached_property
    def _folded(self) -> Mapping[str, SignedFile]:
        return {_fold(name): file for name, file in self.files.items()}

    def get(self, name: str) -> SignedFile | None:
        """What was signed of a file, in any case of its name (FAT does not keep it)."""
        return self._folded.get(_fold(name))


def make_manifest(files: Mapping[str, bytes]) -> bytes:
    """The list of some files, by name (relative, slashes) and content; raises SignedFolderError."""
    listed = {name: asdict(SignedFile.of(data)) for name, data in files.items()}
    manifest = _canonical({"schema": _SCHEMA, "files": listed})
    parse_manifest(manifest)
    return manifest


def parse_manifest(data: bytes) -> SignedFiles:
    """Take a list apart; raises SignedFolderError unless it is exactly what `make_manifest` writes."""
    if len(data) > MOST_MANIFEST_BYTES:
        raise SignedFolderError("the list of signed files is too large")
    try:
        document = json.loads(data)
        same = _canonical(document) == data
    except (ValueError, RecursionError) as error:
        raise SignedFolderError("the list of signed files is no JSON text") from error
    if not same or not isinstance(document, dict):
        raise SignedFolderError("the list of signed files is not in the form that is signed")
    if type(document.get("schema")) is not int or document["schema"] != _SCHEMA:
        raise SignedFolderError("the list of signed files is of a version that this unbrick does not know")
    entries = document.get("files")
    if set(document) != {"schema", "files"} or not isinstance(entries, dict) or len(entries) > _MOST_FILES:
        raise SignedFolderError("the list of signed files is not as it must be")
    files = {name: _file(name, entry) for name, entry in entries.items()}
    _refuse_twins(files)
    return SignedFiles(files)


def refuse_names(names: Iterable[str]) -> None:
    """Raise SignedFolderError for names that FAT and Windows cannot hold, or cannot tell apart."""
    listed = list(names)
    for name in listed:
        _check_name(name)
    _refuse_twins(listed)


def check_file(signed: SignedFiles, name: str, data: bytes) -> None:
    """Raise SignedFolderError unless a file's whole content is what was signed under its name."""
    expected = signed.get(name)
    if expected is None:
        raise SignedFolderError(f"{name} is not among the signed files")
    if expected != SignedFile.of(data):
        raise SignedFolderError(f"{name} is not as it was signed")


def _canonical(document: object) -> bytes:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode("ascii")


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _file(name: str, entry: object) -> SignedFile:
    _check_name(name)
    if not isinstance(entry, dict) or set(entry) != {"sha256", "size"}:
        raise SignedFolderError(f"the list of signed files is not as it must be at {name}")
    sha256, size = entry["sha256"], entry["size"]
    right = isinstance(sha256, str) and _SHA256.fullmatch(sha256) is not None
    if not right or type(size) is not int or not 0 <= size <= _LARGEST_FILE:
        raise SignedFolderError(f"the list of signed files is not as it must be at {name}")
    return SignedFile(sha256, size)


def _check_name(name: str) -> None:
    """A relative path that stays inside its folder, and that FAT and Windows can hold as it is written."""
    parts = name.split("/")
    plain = name.isprintable() and len(name) <= _MOST_NAME and not set(name) & _FORBIDDEN
    inside = len(parts) <= _DEEPEST and all(part and part == part.rstrip(". ") for part in parts)
    if not plain or not inside:
        raise SignedFolderError(f"a name that Windows cannot hold as well: {name[:80]!r}")
    if _fold(name) in {MANIFEST_NAME, SIGNATURE_NAME}:
        raise SignedFolderError(f"{name} cannot be signed by itself")


def _refuse_twins(files: Collection[str]) -> None:
    """Names that a file system without case mixes up: equal but for case, or a file that is a folder too."""
    folded = {_fold(name) for name in files}
    above = {
        "/".join(parts[:depth])
        for parts in (name.split("/") for name in folded)
        for depth in range(1, len(parts))
    }
    if len(folded) != len(files) or folded & above:
        raise SignedFolderError(
            "there are names that cannot be told apart where capital letters do not count"
        )
