"""The SSHSIG signature format, byte for byte: what is signed, and how a signature is wrapped.

From OpenSSH's PROTOCOL.sshsig; `ssh-keygen -Y verify` accepts what `armor` makes. Signs and verifies
nothing itself: the key's owner does (`report/`), and so does who checks (`tally/`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from dataclasses import dataclass

from unbrick.errors import FailedError

HASH = "sha512"
_MAGIC = b"SSHSIG"
_VERSION = 1
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


def signed_data(message: bytes, namespace: str) -> bytes:
    """The bytes that a key signs for a message."""
    digest = hashlib.new(HASH, message).digest()
    return _MAGIC + _string(namespace.encode()) + _string(b"") + _string(HASH.encode()) + _string(digest)


def armor(public_key: bytes, signature: bytes, namespace: str) -> str:
    """A signature as text, as `ssh-keygen -Y sign` writes it."""
    blob = _MAGIC + struct.pack(">I", _VERSION) + _string(public_key) + _string(namespace.encode())
    blob += _string(b"") + _string(HASH.encode()) + _string(signature)
    text = base64.b64encode(blob).decode()
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
    if not blob.startswith(_MAGIC) or blob[6:10] != struct.pack(">I", _VERSION):
        raise SignatureFormatError("an SSH signature of an unknown version")
    fields = _strings(blob[10:])
    if len(fields) != 5:
        raise SignatureFormatError("an SSH signature with the wrong number of fields")
    public_key, namespace, _, algorithm, signature = fields
    try:
        return SshSignature(public_key, namespace.decode("ascii"), algorithm.decode("ascii"), signature)
    except UnicodeDecodeError as error:
        raise SignatureFormatError("an SSH signature whose names are not ASCII") from error


def _string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def _strings(blob: bytes) -> list[bytes]:
    found = []
    while blob:
        if len(blob) < 4:
            raise SignatureFormatError("an SSH signature that ends early")
        length = struct.unpack(">I", blob[:4])[0]
        if length > len(blob) - 4:
            raise SignatureFormatError("an SSH signature that ends early")
        found.append(blob[4 : 4 + length])
        blob = blob[4 + length :]
    return found
