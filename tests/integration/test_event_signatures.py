"""OpenSSH itself accepts what a station signs, and refuses what was changed since."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.stations import make_station, public_line

from unbrick.events.event import NAMESPACE, Event
from unbrick.signing.event_signer import Signer
from unbrick.signing.signature import parse_signature

DATA = Event(
    "20240719T061203Z-8f3a1c", 1, "note", "2024-07-19T06:12:03.000001Z", details={"text": "späße"}
).to_bytes()


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    made = make_station(tmp_path)
    (tmp_path / "station").chmod(0o600)
    (tmp_path / "allowed").write_text(f'st-1 namespaces="{NAMESPACE}" {public_line(made.key)}\n')
    return Signer.load(tmp_path / "station")


def verified(folder: Path, data: bytes, signature: str, namespace: str = NAMESPACE) -> bool:
    (folder / "data.sig").write_text(signature)
    argv = ["ssh-keygen", "-Y", "verify", "-f", "allowed", "-I", "st-1", "-n", namespace, "-s", "data.sig"]
    done = subprocess.run(argv, cwd=folder, input=data, capture_output=True, check=False)
    assert (done.returncode == 0) == (b"Good" in done.stdout), done
    return done.returncode == 0


def test_openssh_accepts_our_signature_and_no_changed_data(tmp_path: Path, signer: Signer) -> None:
    signature = signer.sign(DATA)
    assert verified(tmp_path, DATA, signature)
    assert not verified(tmp_path, DATA + b"\n", signature)
    assert not verified(tmp_path, DATA.replace(b"note", b"nota"), signature)
    assert not verified(tmp_path, DATA, signature, namespace="file")


def test_openssh_refuses_the_signature_of_another_station(tmp_path: Path, signer: Signer) -> None:
    make_station(tmp_path / "other")
    assert not verified(tmp_path, DATA, Signer.load(tmp_path / "other" / "station").sign(DATA))


def test_openssh_signs_as_we_do(tmp_path: Path, signer: Signer) -> None:
    (tmp_path / "event").write_bytes(DATA)
    argv = ["ssh-keygen", "-q", "-Y", "sign", "-f", "station", "-n", NAMESPACE, "event"]
    subprocess.run(argv, cwd=tmp_path, check=True, capture_output=True)
    theirs = (tmp_path / "event.sig").read_text()
    assert theirs == signer.sign(DATA)
    assert parse_signature(theirs) == parse_signature(signer.sign(DATA))
