"""The station's key: signs each event in SSHSIG form, from the first one on. Never prints the key."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from unbrick.errors import UsageError
from unbrick.event import NAMESPACE
from unbrick.files import read_small_file
from unbrick.signing.signature import armor, signed_data

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_ALGORITHM = b"ssh-ed25519"
_HINT = "have the tally make it anew: unbrick tally enrol"


class StationKeyError(UsageError):
    """A station's key or certificate that cannot be used; nothing was touched."""


@dataclass(frozen=True)
class Signer:
    """Signs with one Ed25519 key. `public_key` is its OpenSSH line, without a comment."""

    public_key: str
    _key: Ed25519PrivateKey

    @classmethod
    def load(cls, path: Path) -> Signer:
        """The signer of a private key file in OpenSSH's format, without a passphrase.

        Raises UsageError for everything else.
        """
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        data = read_small_file(path, hint=_HINT)
        try:
            key = serialization.load_ssh_private_key(data, password=None)
        except TypeError as error:
            raise StationKeyError(f"{path}: the key has a passphrase, which nobody types here") from error
        except (ValueError, UnsupportedAlgorithm) as error:
            raise StationKeyError(f"{path}: this is no OpenSSH private key", hint=_HINT) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise StationKeyError(f"{path}: only Ed25519 keys are used", hint=_HINT)
        return cls(_public_line(key), key)

    @classmethod
    def generate(cls) -> tuple[Signer, bytes]:
        """A signer with a new key, and the private key file that `load` would take."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        key = Ed25519PrivateKey.generate()
        data = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        return cls(_public_line(key), key), data

    def sign(self, data: bytes) -> str:
        """The armored signature of an event's bytes, as `ssh-keygen -Y sign -n NAMESPACE` makes it."""
        signature = self._key.sign(signed_data(data, NAMESPACE))
        raw = self._key.public_key().public_bytes_raw()
        return armor(_pair(_ALGORITHM, raw), _pair(_ALGORITHM, signature), NAMESPACE)

    def check_certificate(self, path: Path) -> datetime | None:
        """Raise UsageError unless the file is an OpenSSH certificate of this very key.

        Tells until when it is valid by the tally's clock, None for ever. Whether it still is, and who signed
        it, is for the tally to judge: our clock may be wrong.
        """
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization

        data = read_small_file(path, hint=_HINT)
        try:
            identity = serialization.load_ssh_public_identity(data.strip())
        except (ValueError, UnsupportedAlgorithm) as error:
            raise StationKeyError(f"{path}: this is no OpenSSH certificate", hint=_HINT) from error
        if not isinstance(identity, serialization.SSHCertificate):
            raise StationKeyError(f"{path}: this is a key, not a certificate", hint=_HINT)
        if identity.public_key() != self._key.public_key():
            raise StationKeyError(f"{path}: the certificate is for another key", hint=_HINT)
        try:
            return datetime.fromtimestamp(identity.valid_before, UTC)
        except (ValueError, OverflowError, OSError):  # beyond every calendar: for ever
            return None

    def __repr__(self) -> str:
        return f"Signer({self.public_key!r})"


def _public_line(key: Ed25519PrivateKey) -> str:
    from cryptography.hazmat.primitives import serialization

    encoded = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return encoded.decode()


def _pair(name: bytes, value: bytes) -> bytes:
    """An SSH public key or signature blob: the algorithm and one value (RFC 8709)."""
    return len(name).to_bytes(4, "big") + name + len(value).to_bytes(4, "big") + value
