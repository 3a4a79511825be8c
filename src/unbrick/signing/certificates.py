"""SSH keys and certificates as OpenSSH writes them (PROTOCOL.certkeys): made and read, Ed25519 only.

Decides nothing about who is trusted: `admission.py` does.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    SSHCertificate,
    SSHCertificateBuilder,
    SSHCertificateType,
    load_ssh_private_key,
    load_ssh_public_identity,
    load_ssh_public_key,
)

from unbrick.errors import FailedError

KEY_ALGORITHM = "ssh-ed25519"
CERTIFICATE_ALGORITHM = "ssh-ed25519-cert-v01@openssh.com"
FOREVER = 2**64 - 1
_BLOB_PREFIX = b"\0\0\0\x0bssh-ed25519\0\0\0\x20"
_MOST_BYTES = 16 * 1024


class KeyFileError(FailedError):
    """A key or certificate that cannot be read."""


def new_key() -> Ed25519PrivateKey:
    """A fresh private key."""
    return Ed25519PrivateKey.generate()


def private_text(key: Ed25519PrivateKey) -> bytes:
    """A private key as `ssh-keygen` writes it, without a passphrase: a medium has nobody to ask for one."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def public_line(key: Ed25519PublicKey) -> str:
    """A public key as one line, without a comment."""
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def public_blob(line: str) -> bytes:
    """The SSH wire form of a public key line; raises KeyFileError."""
    return _BLOB_PREFIX + read_public_line(line).public_bytes_raw()


def read_public_line(line: str) -> Ed25519PublicKey:
    """Read a public key line; raises KeyFileError."""
    try:
        key = load_ssh_public_key(line.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError("this is no SSH public key") from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFileError(f"only {KEY_ALGORITHM} keys are used here")
    return key


def read_public_file(path: Path) -> Ed25519PublicKey:
    """Read a public key file; raises KeyFileError."""
    try:
        with path.open("rb") as stream:
            return read_public_line(stream.read(_MOST_BYTES).decode("ascii"))
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"{path} cannot be read") from error


def key_of_blob(blob: bytes) -> Ed25519PublicKey:
    """The key of its SSH wire form; raises KeyFileError."""
    if len(blob) != len(_BLOB_PREFIX) + 32 or not blob.startswith(_BLOB_PREFIX):
        raise KeyFileError(f"only {KEY_ALGORITHM} keys are used here")
    return Ed25519PublicKey.from_public_bytes(blob[len(_BLOB_PREFIX) :])


def read_private(path: Path) -> Ed25519PrivateKey:
    """Read a private key file; raises KeyFileError."""
    try:
        with path.open("rb") as stream:
            key = load_ssh_private_key(stream.read(_MOST_BYTES), password=None)
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{path} is no private key that can be read") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path} is no {KEY_ALGORITHM} key")
    return key


def host_certificate(authority: Ed25519PrivateKey, host: Ed25519PublicKey, names: Sequence[str]) -> str:
    """A certificate for the server itself, as one line.

    Valid for ever: a station whose clock says 2009 must accept it, so its end could protect nobody.
    """
    return _sign(authority, host, SSHCertificateType.HOST, 0, f"unbrick tally {names[0]}", names, FOREVER)


def station_certificate(
    authority: Ed25519PrivateKey, station: Ed25519PublicKey, name: str, *, serial: int, valid_before: int
) -> str:
    """A certificate for a station, as one line; `valid_before` is seconds since 1970, by the tally's clock.

    It grants nothing beyond the login: every extension (terminal, forwarding, …) is left out.
    """
    return _sign(authority, station, SSHCertificateType.USER, serial, name, [name], valid_before)


def _sign(
    authority: Ed25519PrivateKey,
    key: Ed25519PublicKey,
    kind: SSHCertificateType,
    serial: int,
    key_id: str,
    principals: Sequence[str],
    valid_before: int,
) -> str:
    builder = (
        SSHCertificateBuilder()
        .public_key(key)
        .serial(serial)
        .type(kind)
        .key_id(key_id.encode())
        .valid_principals([name.encode() for name in principals])
        .valid_after(0)
        .valid_before(valid_before)
    )
    return builder.sign(authority).public_bytes().decode()


def read_certificate(blob: bytes) -> SSHCertificate | None:
    """The certificate of its SSH wire form, signed by whomever; None where it is no Ed25519 certificate."""
    if len(blob) > _MOST_BYTES or not blob.startswith(b"\0\0\0\x20" + CERTIFICATE_ALGORITHM.encode()):
        return None
    try:
        identity = load_ssh_public_identity(
            f"{CERTIFICATE_ALGORITHM} {base64.b64encode(blob).decode()}".encode()
        )
    except (ValueError, UnsupportedAlgorithm):
        return None
    return identity if isinstance(identity, SSHCertificate) else None
