"""A site's key: what it signs, what is believed, what is not. The judge is ssh-keygen."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.stations import private_text

from unbrick.errors import UsageError
from unbrick.processes.command import SystemRunner
from unbrick.signing.signed_settings import check_folder
from unbrick.signing.site_key import SignatureError, fingerprint, make_site_key, public_line, sign, verify

SPACE = "unbrick-settings@unbrick"


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "site-key"
    make_site_key(path, SystemRunner())
    return path


def test_ssh_keygen_believes_what_is_signed(key: Path, tmp_path: Path) -> None:
    signature = tmp_path / "sig"
    signature.write_text(sign(b"settings\n", key, SPACE, SystemRunner()))
    allowed = tmp_path / "allowed"
    allowed.write_text(f"site {public_line(key)}\n")
    argv: list[str | Path] = [
        "ssh-keygen",
        "-Y",
        "verify",
        "-f",
        allowed,
        "-I",
        "site",
        "-n",
        SPACE,
        "-s",
        signature,
    ]
    assert subprocess.run(argv, input=b"settings\n", capture_output=True).returncode == 0
    assert subprocess.run(argv, input=b"settings", capture_output=True).returncode != 0


def test_the_public_half_is_read_without_the_passphrase(key: Path, tmp_path: Path) -> None:
    other = Ed25519PrivateKey.generate()
    locked = tmp_path / "locked"
    locked.write_bytes(private_text(other, b"long words"))
    plain = tmp_path / "plain"
    plain.write_bytes(private_text(other))
    assert public_line(locked) == public_line(plain) != public_line(key)
    said = subprocess.run(["ssh-keygen", "-l", "-f", key], capture_output=True, text=True, check=True).stdout
    assert said.split()[1] == fingerprint(public_line(key))
    assert public_line(key.with_name("site-key.pub")) == public_line(key)


def test_a_key_with_a_passphrase_and_nobody_to_ask_is_said_plainly(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.write_bytes(private_text(Ed25519PrivateKey.generate(), b"long words"))
    locked.chmod(0o600)
    script = (
        "from pathlib import Path; from unbrick.processes.command import SystemRunner;"
        f"from unbrick.signing.site_key import sign; sign(b'', Path({str(locked)!r}), 'a@b', SystemRunner())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    assert "UsageError" in ended.stderr
    assert "could not sign with this key" in ended.stderr


def test_a_signature_counts_for_its_bytes_its_key_and_its_purpose_only(key: Path, tmp_path: Path) -> None:
    text = sign(b"settings", key, SPACE, SystemRunner())
    line = public_line(key)
    verify(b"settings", text, line, SPACE)
    other = make_site_key(tmp_path / "other", SystemRunner())
    for data, signature, who, space in (
        (b"Settings", text, line, SPACE),
        (b"settings", text, other, SPACE),
        (b"settings", text, line, "unbrick-medium@unbrick"),
        (b"settings", text[:80] + "A" + text[81:], line, SPACE),
        (b"settings", text.replace("-----END", "", 1), line, SPACE),
        (b"settings", "", line, SPACE),
        (b"settings", text, "ssh-ed25519", SPACE),
    ):
        with pytest.raises(SignatureError):
            verify(data, signature, who, space)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"ssh-ed25519",
        b"ssh-ed25519 !!!!",
        b"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAQ==",
        b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==",
        b"-----BEGIN OPENSSH PRIVATE KEY-----\n",
        b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
        b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n-----END OPENSSH PRIVATE KEY-----\n",
        b"\xff\xfe",
        b"x" * 70_000,
    ],
)
def test_what_is_no_such_key_is_refused_in_a_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="key"):
        public_line(path)


def test_an_rsa_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rsa"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", path], check=True)
    with pytest.raises(UsageError, match="no Ed25519 key"):
        sign(b"", path, SPACE, SystemRunner())


def test_a_key_is_never_made_over_another(key: Path) -> None:
    with pytest.raises(UsageError, match="is there already"):
        make_site_key(key, SystemRunner())


def test_a_folder_that_cannot_be_read_is_a_problem_and_no_missing_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Path) -> Iterator[Path]:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "iterdir", fails)
    found = check_folder(tmp_path, "ssh-ed25519 AAAA", ())
    assert found.problems == ("unbrick-signed.json cannot be read: Input/output error",)
