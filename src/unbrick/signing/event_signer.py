"""The station's key: signs each event in SSHSIG form, from the first one on."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from unbrick.errors import UsageError
from unbrick.events.event import NAMESPACE
from unbrick.files import read_small_file
from unbrick.signing.signature import armor, signed_data
from unbrick.signing.ssh_key import SshKeyError, blob_of, blob_of_line

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_HINT = "have the tally make it anew: unbrick tally enrol"


class StationKeyError(UsageError):
    """A station's key or certificate that cannot be used; nothing was touched."""


@dataclass(frozen=True)
class Signer:
    """Signs with one Ed25519 key. `public_key` is its OpenSSH line, without a comment."""

    public_key: str
    _key: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def load(cls, path: Path) -> Signer:
        """The signer of a private key file in OpenSSH's format, without a passphrase; raises UsageError."""
        from unbrick.signing.certificates import public_line, read_private

        try:
            key = read_private(path)
        except SshKeyError as error:
            raise StationKeyError(error.message, hint=_HINT) from error
        return cls(public_line(key.public_key()), key)

    @classmethod
    def generate(cls) -> tuple[Signer, bytes]:
        """A signer with a new key, and the private key file that `load` would take."""
        from unbrick.signing.certificates import new_key, private_text, public_line

        key = new_key()
        return cls(public_line(key.public_key()), key), private_text(key)

    def sign(self, data: bytes) -> str:
        """The armored signature of an event's bytes, as `ssh-keygen -Y sign -n NAMESPACE` makes it."""
        signature = self._key.sign(signed_data(data, NAMESPACE))
        return armor(blob_of_line(self.public_key), blob_of(signature), NAMESPACE)

    def check_certificate(self, path: Path) -> datetime | None:
        """Raise UsageError unless the file is an OpenSSH certificate of this very key.

        Returns its end by the tally's clock, None for ever. Whether that has passed, and who signed it, is
        for the tally to judge: our clock may be wrong.
        """
        from unbrick.signing import certificates

        try:
            line = read_small_file(path, hint=_HINT).decode("ascii")
            certificate = certificates.read_certificate_line(line)
        except certificates.PlainKeyError as error:
            raise StationKeyError(f"{path}: this is a key, not a certificate", hint=_HINT) from error
        except (ValueError, certificates.CertificateError) as error:
            raise StationKeyError(f"{path}: this is no OpenSSH certificate", hint=_HINT) from error
        if certificates.certified_key(certificate) != blob_of_line(self.public_key):
            raise StationKeyError(f"{path}: the certificate is for another key", hint=_HINT)
        try:
            return datetime.fromtimestamp(certificate.valid_before, UTC)
        except (ValueError, OverflowError, OSError):  # beyond every calendar: for ever
            return None
