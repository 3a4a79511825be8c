"""SSH keys and certificates as OpenSSH writes them (PROTOCOL.certkeys): made and read, Ed25519 only.

Who is trusted, and which dates count, is for `host_certificate.py` (a tally's host) and for the tally (its
stations). Loads `cryptography`: what a machine under repair may never need imports this late.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    SSHCertificate,
    SSHCertificateBuilder,
    SSHCertificateType,
    load_ssh_private_key,
    load_ssh_public_identity,
)

from unbrick.errors import UsageError
from unbrick.files import read_small_file
from unbrick.signing.ssh_key import (
    KEY_TYPE,
    SshKeyError,
    blob_of,
    blob_of_line,
    line_of_blob,
    raw_key,
    take_string,
)

CERTIFICATE_TYPE = "ssh-ed25519-cert-v01@openssh.com"
FOREVER = 2**64 - 1
Certificate = SSHCertificate  # by this name to other rooms, which ask the functions below about it
_MOST_BYTES = 32 * 1024
# What the library raises for bytes that it does not take; the last for a compressed point on a curve.
_REFUSALS = (ValueError, UnsupportedAlgorithm, NotImplementedError)


class CertificateError(SshKeyError):
    """A certificate that is not to be believed. The message completes "is not the one …: "."""


class PlainKeyError(CertificateError):
    """A key where a certificate was expected."""


def new_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


def private_text(key: Ed25519PrivateKey) -> bytes:
    """A private key as `ssh-keygen` writes it; without a passphrase, for on a medium nobody can type one."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def public_blob(key: Ed25519PublicKey) -> bytes:
    return blob_of(key.public_bytes_raw())


def public_line(key: Ed25519PublicKey) -> str:
    """A public key as one line, without a comment."""
    return line_of_blob(public_blob(key))


def read_public_line(line: str) -> Ed25519PublicKey:
    """Raises SshKeyError."""
    return Ed25519PublicKey.from_public_bytes(raw_key(blob_of_line(line)))


def read_public_file(path: Path) -> Ed25519PublicKey:
    """Raises SshKeyError."""
    try:
        return read_public_line(read_small_file(path).decode("ascii"))
    except (UsageError, UnicodeDecodeError) as error:
        raise SshKeyError(f"{path} cannot be read") from error


def read_private(path: Path) -> Ed25519PrivateKey:
    """The key of a private key file in OpenSSH's format, without a passphrase; raises SshKeyError."""
    try:
        key = load_ssh_private_key(read_small_file(path), password=None)
    except UsageError as error:
        raise SshKeyError(error.message) from error
    except TypeError as error:
        raise SshKeyError(f"{path}: the key has a passphrase, which nobody types here") from error
    except _REFUSALS as error:
        raise SshKeyError(f"{path}: this is no OpenSSH private key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SshKeyError(f"{path}: only Ed25519 keys are used")
    return key


def read_certificate(blob: bytes) -> SSHCertificate:
    """Take a certificate's blob apart; who signed it is not checked. Raises CertificateError.

    Critical options that are not in order, a name twice and the like are damage too.
    """
    if len(blob) > _MOST_BYTES:
        raise CertificateError("its host certificate is too large")
    try:
        kind, _ = take_string(blob)
        if kind == KEY_TYPE.encode():
            raise PlainKeyError("its host key comes without a certificate")
        if kind != CERTIFICATE_TYPE.encode():
            raise CertificateError("its host key is of a type that unbrick does not accept")
        line = f"{CERTIFICATE_TYPE} {base64.b64encode(blob).decode()}"
        certificate = load_ssh_public_identity(line.encode())
    except _REFUSALS as error:
        raise CertificateError("its host certificate is damaged") from error
    assert isinstance(certificate, SSHCertificate)  # by the type in its line
    return certificate


def read_certificate_line(line: str) -> SSHCertificate:
    """As `read_certificate`, from OpenSSH's line."""
    try:
        _, text = line.split()[:2]
        blob = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise CertificateError("this is no line of a certificate") from error
    return read_certificate(blob)


def is_for_host(certificate: SSHCertificate) -> bool:
    """Whether a certificate is for a host; else it is for a user, as a station's is."""
    return certificate.type is SSHCertificateType.HOST


def certified_key(certificate: SSHCertificate) -> bytes:
    """The blob of the key that it is for."""
    key = certificate.public_key()
    assert isinstance(key, Ed25519PublicKey)  # by the type of the certificate
    return public_blob(key)


def authority_of(certificate: SSHCertificate) -> bytes | None:
    """The blob of the key that it claims to be signed by; None where that is no Ed25519 key."""
    try:
        key = certificate.signature_key()
    except _REFUSALS:
        return None
    return public_blob(key) if isinstance(key, Ed25519PublicKey) else None


def is_authentic(certificate: SSHCertificate, authority: bytes) -> bool:
    """Whether `authority`, the blob of a key, signed a certificate, byte for byte as it was read."""
    if authority_of(certificate) != authority:
        return False
    try:
        certificate.verify_cert_signature()
    except (InvalidSignature, ValueError):
        return False
    return True


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
