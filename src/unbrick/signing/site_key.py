"""Signs with a site's key, and checks what was signed: SSHSIG by `ssh-keygen -Y sign`, Ed25519 only.

The program signs, and not a library, so that a key may have a passphrase (ssh-keygen asks at the terminal) or
be in an agent or a token. We never read the private half.
"""

from __future__ import annotations

import base64
import os
import tempfile
from pathlib import Path

from unbrick.errors import FailedError, UsageError
from unbrick.files import read_small_file
from unbrick.processes.command import CommandError, SystemRunner
from unbrick.signing import ssh_key
from unbrick.signing.signature import SignatureFormatError, SshSignature, armor, parse_signature
from unbrick.signing.ssh_key import SshKeyError, blob_of_line, line_of_blob, raw_key, take_string

_BEGIN, _END = "-----BEGIN OPENSSH PRIVATE KEY-----", "-----END OPENSSH PRIVATE KEY-----"
_CONTAINER = b"openssh-key-v1\0"
_PERSON_SECONDS = 300.0
_AGENT = ("SSH_AUTH_SOCK", "HOME", "DISPLAY", "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "TERM")
_MAKE_ONE = 'make one with: ssh-keygen -t ed25519 -f site-key -C "unbrick site key"'


class SignatureError(FailedError):
    """A signature that does not count; the message says why, without the file's name."""


def public_line(key: Path) -> str:
    """The public half of a key as an OpenSSH line, `ssh-ed25519 AAAA…`, without its comment.

    `key` is a private key file in OpenSSH's own format, also one with a passphrase (its public half is not
    encrypted), or a public key file. Raises UsageError.
    """
    try:
        text = read_small_file(key, hint=_MAKE_ONE).decode("ascii")
        if text.lstrip().startswith(_BEGIN):
            blob = _public_blob_of_container(text)
            raw_key(blob)
        else:
            blob = blob_of_line(text)
    except (ValueError, SshKeyError) as error:
        raise UsageError(f"{key}: this is no Ed25519 key of OpenSSH", hint=_MAKE_ONE) from error
    return line_of_blob(blob)


def fingerprint(line: str) -> str:
    """The fingerprint of a public key line as OpenSSH prints it: `SHA256:…`."""
    return ssh_key.fingerprint(blob_of_line(line))


def make_site_key(path: Path, runner: SystemRunner) -> str:
    """Make a new key pair, `path` and `path.pub`, without a passphrase; returns its public line.

    Raises UsageError where either file is there already.
    """
    for file in (path, path.with_name(path.name + ".pub")):
        if os.path.lexists(file):
            raise UsageError(f"{file} is there already", hint="use it, or name another file")
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "unbrick site key", "-f"]
    runner.run([*argv, str(path.absolute())], timeout=60.0, at_terminal=True)
    return public_line(path)


def sign(data: bytes, key: Path, namespace: str, runner: SystemRunner) -> str:
    """The SSHSIG signature of a key over `data`, as text; raises UsageError for a key that cannot sign.

    Where the key's public half alone is named, or its private half has a passphrase, an agent is asked first.
    """
    line = public_line(key)
    with tempfile.TemporaryDirectory(prefix="unbrick-sign-") as folder:
        message = Path(folder, "message")
        message.write_bytes(data)
        argv = ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", str(key.absolute()), str(message)]
        try:
            runner.run(argv, timeout=_PERSON_SECONDS, keep=_AGENT, at_terminal=True)
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
    """Raise SignatureError unless the key of `line`, as `public_line` gives it, signed `data`."""
    parsed = _parsed(signature)
    if line_of_blob(parsed.public_key) != line:
        raise SignatureError("it was signed by another key")
    if not parsed.is_for(namespace):
        raise SignatureError("the signature was made for something else")
    if not parsed.fits(data):
        raise SignatureError("it was changed after it was signed")


def signer_of(signature: str) -> str:
    """The public key line in a signature; only `verify` proves that it signed. Raises SignatureError."""
    key = _parsed(signature).public_key
    try:
        raw_key(key)
    except SshKeyError as error:
        raise SignatureError("the signature is damaged") from error
    return line_of_blob(key)


def plain_form(signature: str) -> str:
    """A signature as `ssh-keygen` writes it: one can be wrapped in many ways. Raises SignatureError."""
    parsed = _parsed(signature)
    return armor(parsed.public_key, parsed.signature, parsed.namespace)


def _parsed(signature: str) -> SshSignature:
    try:
        return parse_signature(signature)
    except SignatureFormatError as error:
        raise SignatureError("the signature is damaged") from error


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
        _, rest = take_string(rest)
    if rest[:4] != (1).to_bytes(4, "big"):
        raise ValueError("a file of several keys")
    return take_string(rest[4:])[0]
