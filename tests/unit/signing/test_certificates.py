"""A library reads certificates, from hostile bytes: whatever it makes of them is our error, or an answer."""

from __future__ import annotations

import base64
import random
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import asyncssh
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from support.stations import private_text, public_line

from unbrick.signing.certificates import (
    CertificateError,
    PlainKeyError,
    authority_of,
    certified_key,
    is_authentic,
    is_for_host,
    new_key,
    read_certificate,
    read_certificate_line,
    read_private,
    read_public_file,
)
from unbrick.signing.host_certificate import certified_host_key
from unbrick.signing.ssh_key import SshKeyError, blob_of, string

AUTHORITY = asyncssh.generate_private_key("ssh-ed25519")
KEY = asyncssh.generate_private_key("ssh-ed25519")
PINNED = AUTHORITY.public_data
HOST = AUTHORITY.generate_host_certificate(KEY, "t", principals=["one", "two"]).public_data
USER = AUTHORITY.generate_user_certificate(KEY, "t", principals=["x"], force_command="ls").public_data
SIGNATURE_AT = -4 - len(blob_of(bytes(64)))
SIGNER_AT = SIGNATURE_AT - 4 - len(blob_of(bytes(32)))


def test_reading_shows_what_is_written() -> None:
    host, user = read_certificate(HOST), read_certificate(USER)
    assert (is_for_host(host), is_for_host(user)) == (True, False)
    assert host.valid_principals == [b"one", b"two"]
    assert (host.critical_options, list(user.critical_options)) == ({}, [b"force-command"])
    assert certified_key(host) == certified_key(user) == KEY.public_data
    assert authority_of(host) == authority_of(user) == PINNED
    assert read_certificate_line(host.public_bytes().decode()).public_bytes() == host.public_bytes()


def test_a_signature_is_checked_over_the_bytes_that_came() -> None:
    """Also over what is read over: the nonce, the extensions, what is reserved."""
    for good in (HOST, USER):
        assert is_authentic(read_certificate(good), PINNED)
        assert not is_authentic(read_certificate(good), KEY.public_data)
        for at in range(len(good)):
            bad = bytearray(good)
            bad[at] ^= 1
            assert not _believed(bytes(bad))


@pytest.mark.parametrize(
    ("blob", "why"),
    [
        (KEY.public_data, "without a certificate"),
        (asyncssh.generate_private_key("ecdsa-sha2-nistp256").public_data, "type that unbrick does not"),
        (string(b"ssh-rsa-cert-v01@openssh.com") + HOST[36:], "type that unbrick does not"),
        (b"", "damaged"),
        (HOST + b"\0", "damaged"),
        (HOST + bytes(40_000), "too large"),
        (HOST.replace(string(b"one") + string(b"two"), string(b"one") + b"\0\0\0\4two"), "damaged"),
        (USER.replace(string(b"force-command"), string(b"force-comman") + b"d"), "damaged"),
    ],
    ids=["key", "ecdsa", "rsa", "nothing", "longer", "too-large", "torn-names", "torn-options"],
)
def test_what_is_no_certificate_is_refused_in_a_sentence(blob: bytes, why: str) -> None:
    with pytest.raises(CertificateError, match=why) as caught:
        read_certificate(blob)
    assert isinstance(caught.value, PlainKeyError) is (why == "without a certificate")


@pytest.mark.parametrize(
    "line", ["", "x", "ssh-ed25519-cert-v01@openssh.com", "ssh-ed25519-cert-v01@openssh.com AA!A", "x \xe4"]
)
def test_a_line_that_holds_none_is_refused(line: str) -> None:
    with pytest.raises(CertificateError):
        read_certificate_line(line)


def test_principals_that_are_no_text_name_nobody() -> None:
    blob = HOST.replace(string(b"one"), string(b"\xff\xfe\xfd"))
    assert read_certificate(blob).valid_principals[0] == b"\xff\xfe\xfd"
    assert not _believed(blob)


def test_a_signer_of_any_other_kind_is_no_authority() -> None:
    """Such as a compressed point on a curve, for which the library has an error of another kind."""
    for blob in _strange_signers():
        assert not _believed(blob)


