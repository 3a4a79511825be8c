"""Keys, signatures and public key lines in SSH's form: Ed25519, as OpenSSH writes them, or refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import asyncssh
import pytest

from unbrick.signing.ssh_key import (
    SshKeyError,
    blob_of,
    blob_of_line,
    fingerprint,
    is_signed_by,
    line_of_blob,
    raw_key,
    raw_signature,
    take_string,
    take_strings,
)

KEY = asyncssh.generate_private_key("ssh-ed25519")
STRANGER = asyncssh.generate_private_key("ssh-ed25519")
LINE = " ".join(KEY.export_public_key().decode().split()[:2])


def test_a_key_is_as_openssh_writes_it(tmp_path: Path) -> None:
    KEY.write_public_key(tmp_path / "key.pub")
    said = subprocess.run(["ssh-keygen", "-l", "-f", tmp_path / "key.pub"], capture_output=True, text=True)
    assert said.stdout.split()[1] == fingerprint(KEY.public_data)
    assert blob_of_line(LINE) == blob_of_line(f"{LINE} a comment") == KEY.public_data
    assert line_of_blob(KEY.public_data) == LINE
    assert blob_of(raw_key(KEY.public_data)) == KEY.public_data


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 !!!",
        LINE.replace("ssh-ed25519", "ssh-rsa"),
        LINE[:40],
        f"{LINE}AAAA",
        asyncssh.generate_private_key("ecdsa-sha2-nistp256").export_public_key().decode(),
        KEY.generate_user_certificate(KEY, "x").export_certificate().decode(),
    ],
    ids=["nothing", "no-key", "no-base64", "another-type", "cut", "longer", "ecdsa", "certificate"],
)
def test_what_is_no_ed25519_key_is_refused(line: str) -> None:
    with pytest.raises(SshKeyError):
        blob_of_line(line)


def test_a_signature_is_one_of_the_key_over_the_data() -> None:
    key, signature = KEY.public_data, KEY.sign(b"data", b"ssh-ed25519")
    assert blob_of(raw_signature(signature)) == signature
    assert is_signed_by(key, signature, b"data")
    assert not is_signed_by(key, signature, b"date")
    assert not is_signed_by(STRANGER.public_data, signature, b"data")
    assert not is_signed_by(key, signature.replace(b"ssh-ed25519", b"ssh-ed25510"), b"data")
    for wrong in (b"", signature[:-1], signature + b"\0", key):
        assert not is_signed_by(key, wrong, b"data")
    for wrong in (b"", key[:-1], key + b"\0", signature):
        assert not is_signed_by(wrong, signature, b"data")


def test_a_string_that_ends_early_is_refused() -> None:
    assert take_string(b"\0\0\0\1ab") == (b"a", b"b")
    assert take_strings(b"\0\0\0\1a\0\0\0\0") == [b"a", b""]
    for wrong in (b"", b"\0\0\0", b"\0\0\0\2a", b"\xff\xff\xff\xff"):
        with pytest.raises(ValueError, match="early"):
            take_string(wrong)
