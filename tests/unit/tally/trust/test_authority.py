from __future__ import annotations

import stat
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from support.stations import private_text

from unbrick.errors import UsageError
from unbrick.signing.certificates import new_key
from unbrick.tally.folder import parse_address
from unbrick.tally.trust.authority import create_authority, enrol, revoke
from unbrick.tally.trust.register import RegisterError, StationRegister, write_register

ADDRESS = parse_address("tally.example.org:2222")
NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


def _described(certificate: Path) -> str:
    done = subprocess.run(["ssh-keygen", "-L", "-f", certificate], capture_output=True, text=True, check=True)
    return " ".join(done.stdout.split())


def test_a_new_tally_has_everything_with_the_right_modes(tmp_path: Path) -> None:
    create_authority(tmp_path / "tally", ADDRESS)
    folder = tmp_path / "tally"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes["authority"] == 0o700
    assert stat.S_IMODE((folder / "authority" / "authority_key").stat().st_mode) == 0o600
    for secret in ("host_key", "station", "settings.json", "stations.json"):
        assert modes[secret] == 0o600, secret
    document = yaml.safe_load((folder / "unbrick.yaml").read_text())
    assert document == {
        "tally": {
            "address": "tally.example.org:2222",
            "host_ca": (folder / "authority.pub").read_text().strip(),
        },
        "identity": {"key": "station", "certificate": "station-cert.pub"},
        "site": "main",
        "technician": None,
        "mode": "unattended",
        "finish": "restart",
        "keys": [],
    }


def test_openssh_reads_the_certificates_as_we_mean_them(tmp_path: Path) -> None:
    create_authority(tmp_path, ADDRESS, now=NOW)
    host = _described(tmp_path / "host_key-cert.pub")
    assert "ssh-ed25519-cert-v01@openssh.com host certificate" in host
    assert "Valid: forever" in host
    assert "Principals: tally.example.org Critical Options: (none)" in host
    station = _described(tmp_path / "station-cert.pub")
    assert "user certificate" in station
    assert "Valid: before 2028-11-24" in station
    assert "Principals: station Critical Options: (none) Extensions: (none)" in station
    public = subprocess.run(
        ["ssh-keygen", "-y", "-f", tmp_path / "station"], capture_output=True, text=True, check=True
    )
    assert public.stdout.split()[:2] == _registered_keys(tmp_path)[0].split()


def _registered_keys(folder: Path) -> list[str]:
    register = StationRegister(folder / "stations.json")
    register.refresh()
    return [one.public_key for one in register.stations]


def test_a_folder_that_holds_anything_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(UsageError, match="not empty"):
        create_authority(tmp_path, ADDRESS)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    with pytest.raises(UsageError, match="is no folder"):
        create_authority(tmp_path / "mine", ADDRESS)


def test_a_name_is_of_one_station_for_ever(tmp_path: Path) -> None:
    tally = tmp_path / "tally"
    create_authority(tally, ADDRESS)
    first = enrol(tally, "stick-7", "st-marys", tmp_path / "one")
    assert yaml.safe_load((tmp_path / "one" / "unbrick.yaml").read_text())["site"] == "st-marys"
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [
        "station",
        "station-cert.pub",
        "unbrick.yaml",
    ]
    with pytest.raises(UsageError, match="enrolled already"):
        enrol(tally, "stick-7", "st-marys", tmp_path / "two")
    assert [one.serial for one in revoke(tally, "stick-7")] == [first.serial]
    with pytest.raises(UsageError, match="revoked already"):
        revoke(tally, "stick-7")
    with pytest.raises(UsageError, match="its reports keep that name") as refused:
        enrol(tally, "stick-7", "st-marys", tmp_path / "three")
    assert "stick-7-2" in (refused.value.hint or "")
    assert not (tmp_path / "three").exists()
    other = enrol(tally, "stick-7-2", "st-marys", tmp_path / "three")
    assert other.serial == first.serial + 1
    assert other.public_key != first.public_key


@pytest.mark.parametrize(
    ("name", "site"), [("Stick", "a"), ("", "a"), ("../x", "a"), ("a", "St. Mary"), ("a" * 65, "a")]
)
def test_a_name_that_no_event_could_carry_is_refused(tmp_path: Path, name: str, site: str) -> None:
    create_authority(tmp_path / "tally", ADDRESS)
    with pytest.raises(UsageError):
        enrol(tmp_path / "tally", name, site, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_register_is_read_again_when_another_process_changed_it(tmp_path: Path) -> None:
    create_authority(tmp_path, ADDRESS)
    register = StationRegister(tmp_path / "stations.json")
    register.refresh()
    station = register.current("station")
    assert station is not None
    revoke(tmp_path, "station")
    register.refresh()
    assert register.current("station") is None
    assert register.is_revoked(station.serial)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"version": 1, "stations": [{"name": "x"}]}', b'{"version": 9}']
)
def test_a_damaged_register_lets_nobody_in(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "stations.json"
    write_register(path, ())
    register = StationRegister(path)
    register.refresh()
    path.write_bytes(content)
    with pytest.raises(RegisterError):
        register.refresh()
    path.unlink()
    with pytest.raises(RegisterError):
        register.refresh()


def test_an_authority_with_a_passphrase_is_refused_in_a_sentence(tmp_path: Path) -> None:
    create_authority(tmp_path / "tally", ADDRESS)
    (tmp_path / "key").write_bytes(private_text(new_key(), b"long words"))
    with pytest.raises(UsageError, match=r"private key cannot be used: .*/key: the key has a passphrase"):
        enrol(tmp_path / "tally", "st-1", "north", tmp_path / "out", authority=tmp_path / "key")
    assert not (tmp_path / "out").exists()
