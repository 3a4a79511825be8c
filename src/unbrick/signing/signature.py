"""The SSHSIG signature format, byte for byte: what is signed, and how a signature is wrapped.

From OpenSSH's PROTOCOL.sshsig; `ssh-keygen -Y verify` accepts what `armor` makes. Whose key is trusted, and
for what, is for the caller to check.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from unbrick.errors import FailedError
from unbrick.signing.ssh_key import is_signed_by, string, take_strings

HASH = "sha512"
_MAGIC = b"SSHSIG"
_VERSION = b"\0\0\0\1"
_BEGIN = "-----BEGIN SSH SIGNATURE-----"
_END = "-----END SSH SIGNATURE-----"
_MOST_BYTES = 16 * 1024


class SignatureFormatError(FailedError):
    """Text that is no SSHSIG signature."""


@dataclass(frozen=True)
class SshSignature:
    """A signature taken apart: `public_key` and `signature` are SSH wire format blobs (RFC 4253, 6.6)."""

    public_key: bytes
    namespace: str
    hash_algorithm: str
    signature: bytes

    def is_for(self, namespace: str) -> bool:
        """Whether it was made for that purpose, with the hash that is used here."""
        return self.namespace == namespace and self.hash_algorithm == HASH

    def fits(self, message: bytes) -> bool:
        """Whether `public_key` signed these bytes, for the purpose that the signature names."""
        return is_signed_by(self.public_key, self.signature, signed_data(message, self.namespace))


def signed_data(message: bytes, namespace: str) -> bytes:
    """The bytes that a key signs for a message."""
    digest = hashlib.new(HASH, message).digest()
    return _MAGIC + b"".join(map(string, (namespace.encode(), b"", HASH.encode(), digest)))


def armor(public_key: bytes, signature: bytes, namespace: str) -> str:
    """A signature as `ssh-keygen -Y sign` writes it."""
    fields = (public_key, namespace.encode(), b"", HASH.encode(), signature)
    text = base64.b64encode(_MAGIC + _VERSION + b"".join(map(string, fields))).decode()
    lines = [text[start : start + 70] for start in range(0, len(text), 70)]
    return "\n".join([_BEGIN, *lines, _END, ""])


def parse_signature(text: str) -> SshSignature:
    """Take an armored signature apart; raises SignatureFormatError."""
    body = text.strip()
    if len(body) > _MOST_BYTES or not body.startswith(_BEGIN) or not body.endswith(_END):
        raise SignatureFormatError("this is not an SSH signature")
    try:
        blob = base64.b64decode("".join(body[len(_BEGIN) : -len(_END)].split()), validate=True)
    except (ValueError, binascii.Error) as error:
        raise SignatureFormatError("an SSH signature that is not base64") from error
    if not blob.startswith(_MAGIC + _VERSION):
        raise SignatureFormatError("an SSH signature of an unknown version")
    try:
        fields = take_strings(blob[10:])
    except ValueError as error:
        raise SignatureFormatError("an SSH signature that ends early") from error
    if len(fields) != 5:
        raise SignatureFormatError("an SSH signature with the wrong number of fields")
    public_key, namespace, _, algorithm, signature = fields
    try:
        return SshSignature(public_key, namespace.decode("ascii"), algorithm.decode("ascii"), signature)
    except UnicodeDecodeError as error:
        raise SignatureFormatError("an SSH signature whose names are not ASCII") from error
