"""Ed25519 keys and signatures as SSH writes them: blobs (RFC 4253, 6.6; RFC 8709) and public key lines.

`cryptography` is loaded when a signature is checked, not before: a station keeps its first reports before it
needs any of it.
"""

from __future__ import annotations

import base64
import hashlib
import struct

from unbrick.errors import FailedError

KEY_TYPE = "ssh-ed25519"
KEY_BYTES, SIGNATURE_BYTES = 32, 64


class SshKeyError(FailedError):
    """No Ed25519 key or signature, or no certificate of one."""


def string(value: bytes) -> bytes:
    """A string of SSH's wire format (RFC 4251, 5)."""
    return struct.pack(">I", len(value)) + value


def take_string(blob: bytes) -> tuple[bytes, bytes]:
    """The string at the beginning of a blob, and what follows it; raises ValueError where it ends early."""
    end = 4 + int.from_bytes(blob[:4], "big")
    if len(blob) < 4 or end > len(blob):
        raise ValueError("it ends early")
    return blob[4:end], blob[end:]


def take_strings(blob: bytes) -> list[bytes]:
    """A blob of strings alone; raises ValueError."""
    found = []
    while blob:
        taken, blob = take_string(blob)
        found.append(taken)
    return found


def blob_of(raw: bytes) -> bytes:
    """The blob of a public key (32 bytes) or of a signature (64 bytes)."""
    return string(KEY_TYPE.encode()) + string(raw)


def raw_key(blob: bytes) -> bytes:
    """The 32 bytes of a public key; raises SshKeyError unless the blob is that of an Ed25519 key."""
    return _raw(blob, KEY_BYTES, f"only {KEY_TYPE} keys are used here")


def raw_signature(blob: bytes) -> bytes:
    """The 64 bytes of a signature; raises SshKeyError unless the blob is that of an Ed25519 key's."""
    return _raw(blob, SIGNATURE_BYTES, "a signature of another kind")


def _raw(blob: bytes, size: int, problem: str) -> bytes:
    raw = blob[-size:]
    if len(raw) != size or blob != blob_of(raw):
        raise SshKeyError(problem)
    return raw


def blob_of_line(line: str) -> bytes:
    """The blob of an OpenSSH public key line (`ssh-ed25519 AAAA… comment`); raises SshKeyError."""
    try:
        kind, text = line.split()[:2]
        blob = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise SshKeyError("this is no SSH public key") from error
    raw_key(blob)
    if kind != KEY_TYPE:
        raise SshKeyError("this is no SSH public key")
    return blob


def line_of_blob(blob: bytes) -> str:
    """A public key as OpenSSH's line, without a comment."""
    return f"{KEY_TYPE} {base64.b64encode(blob).decode()}"


def fingerprint(blob: bytes) -> str:
    """A key's fingerprint as OpenSSH prints it: `SHA256:…`."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def is_signed_by(key: bytes, signature: bytes, data: bytes) -> bool:
    """Whether a signature is that of a key over `data`; both are blobs, possibly damaged."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(raw_key(key)).verify(raw_signature(signature), data)
    except (SshKeyError, InvalidSignature, ValueError):
        return False
    return True
