"""OpenSSH host certificates, taken apart and judged: is this the tally that the stick was made for?

The format is OpenSSH's PROTOCOL.certkeys, Ed25519 only. Everything here comes from whoever answered the
call and is hostile. The validity dates are read over **on purpose**: a machine that was dead for years may
say it is 2009, and must still be able to report. What ends a stolen host key is a new authority.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from unbrick.errors import FailedError

KEY_TYPE = "ssh-ed25519"
CERTIFICATE_TYPE = "ssh-ed25519-cert-v01@openssh.com"
USER, HOST = 1, 2

_KEY_BYTES = 32
_SIGNATURE_BYTES = 64
_MOST_BYTES = 32 * 1024
_MOST_PRINCIPALS = 256


class HostCertificateError(FailedError):
    """A host key that is not to be believed. The message completes "is not the one …: "."""


@dataclass(frozen=True)
class Certificate:
    """A certificate taken apart; nothing of it is checked yet.

    `public_key` is the certified Ed25519 key (32 bytes), `kind` 1 for a user and 2 for a host.
    `authority` is the signing key as an SSH blob, and `signature` its signature (a blob) over `signed`.
    `valid_before` is in seconds since 1970; of a host's certificate it is not heeded, as said above.
    """

    public_key: bytes
    serial: int
    kind: int
    key_id: str
    principals: tuple[str, ...]
    critical_options: tuple[str, ...]
    authority: bytes
    signature: bytes
    signed: bytes
    valid_before: int


def parse_certificate(blob: bytes) -> Certificate:
    """Take an `ssh-ed25519-cert-v01@openssh.com` blob apart; raises HostCertificateError."""
    if len(blob) > _MOST_BYTES:
        raise HostCertificateError("its host certificate is too large")
    fields = _Fields(blob)
    kind_of_key = fields.string()
    if kind_of_key == KEY_TYPE.encode():
        raise HostCertificateError("its host key comes without a certificate")
    if kind_of_key != CERTIFICATE_TYPE.encode():
        raise HostCertificateError("its host key is of a type that unbrick does not accept")
    fields.string()  # a nonce
    public_key = fields.string()
    serial = fields.number(8)
    kind = fields.number(4)
    key_id = fields.text()
    principals = _Fields(fields.string()).texts(_MOST_PRINCIPALS)
    fields.number(8)  # valid from
    valid_before = fields.number(8)
    options = _Fields(fields.string()).texts(2 * _MOST_PRINCIPALS)
    fields.string()  # extensions: by definition, those we do not know do not matter
    fields.string()  # reserved
    authority = fields.string()
    signed = blob[: fields.position]
    signature = fields.string()
    fields.end()
    if len(public_key) != _KEY_BYTES:
        raise HostCertificateError("its host certificate is damaged")
    return Certificate(
        public_key,
        serial,
        kind,
        key_id,
        principals,
        options[::2],
        authority,
        signature,
        signed,
        valid_before,
    )


def certified_host_key(blob: bytes, *, authority: bytes, host: str) -> bytes:
    """The Ed25519 key (32 bytes) that `authority` certifies for `host`; raises HostCertificateError.

    `blob` is the host key as it came in the key exchange, `authority` the pinned key as an SSH blob.
    Whether the other end owns that key is for the key exchange's signature to say.
    """
    certificate = parse_certificate(blob)
    if certificate.authority != authority:
        raise HostCertificateError(f"its host key is not certified by {fingerprint(authority)}")
    if not _is_signed(authority, certificate.signature, certificate.signed):
        raise HostCertificateError(f"the signature of {fingerprint(authority)} in its certificate is wrong")
    if certificate.kind != HOST:
        raise HostCertificateError("its certificate is not one for a host")
    if certificate.critical_options:
        raise HostCertificateError("its certificate has conditions that unbrick does not know")
    if _same_form(host) not in {_same_form(name) for name in certificate.principals}:
        raise HostCertificateError(f"its certificate is not for {host}")
    return certificate.public_key


def is_authentic(certificate: Certificate, authority: bytes) -> bool:
    """Whether `authority`, an SSH blob, signed a certificate."""
    try:
        return certificate.authority == authority and _is_signed(
            authority, certificate.signature, certificate.signed
        )
    except HostCertificateError:
        return False


def is_signed_by(public_key: bytes, signature: bytes, data: bytes) -> bool:
    """Whether an SSH signature blob is that of an Ed25519 key (32 bytes) over `data`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    fields = _Fields(signature)
    kind, value = fields.string(), fields.string()
    fields.end()
    if kind != KEY_TYPE.encode() or len(value) != _SIGNATURE_BYTES:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(value, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def authority_of(line: str) -> bytes:
    """The SSH blob of an OpenSSH public key line (`ssh-ed25519 AAAA… comment`); raises FailedError."""
    words = line.split()
    try:
        blob = base64.b64decode(words[1], validate=True)
        fields = _Fields(blob)
        kind, key = fields.string(), fields.string()
        fields.end()
    except (IndexError, ValueError, binascii.Error, HostCertificateError) as error:
        raise FailedError("the host authority is not an OpenSSH public key line") from error
    if words[0] != KEY_TYPE or kind != KEY_TYPE.encode() or len(key) != _KEY_BYTES:
        raise FailedError("the host authority is not an Ed25519 key")
    return blob


def fingerprint(blob: bytes) -> str:
    """A key's fingerprint as OpenSSH prints it: `SHA256:…`."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _is_signed(authority: bytes, signature: bytes, data: bytes) -> bool:
    fields = _Fields(authority)
    fields.string()
    return is_signed_by(fields.string(), signature, data)


def _same_form(host: str) -> str:
    """A host's name or address in the one form that can be compared."""
    import ipaddress

    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return host.rstrip(".").lower()


class _Fields:
    """Reads the fields of an SSH blob in turn (RFC 4251, 5); HostCertificateError where it ends early."""

    def __init__(self, blob: bytes) -> None:
        self._blob = blob
        self.position = 0

    def _take(self, length: int) -> bytes:
        end = self.position + length
        if end > len(self._blob):
            raise HostCertificateError("its host certificate is damaged")
        taken = self._blob[self.position : end]
        self.position = end
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self._take(size), "big")

    def string(self) -> bytes:
        return self._take(self.number(4))

    def text(self) -> str:
        try:
            return self.string().decode("utf-8")
        except UnicodeDecodeError as error:
            raise HostCertificateError("its host certificate is damaged") from error

    def texts(self, most: int) -> tuple[str, ...]:
        """All that is left, as texts; of options, each name is followed by data, which is not looked at."""
        found: list[str] = []
        while self.position < len(self._blob):
            found.append(self.string().decode("utf-8", errors="replace"))
            if len(found) > most:
                raise HostCertificateError("its host certificate is too large")
        return tuple(found)

    def end(self) -> None:
        if self.position != len(self._blob):
            raise HostCertificateError("its host certificate is damaged")
