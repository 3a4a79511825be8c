"""Which site key a medium believes: that of the signature over its own list of files.

Settings that another key signed would be carried to forty machines before anybody noticed that none of them
is repaired.
"""

from __future__ import annotations

import os
from pathlib import Path

from unbrick.errors import UsageError
from unbrick.media.image.iso_files import IsoError, find_files
from unbrick.media.image.manifest import SIGNATURE_BYTES, SIGNATURE_NAME
from unbrick.signing.site_key import SignatureError, fingerprint, signer_of


def refuse_other_key(image: Path, line: str) -> None:
    """Raise UsageError where an image was built with another site key than the public key `line`.

    An image without a signature of its own is none of ours, and for others to judge.
    """
    theirs = _key_of(image)
    if theirs is not None and theirs != line:
        raise UsageError(
            f"{image} was built with another site key and would not believe these settings",
            hint=f"sign with the key {fingerprint(theirs)}; the one that was named is {fingerprint(line)}",
        )


def _key_of(image: Path) -> str | None:
    """The public key line of whoever signed the image's list; it is not verified here."""
    try:
        descriptor = os.open(image, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"{image}: cannot be read: {error.strerror}") from error
    try:
        files = find_files(lambda offset, size: os.pread(descriptor, size, offset))
        place = files.get(SIGNATURE_NAME)
        if place is None or place.size > SIGNATURE_BYTES:
            return None
        text = os.pread(descriptor, place.size, place.offset).rstrip(b"\0\n ")
        return signer_of(text.decode("ascii", errors="replace"))
    except (IsoError, SignatureError):
        return None
    finally:
        os.close(descriptor)
