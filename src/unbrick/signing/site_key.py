"""Signs with a site's key, and checks what was signed: SSHSIG by `ssh-keygen -Y sign`, Ed25519 only.

The program signs, and not a library, so that a key may have a passphrase (ssh-keygen asks at the terminal) or
live in an agent or a token. The private half is never read by us.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol

from unbrick.errors import FailedError, UsageError
from unbrick.processes.command import CommandError, Result
from unbrick.signing.signature import HASH, SignatureFormatError, armor, parse_signature, signed_data

_KEY_TYPE = b"ssh-ed25519"
_KEY_BYTES = 32
_MOST_KEY_FILE = 64 * 1024
_BEGIN, _END = "-----BEGIN OPENSSH PRIVATE KEY-----", "-----END OPENSSH PRIVATE KEY-----"
_CONTAINER = b"openssh-key-v1\0"
_PERSON_SECONDS = 300.0
_AGENT = ("SSH_AUTH_SOCK", "HOME", "DISPLAY", "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "TERM")
_MAKE_ONE = 'make one with: ssh-keygen -t ed25519 -f site-key -C "unbrick site key"'


class SignatureError(FailedError):
    """A signature that does not count; the message says why, without the file's name."""


class TerminalRunner(Protocol):
    """What signing asks of `SystemRunner`: a program that may ask the person at the terminal."""

    def run_at_terminal(self, argv: Sequence[str], *, timeout: float, keep: Collection[str] = ()) -> Result:
        """See `SystemRunner.run_at_terminal`."""


def public_line(key: Path) -> str:
    """The public half of a key as an OpenSSH line, `ssh-ed25519 AAAA…`, without its comment.

    `key` is a private key file in OpenSSH's own format, also one with a passphrase (its public half is not
    encrypted), or a public key file. Raises UsageError.
    """
    try:
        text = _read(key)
        if text.lstrip().startswith(_BEGIN):
            blob = _public_blob_of_container(text)
        else:
            blob = base64.b64decode(text.split()[1], validate=True)
        _ed25519_key(blob)
    except (ValueError, IndexError, binascii.Error) as error:
        raise UsageError(f"{key}: this is no Ed25519 key of OpenSSH", hint=_MAKE_ONE) from error
    return f"{_KEY_TYPE.decode()} {base64.b64encode(blob).decode()}"


