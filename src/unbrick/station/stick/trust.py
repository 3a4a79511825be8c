"""Settings that somebody carried here: copied into memory, then believed only where the site signed them.

Copied first, so that a stick which is changed or pulled meanwhile changes nothing.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from unbrick.errors import FailedError, UnbrickError
from unbrick.files import NoPlainFileError, TooLargeError, read_plain
from unbrick.signing.signature import parse_signature
from unbrick.signing.signed_folder import (
    MANIFEST_NAME,
    MOST_MANIFEST_BYTES,
    SETTINGS_NAMESPACE,
    SIGNATURE_NAME,
    SignedFiles,
    check_file,
    parse_manifest,
)
from unbrick.signing.ssh_key import blob_of_line

_MOST_SIGNATURE_BYTES = 16 * 1024
_MOST_FILE_BYTES = 16 * 1024 * 1024
_MOST_BYTES = 64 * 1024 * 1024
_BROKEN_OFF = {errno.EIO, errno.ENODEV, errno.ENXIO, errno.ENOMEDIUM, errno.ETIMEDOUT}


class NotTrustedError(FailedError):
    """A folder that the site's key has not signed as it is now; nothing of it is used."""


def is_signed(folder: Path) -> bool:
    """Whether a folder claims to be signed."""
    return (folder / SIGNATURE_NAME).is_file()


def copy_signed(folder: Path, target: Path, site_key: str) -> SignedFiles:
    """Copy the files that a folder's signed list names to a new one in memory, each checked as it was read.

    `site_key` is an OpenSSH public key line. Raises NotTrustedError, with none copied, and OSError where the
    stick breaks off: what was signed is not known then.
    """
    try:
        manifest = read_plain_file(folder, MANIFEST_NAME, MOST_MANIFEST_BYTES)
        signature = read_plain_file(folder, SIGNATURE_NAME, _MOST_SIGNATURE_BYTES)
        _check_signature(manifest, signature, site_key)
        signed = parse_manifest(manifest)
        if sum(file.size for file in signed.files.values()) > _MOST_BYTES:
            raise NotTrustedError(f"more than {_MOST_BYTES >> 20} MiB were signed")
        contents = {}
        for name, file in signed.files.items():
            contents[name] = read_plain_file(folder, name, min(file.size, _MOST_FILE_BYTES))
            check_file(signed, name, contents[name])
        _write_all(target, contents)
    except NotTrustedError:
        raise
    except UnbrickError as error:
        raise NotTrustedError(error.message) from error
    except OSError as error:
        if error.errno in _BROKEN_OFF:
            raise
        raise NotTrustedError(f"it cannot be read: {error.strerror or error}") from error
    return signed


def _check_signature(manifest: bytes, text: bytes, site_key: str) -> None:
    signature = parse_signature(text.decode("ascii", errors="replace"))
    if signature.public_key != blob_of_line(site_key):
        raise NotTrustedError("another key than this medium's site key has signed it")
    if not signature.is_for(SETTINGS_NAMESPACE):
        raise NotTrustedError("its signature was made for something else")
    if not signature.fits(manifest):
        raise NotTrustedError("its list of files is not as it was signed")


def _write_all(target: Path, contents: dict[str, bytes]) -> None:
    for name, data in contents.items():
        path = target.joinpath(*name.split("/"))
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)


def read_plain_file(folder: Path, name: str, most_bytes: int) -> bytes:
    """A plain file below a folder, reached through no link; raises OSError, NotTrustedError."""
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        *folders, last = name.split("/")
        for part in folders:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            below = os.open(part, flags, dir_fd=here)
            os.close(here)
            here = below
        return read_plain(last, most_bytes, folder=here)
    except NoPlainFileError as error:
        raise NotTrustedError(f"{name} is no plain file") from error
    except TooLargeError as error:
        raise NotTrustedError(f"{name} is larger than it may be") from error
    finally:
        os.close(here)
