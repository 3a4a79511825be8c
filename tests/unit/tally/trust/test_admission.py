from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import SSHCertificateBuilder, SSHCertificateType

from unbrick.signing.certificates import new_key, public_blob, read_private
from unbrick.tally.folder import TallyFolder, parse_address
from unbrick.tally.trust.admission import Admission, RefusedLoginError, admit, check_still_admitted
from unbrick.tally.trust.authority import create_authority, revoke
from unbrick.tally.trust.register import StationRegister

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
END = int((NOW + timedelta(days=1)).timestamp())


@dataclass
class Tally:
    """A tally's folder, and what a login is judged by."""

    folder: Path

    @property
    def authority(self) -> Ed25519PrivateKey:
        return read_private(TallyFolder(self.folder).authority)

    @property
    def station(self) -> Ed25519PrivateKey:
        return read_private(self.folder / "station")

    def judge(self, blob: bytes, name: str = "station", now: datetime = NOW) -> Admission:
        register = StationRegister(self.folder / "stations.json")
        register.refresh()
        return admit(blob, name, self.authority.public_key(), register, now)


@pytest.fixture
def tally(tmp_path: Path) -> Tally:
    create_authority(tmp_path, parse_address("127.0.0.1"), now=NOW)
    return Tally(tmp_path)


def _blob(line: str) -> bytes:
    return base64.b64decode(line.split()[1])


def _make(
    signer: Ed25519PrivateKey,
    key: Ed25519PrivateKey,
    *,
    change: Callable[[SSHCertificateBuilder], SSHCertificateBuilder] = lambda builder: builder,
    kind: SSHCertificateType = SSHCertificateType.USER,
    names: tuple[str, ...] = ("station",),
    serial: int = 1,
    before: int = END,
) -> bytes:
    builder = (
        SSHCertificateBuilder()
        .public_key(key.public_key())
        .serial(serial)
        .type(kind)
        .key_id(b"made by hand")
        .valid_after(0)
        .valid_before(before)
    )
    builder = builder.valid_principals([name.encode() for name in names])
    return _blob(change(builder).sign(signer).public_bytes().decode())


def test_the_certificate_that_init_made_is_admitted(tally: Tally) -> None:
    blob = _blob((tally.folder / "station-cert.pub").read_text())
    admission = tally.judge(blob)
    assert admission.station == "station"
    assert admission.key == public_blob(tally.station.public_key())


def test_a_certificate_made_by_hand_with_our_authority_is_admitted(tally: Tally) -> None:
    assert tally.judge(_make(tally.authority, tally.station)).valid_before == END


def test_everything_else_is_refused_and_named(tally: Tally) -> None:
    authority, station = tally.authority, tally.station
    refused = {
        "plain key": public_blob(station.public_key()),
        "another authority": _make(new_key(), station),
        "not for a station": _make(authority, station, kind=SSHCertificateType.HOST),
        "another name": _make(authority, station, names=("other",)),
        "for another name": _make(authority, station, names=("station", "other")),
        "conditions": _make(
            authority, station, change=lambda one: one.add_critical_option(b"force-command", b"ls")
        ),
        "expired": _make(authority, station, before=int(NOW.timestamp())),
        "not this station's": _make(authority, new_key()),
        "plain": b"",
    }
    for why, blob in refused.items():
        with pytest.raises(RefusedLoginError, match=why):
            tally.judge(blob)


def test_time_is_the_tallys(tally: Tally) -> None:
    blob = _make(tally.authority, tally.station)
    with pytest.raises(RefusedLoginError, match="expired"):
        tally.judge(blob, now=NOW + timedelta(days=2))
    assert tally.judge(blob, now=NOW - timedelta(days=10_000)).station == "station"


def test_a_tampered_certificate_is_refused(tally: Tally) -> None:
    good = _make(tally.authority, tally.station)
    for at in range(0, len(good), 7):
        bad = bytearray(good)
        bad[at] ^= 1
        with pytest.raises(RefusedLoginError):
            tally.judge(bytes(bad))


def test_a_name_that_is_not_enrolled_is_refused(tally: Tally) -> None:
    blob = _make(tally.authority, tally.station, names=("ghost",))
    with pytest.raises(RefusedLoginError, match="not enrolled"):
        tally.judge(blob, "ghost")


def test_a_revoked_station_is_refused_by_name_and_by_serial(tally: Tally) -> None:
    by_init = _blob((tally.folder / "station-cert.pub").read_text())
    by_hand = _make(tally.authority, tally.station, serial=0)
    admission = tally.judge(by_init)
    revoke(tally.folder, "station")
    with pytest.raises(RefusedLoginError, match="revoked certificate"):
        tally.judge(by_init)
    with pytest.raises(RefusedLoginError, match="revoked station"):
        tally.judge(by_hand)
    register = StationRegister(tally.folder / "stations.json")
    register.refresh()
    with pytest.raises(RefusedLoginError, match="revoked"):
        check_still_admitted(admission, register, NOW)
