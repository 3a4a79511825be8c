"""The station's key: what signs, and what is refused before anything is touched."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.stations import certificate, make_station, private_text, public_line

from unbrick.errors import UsageError
from unbrick.events.event import NAMESPACE
from unbrick.signing.event_signer import Signer
from unbrick.signing.signature import parse_signature, signed_data


def test_a_signature_holds_for_the_signed_bytes_and_no_others(tmp_path: Path) -> None:
    made = make_station(tmp_path)
    signer = Signer.load(tmp_path / "station")
    signature = parse_signature(signer.sign(b"data"))
    assert signature.namespace == NAMESPACE
    assert base64.b64encode(signature.public_key).decode() == public_line(made.key).split()[1]
    assert signer.public_key == public_line(made.key)
    raw = signature.signature[-64:]
    made.key.public_key().verify(raw, signed_data(b"data", NAMESPACE))
    with pytest.raises(InvalidSignature):
        made.key.public_key().verify(raw, signed_data(b"date", NAMESPACE))
    assert signer.sign(b"data") == signer.sign(b"data")


def test_a_signer_does_not_show_its_key(tmp_path: Path) -> None:
    make_station(tmp_path)
    assert repr(Signer.load(tmp_path / "station")).count("ssh-ed25519") == 1
    assert "PRIVATE" not in repr(Signer.load(tmp_path / "station"))


def test_other_keys_are_refused(tmp_path: Path) -> None:
    ours = Ed25519PrivateKey.generate()
    elliptic = generate_private_key(SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    whole = private_text(ours)
    for content in (b"", b"nonsense", elliptic, public_line(ours).encode(), whole[:200], b"x" * 100_000):
        (tmp_path / "key").write_bytes(content)
        with pytest.raises(UsageError) as caught:
            Signer.load(tmp_path / "key")
        assert str(tmp_path / "key") in caught.value.message
    with pytest.raises(UsageError):
        Signer.load(tmp_path / "missing")


def test_a_key_with_a_passphrase_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(private_text(Ed25519PrivateKey.generate(), b"secret"))
    with pytest.raises(UsageError, match="passphrase"):
        Signer.load(tmp_path / "key")


def test_a_certificate_must_be_one_and_of_this_key(tmp_path: Path) -> None:
    make_station(tmp_path)
    signer = Signer.load(tmp_path / "station")
    assert signer.check_certificate(tmp_path / "station-cert.pub") is None
    authority = Ed25519PrivateKey.generate()
    key = serialization.load_ssh_private_key((tmp_path / "station").read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    (tmp_path / "ends").write_bytes(certificate(key, authority, until=1_784_000_000))
    assert signer.check_certificate(tmp_path / "ends") == datetime.fromtimestamp(1_784_000_000, UTC)
    other = Ed25519PrivateKey.generate()
    for content in (b"", b"\xff", public_line(other).encode(), certificate(other, other)):
        (tmp_path / "other").write_bytes(content)
        with pytest.raises(UsageError):
            signer.check_certificate(tmp_path / "other")
