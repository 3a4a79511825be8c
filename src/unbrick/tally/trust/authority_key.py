"""Where the authority's private key lies, and how it is made and found. Only who enrols has a use for it.

It lives in a folder of its own, so that another account, or a stick in a drawer, can have it. The tally of an
older unbrick has it as a file in its own folder.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from unbrick.errors import UsageError
from unbrick.files import atomic_write
from unbrick.signing.certificates import (
    new_key,
    private_text,
    public_line,
    read_private,
    read_public_file,
)
from unbrick.signing.ssh_key import SshKeyError
from unbrick.tally.folder import AUTHORITY_KEY_NAME, TallyFolder

_HINT = "name the file where it is kept: --authority FILE"


def make_or_take(folder: Path) -> Ed25519PrivateKey:
    """The key in a folder, or a new one where there is none; raises UsageError, OSError."""
    path = folder / AUTHORITY_KEY_NAME
    if path.exists():
        return _read(path)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = new_key()
    atomic_write(path, private_text(key))
    return key


def require_apart(place: Path, tally: Path) -> None:
    """Raise UsageError where the key would lie in a tally's folder, through links too."""
    real, home = Path(os.path.realpath(place)), Path(os.path.realpath(tally))
    inside = real.is_relative_to(home)
    with suppress(OSError):  # one folder may be mounted at two places
        inside = inside or any(above.exists() and above.samefile(home) for above in (real, *real.parents))
    if inside:
        raise UsageError(
            f"the authority's folder {place} lies in the tally's folder {tally}",
            hint=f"name one outside of it; without --authority the key goes to {tally / 'authority'}",
        )


def signing_key(folder: TallyFolder, given: Path | None = None) -> Ed25519PrivateKey:
    """The private key of a tally's authority, from its own folder or the file or folder `given`.

    Raises UsageError where it cannot be read, or is that of another tally.
    """
    path = key_file(given or folder.authority)
    key = _read(path)
    if public_line(key.public_key()) != public_line(read_public_file(folder.authority_public)):
        raise UsageError(f"{path} is not the key of this tally's authority", hint=_HINT)
    return key


def key_file(path: Path) -> Path:
    """The key in a folder that a person named, or the file itself."""
    # Path.is_dir raises where a folder above is closed to us.
    return path / AUTHORITY_KEY_NAME if os.path.isdir(path) else path  # noqa: PTH112


def _read(path: Path) -> Ed25519PrivateKey:
    try:
        return read_private(path)
    except SshKeyError as error:
        raise UsageError(
            f"the authority's private key cannot be used: {error.message}", hint=_HINT
        ) from error
