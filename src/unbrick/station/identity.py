"""The key that a station without settings signs its reports with: made once for a medium, kept on its stick.

Nobody has enrolled it, so a tally takes what it signed only where its administrator names its fingerprint. On
FAT any PC can read it: it proves that two reports came from the same stick, and no more.
"""

from __future__ import annotations

import os
from pathlib import Path

from unbrick.errors import UnbrickError
from unbrick.report.signer import Signer

KEY_NAME = ".medium-key"  # a name that no outbox takes for a report


def medium_signer(folder: Path) -> Signer:
    """The signer of this medium; its key is read from a folder in memory, or made there; UsageError."""
    path = folder / KEY_NAME
    try:
        return Signer.load(path)
    except UnbrickError:
        path.unlink(missing_ok=True)
        _make_key(path)
        return Signer.load(path)


def _make_key(path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    data = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
