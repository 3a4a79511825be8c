"""A short text carries signed events as they were signed, and anything else is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from unbrick.events.event import NAMESPACE, Event, EventKind
from unbrick.events.wire import SignedEvent
from unbrick.model import Machine
from unbrick.signing.carried_text import PREFIX, CarriedTextError, _decode, _encode, read_text, write_text
from unbrick.signing.event_signer import Signer


def signer() -> Signer:
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return Signer(public.decode(), key)


def outcome(by: Signer, status: str = "repaired", reason: str | None = None) -> SignedEvent:
    event = Event(
        run="20261125T170000Z-8f3a1c",
        sequence=23,
        kind=EventKind.OUTCOME.value,
        at="2026-11-25T17:00:09.123456Z",
        machine=Machine(
            "4C4C4544-0042-3510-8052-B4C04F564433",
            "5BR5VD3",
            "1B2C3D4E-5F60-4172-8394-A5B6C7D8E9F0",
            ("WARD-3-PC",),
        ),
        site="st-marys",
        details={"status": status, **({"reason": reason} if reason else {})},
    )
    data = event.to_bytes()
    return SignedEvent(data, by.sign(data))


def test_what_was_signed_comes_back_byte_for_byte() -> None:
    station = signer()
    events = [outcome(station), outcome(station, "needs-key", "key-missing")]

    back = read_text(write_text(events))

    assert [(one.data, one.signature) for one in back] == [(one.data, one.signature) for one in events]


def test_ssh_keygen_believes_what_came_through_the_text(tmp_path: Path) -> None:
    station = signer()
    (back,) = read_text(write_text([outcome(station)]))
    (tmp_path / "signature").write_text(back.signature)
    (tmp_path / "signers").write_text(f"station {station.public_key}\n")
    arguments = ["-Y", "verify", "-f", str(tmp_path / "signers"), "-I", "station", "-n", NAMESPACE]

    judged = subprocess.run(
        ["ssh-keygen", *arguments, "-s", str(tmp_path / "signature")],
        input=back.data,
        capture_output=True,
        check=False,
    )

    assert judged.returncode == 0, judged.stderr


def test_one_machine_fits_a_picture_that_a_telephone_reads_from_a_screen() -> None:
    text = write_text([outcome(signer())])

    assert len(text) <= 468  # a QR code of 61 x 61 at the lowest correction, letters of its own alphabet
    assert set(text) <= set("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:")


def test_reports_of_two_stations_make_no_text() -> None:
    with pytest.raises(CarriedTextError):
        write_text([outcome(signer()), outcome(signer())])


@pytest.mark.parametrize("cut", [1, 2, 3, 10, 100, 300])
def test_a_text_that_is_cut_off_is_refused(cut: int) -> None:
    text = write_text([outcome(signer())])

    with pytest.raises(CarriedTextError):
        read_text(text[:-cut])


def test_a_bomb_is_not_unpacked() -> None:
    import zlib

    bomb = zlib.compress(bytes(50 * 1024 * 1024), 9)
    with pytest.raises(CarriedTextError):
        read_text(PREFIX + _encode(bomb))


@given(st.binary(max_size=200))
def test_base45_is_its_own_inverse(data: bytes) -> None:
    assert _decode(_encode(data)) == data


def test_base45_is_that_of_the_standard() -> None:
    # RFC 9285, 4.3 and 4.4: its own examples.
    assert _encode(b"AB") == "BB8"
    assert _encode(b"Hello!!") == "%69 VD92EX0"
    assert _decode("QED8WEX0") == b"ietf!"


@given(st.text(alphabet="0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:a", max_size=80))
def test_nothing_but_our_own_error_comes_of_any_text(text: str) -> None:
    with pytest.raises(CarriedTextError):
        read_text(PREFIX + text)