def fingerprint(line: str) -> str:
    """The fingerprint of a public key line as OpenSSH prints it: `SHA256:…`."""
    digest = hashlib.sha256(base64.b64decode(line.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def make_site_key(path: Path, runner: TerminalRunner) -> str:
    """Make a new key pair, `path` and `path.pub`, without a passphrase; returns its public line.

    Raises UsageError where either file is there already.
    """
    for file in (path, path.with_name(path.name + ".pub")):
        if os.path.lexists(file):
            raise UsageError(f"{file} is there already", hint="use it, or name another file")
    argv = [
        "ssh-keygen",
        "-q",
        "-t",
        "ed25519",
        "-N",
        "",
        "-C",
        "unbrick site key",
        "-f",
        str(path.absolute()),
    ]
    runner.run_at_terminal(argv, timeout=60.0)
    return public_line(path)


def sign(data: bytes, key: Path, namespace: str, runner: TerminalRunner) -> str:
    """The SSHSIG signature of a key over `data`, as text; raises UsageError for a key that cannot sign.

    Where the key's public half alone is named, or its private half has a passphrase, an agent is asked first.
    """
    line = public_line(key)
    with tempfile.TemporaryDirectory(prefix="unbrick-sign-") as folder:
        message = Path(folder, "message")
        message.write_bytes(data)
        argv = ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", str(key.absolute()), str(message)]
        try:
            runner.run_at_terminal(argv, timeout=_PERSON_SECONDS, keep=_AGENT)
            signature = message.with_name("message.sig").read_text(encoding="ascii")
        except (CommandError, OSError, ValueError) as error:
            raise UsageError(
                f"{key}: ssh-keygen could not sign with this key{_reason(error)}",
                hint="a passphrase is asked for at a terminal; without one, add the key to ssh-agent first. "
                "The key's file must be readable by you alone (chmod 600)",
            ) from error
    verify(data, signature, line, namespace)
    return signature


def verify(data: bytes, signature: str, line: str, namespace: str) -> None:
    """Raise SignatureError unless the public key `line` signed `data` for `namespace`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        parsed = parse_signature(signature)
        blob = base64.b64decode(line.split()[1], validate=True)
        kind, value = _strings(parsed.signature)
        key = Ed25519PublicKey.from_public_bytes(_ed25519_key(blob))
    except (SignatureFormatError, ValueError, IndexError, binascii.Error) as error:
        raise SignatureError("the signature is damaged") from error
    if parsed.public_key != blob:
        raise SignatureError("it was signed by another key")
    if parsed.namespace != namespace or parsed.hash_algorithm != HASH or kind != _KEY_TYPE:
        raise SignatureError("the signature was made for something else")
    try:
        key.verify(value, signed_data(data, namespace))
    except InvalidSignature as error:
        raise SignatureError("it was changed after it was signed") from error


def signer_of(signature: str) -> str:
    """The public key line of whoever a signature names; whether they made it is for `verify` to say.

    Raises SignatureError.
    """
    try:
        blob = parse_signature(signature).public_key
    except SignatureFormatError as error:
        raise SignatureError("the signature is damaged") from error
    return f"{_KEY_TYPE.decode()} {base64.b64encode(blob).decode()}"


def plain_form(signature: str) -> str:
    """A signature as `ssh-keygen` writes it: one can be wrapped in many ways. Raises SignatureError."""
    try:
        parsed = parse_signature(signature)
    except SignatureFormatError as error:
        raise SignatureError("the signature is damaged") from error
    return armor(parsed.public_key, parsed.signature, parsed.namespace)


def _read(key: Path) -> str:
    try:
        with key.open("rb") as stream:
            data = stream.read(_MOST_KEY_FILE + 1)
    except OSError as error:
        raise UsageError(f"{key}: cannot be read: {error.strerror}", hint=_MAKE_ONE) from error
    if len(data) > _MOST_KEY_FILE:
        raise UsageError(f"{key}: this is no key, it is too large", hint=_MAKE_ONE)
    return data.decode("ascii")


def _reason(error: Exception) -> str:
    said = error.stderr.decode(errors="replace").strip() if isinstance(error, CommandError) else str(error)
    return f": {said.splitlines()[-1][:200]}" if said else ""


def _public_blob_of_container(text: str) -> bytes:
    """The public half in a private key file (OpenSSH's PROTOCOL.key); raises ValueError."""
    body = text.strip()
    if not body.endswith(_END):
        raise ValueError("a key that ends early")
    blob = base64.b64decode("".join(body[len(_BEGIN) : -len(_END)].split()), validate=True)
    if not blob.startswith(_CONTAINER):
        raise ValueError("not OpenSSH's format")
    rest = blob[len(_CONTAINER) :]
    for _ in range(3):  # cipher, key derivation, its options
        _, rest = _string(rest)
    if rest[:4] != (1).to_bytes(4, "big"):
        raise ValueError("a file of several keys")
    return _string(rest[4:])[0]


def _ed25519_key(blob: bytes) -> bytes:
    kind, key = _strings(blob)
    if kind != _KEY_TYPE or len(key) != _KEY_BYTES:
        raise ValueError("not an Ed25519 key")
    return key


def _string(blob: bytes) -> tuple[bytes, bytes]:
    """One string of SSH's wire format (RFC 4251, 5), and what follows it; raises ValueError."""
    end = 4 + int.from_bytes(blob[:4], "big")
    if len(blob) < 4 or end > len(blob):
        raise ValueError("it ends early")
    return blob[4:end], blob[end:]


def _strings(blob: bytes) -> tuple[bytes, bytes]:
    """A blob of exactly two strings; raises ValueError."""
    first, rest = _string(blob)
    second, rest = _string(rest)
    if rest:
        raise ValueError("it goes on after its end")
    return first, second
