"""Signs the settings and playbooks of a folder, and checks whether a folder's signature still holds.

The signature is in the folder itself, in the two files that `signed_folder` names: a folder can be copied to
a stick, a web server or another stick as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from unbrick.errors import FailedError, UsageError
from unbrick.files import NoPlainFileError, TooLargeError, atomic_write, find_inside, read_plain
from unbrick.processes.command import SystemRunner
from unbrick.signing.signed_folder import (
    MANIFEST_NAME,
    MOST_MANIFEST_BYTES,
    SETTINGS_NAMESPACE,
    SIGNATURE_NAME,
    SignedFiles,
    SignedFolderError,
    check_file,
    make_manifest,
    parse_manifest,
)
from unbrick.signing.site_key import SignatureError, sign, verify

MOST_FILE_BYTES = 16 * 1024 * 1024  # of a file that a station takes: a fleet's passwords are far smaller
RENAME = "rename the file, here and in unbrick.yaml"  # the hint for a name that a stick cannot hold
_MOST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class FolderCheck:
    """The names that are as they were signed, and what is wrong, in sentences."""

    good: tuple[str, ...]
    problems: tuple[str, ...]


def sign_settings(files: Mapping[str, bytes], key: Path, runner: SystemRunner) -> dict[str, bytes]:
    """The two files that sign these files (relative names with slashes); raises UnbrickError."""
    if sum(len(data) for data in files.values()) > _MOST_BYTES:
        raise UsageError(f"the settings are too large: a station takes {_MOST_BYTES >> 20} MiB of them")
    try:
        manifest = make_manifest(files)
    except SignedFolderError as error:
        raise UsageError(f"the settings cannot be signed: {error.message}", hint=RENAME) from error
    signature = sign(manifest, key, SETTINGS_NAMESPACE, runner)
    return {MANIFEST_NAME: manifest, SIGNATURE_NAME: signature.encode("ascii")}


def write_signature(folder: Path, signature: Mapping[str, bytes]) -> None:
    """Put the two files of `sign_settings` into a folder; raises OSError."""
    for name in (MANIFEST_NAME, SIGNATURE_NAME):  # the signature last
        atomic_write(folder / name, signature[name], mode=0o644)


def check_folder(folder: Path, line: str, wanted: Collection[str]) -> FolderCheck:
    """Check a folder's signature against the public key `line`, and each file that it lists.

    `wanted` are names that a station would use: those that are not listed are a problem too.
    """
    return check_files(partial(_read, folder), line, wanted)


def check_files(read: Callable[[str, int], bytes], line: str, wanted: Collection[str]) -> FolderCheck:
    """As `check_folder`; `read` gives a file by its name and the most bytes it may have.

    It raises SignedFolderError for a file that is missing or larger.
    """
    try:
        signed = _read_list(read, line)
    except FailedError as error:
        return FolderCheck((), (error.message,))
    good, problems = [], []
    for name in signed.files:
        try:
            check_file(signed, name, read(name, MOST_FILE_BYTES))
            good.append(name)
        except SignedFolderError as error:
            problems.append(error.message)
    unsigned = [name for name in wanted if signed.get(name) is None]
    return FolderCheck(
        tuple(good), (*problems, *(f"{name} is not among the signed files" for name in unsigned))
    )


def _read_list(read: Callable[[str, int], bytes], line: str) -> SignedFiles:
    manifest = read(MANIFEST_NAME, MOST_MANIFEST_BYTES)
    signature = read(SIGNATURE_NAME, MOST_MANIFEST_BYTES)
    try:
        verify(manifest, signature.decode("ascii", errors="replace"), line, SETTINGS_NAMESPACE)
    except SignatureError as error:
        raise SignatureError(f"{SIGNATURE_NAME}: {error.message}") from error
    return parse_manifest(manifest)


def _read(folder: Path, name: str, most: int) -> bytes:
    try:
        path = find_inside(folder, name)
        if path is not None:
            return read_plain(path, most)
    except NoPlainFileError:
        pass
    except TooLargeError as error:
        raise SignedFolderError(f"{name} is too large") from error
    except OSError as error:
        raise SignedFolderError(f"{name} cannot be read: {error.strerror}") from error
    raise SignedFolderError(f"{name} is missing")