def test_however_a_certificate_is_damaged_nothing_but_our_error_is_raised() -> None:
    chance = random.Random(20261130)
    seeds = [HOST, USER, *_strange_signers()]
    for number in range(3000):
        blob = _mutated(chance.choice(seeds if number % 2 else seeds[:2]), chance)
        assert blob in (HOST, USER) or not _believed(blob)


def test_a_private_key_is_an_ed25519_key_without_a_passphrase(tmp_path: Path) -> None:
    path, key = tmp_path / "key", Ed25519PrivateKey.generate()
    path.write_bytes(private_text(key))
    assert read_private(path).private_bytes_raw() == key.private_bytes_raw()
    for content, why in (
        (private_text(key, b"long words"), "passphrase"),
        (public_line(key).encode(), "no OpenSSH private key"),
        (_on_a_curve(compressed=False), "only Ed25519 keys"),
        (_on_a_curve(compressed=True), "no OpenSSH private key"),
        (b"x" * 100_000, "at most 64 KiB"),
    ):
        path.write_bytes(content)
        with pytest.raises(SshKeyError, match=why):
            read_private(path)
        with pytest.raises(SshKeyError):
            read_private(tmp_path / "missing")


def test_a_public_key_file_is_read_or_refused(tmp_path: Path) -> None:
    path, key = tmp_path / "key.pub", new_key()
    path.write_text(f"{public_line(key)} a comment\n")
    assert read_public_file(path).public_bytes_raw() == key.public_key().public_bytes_raw()
    for content in (b"", b"\xff", b"ssh-ed25519 AAAA", b"x" * 100_000):
        path.write_bytes(content)
        with pytest.raises(SshKeyError):
            read_public_file(path)


def _on_a_curve(*, compressed: bool) -> bytes:
    """A key of another kind, as OpenSSH writes it, or with a form of its point that nobody writes."""
    whole = generate_private_key(SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()
    )
    begin, *lines, end = whole.splitlines()
    blob = base64.b64decode(b"".join(lines))
    if compressed:
        blob = blob.replace(b"\0\0\0\x41\x04", b"\0\0\0\x41\x02")
    return b"\n".join([begin, base64.b64encode(blob), end, b""])


def _believed(blob: bytes) -> bool:
    """Whether any of the ways in takes a certificate; raises what none of them may."""
    with suppress(CertificateError):
        return bool(certified_host_key(blob, authority=PINNED, host="one"))
    with suppress(CertificateError):
        return is_authentic(read_certificate(blob), PINNED)
    return False


def _strange_signers() -> Iterator[bytes]:
    point = string(b"nistp256") + string(b"\2" + bytes(32))
    keys = {
        b"ssh-rsa": string(b"\3") + string(b"\1" * 300),
        b"ssh-dss": string(b"\3") * 4,
        b"ssh-ed25519": string(bytes(31)),
        b"ecdsa-sha2-nistp256": point,
        b"sk-ecdsa-sha2-nistp256@openssh.com": point + string(b"ssh:"),
        b"sk-ssh-ed25519@openssh.com": string(PINNED[-32:]) + string(b"ssh:"),
        b"no-such-type": b"",
        b"": b"",
    }
    for kind, rest in keys.items():
        for made in (kind, b"rsa-sha2-512", b"ssh-ed25519"):
            yield HOST[:SIGNER_AT] + string(string(kind) + rest) + string(string(made) + string(bytes(64)))


def _mutated(seed: bytes, chance: random.Random) -> bytes:
    blob = bytearray(seed)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        at = chance.randrange(len(blob) + 1)
        how = chance.randrange(5)
        if how == 0:
            blob[at : at + 1] = chance.randbytes(1)
        elif how == 1:
            blob[at:at] = chance.randbytes(chance.choice((1, 2, 4, 32)))
        elif how == 2:
            del blob[at : at + chance.choice((1, 2, 4, 32, 100))]
        elif how == 3:
            blob[at : at + 4] = struct.pack(">I", chance.choice((0, 1, 4, 32, 64, 2**31, 2**32 - 1)))
        else:
            begin = chance.randrange(len(blob) + 1)
            blob[at:at] = blob[begin : begin + chance.randrange(60)]
    return bytes(blob)
