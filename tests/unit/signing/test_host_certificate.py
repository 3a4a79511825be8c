"""A host is believed by a certificate of the pinned authority that names it, and by nothing else."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import asyncssh
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbrick.signing.certificates import CertificateError
from unbrick.signing.host_certificate import certified_host_key
from unbrick.signing.ssh_key import fingerprint

AUTHORITY = asyncssh.generate_private_key("ssh-ed25519")
STRANGER = asyncssh.generate_private_key("ssh-ed25519")
HOST_KEY = asyncssh.generate_private_key("ssh-ed25519")
PINNED = AUTHORITY.public_data
HOST = "tally.example"


def certificate(*, signer: asyncssh.SSHKey = AUTHORITY, principals: tuple[str, ...] = (HOST,)) -> bytes:
    return signer.generate_host_certificate(HOST_KEY, "tally", principals=list(principals)).public_data


def refusal(blob: bytes, host: str = HOST) -> str:
    with pytest.raises(CertificateError) as caught:
        certified_host_key(blob, authority=PINNED, host=host)
    return caught.value.message


def test_a_right_certificate_gives_the_certified_key() -> None:
    assert certified_host_key(certificate(), authority=PINNED, host=HOST) == HOST_KEY.public_data


def test_a_plain_host_key_is_not_believed_even_if_it_is_the_authority_itself() -> None:
    assert "without a certificate" in refusal(HOST_KEY.public_data)
    assert "without a certificate" in refusal(PINNED)


def test_another_authority_is_not_believed() -> None:
    assert refusal(certificate(signer=STRANGER)) == f"its host key is not certified by {fingerprint(PINNED)}"


def test_the_certificate_of_a_user_is_not_one_for_a_host() -> None:
    blob = AUTHORITY.generate_user_certificate(HOST_KEY, "tally", principals=[HOST]).public_data
    assert "not one for a host" in refusal(blob)


def test_the_certificate_must_name_the_host_that_was_dialled() -> None:
    assert "not for tally.example" in refusal(certificate(principals=("other.example",)))
    assert "not for tally.example" in refusal(certificate(principals=("*.example", "tally")))
    assert "not for tally.example" in refusal(certificate(principals=()))


@pytest.mark.parametrize(
    ("named", "dialled"),
    [
        ("Tally.Example", "tally.example"),
        ("tally.example", "TALLY.example."),
        ("::1", "0:0:0:0:0:0:0:1"),
        ("192.0.2.7", "192.0.2.7"),
    ],
)
def test_a_host_has_one_name_in_several_spellings(named: str, dialled: str) -> None:
    certified_host_key(certificate(principals=("first", named)), authority=PINNED, host=dialled)


@pytest.mark.parametrize(("start", "end"), [("19700101", "19700102"), ("21000101", "21000102")])
def test_no_clock_is_asked(start: str, end: str) -> None:
    """A machine whose clock says 2009, and one whose clock says 2080, must both reach the tally."""
    made = AUTHORITY.generate_host_certificate(
        HOST_KEY, "tally", principals=[HOST], valid_after=start, valid_before=end
    )
    assert certified_host_key(made.public_data, authority=PINNED, host=HOST) == HOST_KEY.public_data


def test_a_condition_that_we_do_not_know_is_a_refusal(tmp_path: Path) -> None:
    assert "conditions" in refusal(by_ssh_keygen(tmp_path, "-O", "critical:phase-of-the-moon@example=full"))


def test_a_certificate_of_openssh_is_believed_and_its_extensions_do_not_matter(tmp_path: Path) -> None:
    blob = by_ssh_keygen(tmp_path, "-O", "extension:colour@example=blue")
    assert certified_host_key(blob, authority=PINNED, host=HOST) == HOST_KEY.public_data


def by_ssh_keygen(folder: Path, *options: str) -> bytes:
    AUTHORITY.write_private_key(folder / "authority")
    (folder / "authority").chmod(0o600)
    HOST_KEY.write_public_key(folder / "host.pub")
    command = ["ssh-keygen", "-q", "-s", "authority", "-h", "-I", "tally", "-n", HOST, *options, "host.pub"]
    subprocess.run(command, check=True, cwd=folder)
    return base64.b64decode((folder / "host-cert.pub").read_text().split()[1])


def test_every_flipped_bit_is_noticed() -> None:
    blob = certificate()
    for position in range(len(blob) * 8):
        flipped = bytearray(blob)
        flipped[position // 8] ^= 1 << position % 8
        refusal(bytes(flipped))


def test_a_certificate_that_ends_early_or_late_is_damaged() -> None:
    blob = certificate()
    for length in range(len(blob)):
        refusal(blob[:length])
    refusal(blob + b"\0")
    refusal(blob + bytes(100_000))


@given(st.binary(max_size=400))
def test_whatever_comes_is_answered_with_a_sentence(blob: bytes) -> None:
    refusal(blob)
    refusal(certificate()[:70] + blob)
