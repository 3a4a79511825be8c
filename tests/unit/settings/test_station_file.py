"""`unbrick.yaml`: taken as the contract shows it, refused with one sentence for everything else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.stations import MadeStation, make_station

from unbrick.errors import UsageError
from unbrick.report.outbox import DEFAULT_FOLDER, outbox_folder
from unbrick.settings.station_file import Helpdesk, Station, StationFileError, load_station
from unbrick.tally.folder import parse_address


@pytest.fixture
def made(tmp_path: Path) -> MadeStation:
    return make_station(tmp_path / "stick")


def edited(made: MadeStation, old: str, new: str) -> Path:
    text = made.file.read_text()
    assert old in text
    made.file.write_text(text.replace(old, new))
    return made.file


def test_the_least_file_has_the_contract_s_defaults(made: MadeStation) -> None:
    station = load_station(made.file)
    tally = station.tally
    assert tally is not None
    assert (tally.host, tally.port, station.site) == ("127.0.0.1", 1, "st-marys")
    assert (station.technician, station.mode, station.finish, station.keys) == (
        None,
        "unattended",
        "restart",
        (),
    )
    assert tally.key == made.file.parent / "station"
    assert tally.certificate == made.file.parent / "station-cert.pub"
    assert tally.host_ca.startswith("ssh-ed25519 ")


def test_a_site_without_a_tally_names_neither_it_nor_an_identity(tmp_path: Path) -> None:
    file = tmp_path / "unbrick.yaml"
    (tmp_path / "keys.csv").touch()
    file.write_text("mode: unattended\nfinish: restart\nkeys: [keys.csv]\nsite: st-marys\n")
    station = load_station(file)
    assert (station.tally, station.site, station.mode) == (None, "st-marys", "unattended")
    assert station.keys == (tmp_path / "keys.csv",)


@pytest.mark.parametrize(("there", "missing"), [("tally", "identity"), ("identity", "tally")])
def test_a_tally_without_an_identity_is_refused_and_so_is_the_reverse(
    made: MadeStation, there: str, missing: str
) -> None:
    lines = made.file.read_text().splitlines()
    made.file.write_text("\n".join(line for line in lines if not line.startswith(f"{missing}:")) + "\n")
    assert f"{there}:" in made.file.read_text()
    with pytest.raises(StationFileError, match=f"{missing}: is missing; `tally` and `identity` go together"):
        load_station(made.file)


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("{telephone: '020 7946 0000', name: 'IT'}", "020 7946 0000 (IT)"),
        ("{telephone: '+49 (0)89/1234-56 ext. 7'}", "+49 (0)89/1234-56 ext. 7"),
        ("{name: Jo next door}", "Jo next door"),
    ],
)
def test_the_helpdesk_has_a_name_a_telephone_or_both(made: MadeStation, said: str, line: str) -> None:
    made.file.write_text(made.file.read_text() + f"helpdesk: {said}\n")
    helpdesk = load_station(made.file).helpdesk
    assert helpdesk is not None
    assert helpdesk.line == line
    assert len(Helpdesk("x" * 40, "+44 20 7946 0000 ext 1234").line) < 80


@pytest.mark.parametrize("host", ["tally", "tally_1.corp.example", "192.0.2.7", "tally.example."])
def test_every_name_that_a_tally_may_be_made_with_is_taken(tmp_path: Path, host: str) -> None:
    assert str(parse_address(f"{host}:2291")) == f"{host}:2291"
    tally = load_station(make_station(tmp_path, address=f"{host}:2291").file).tally
    assert tally is not None
    assert tally.host == host


def test_every_setting_of_the_contract_is_taken(tmp_path: Path) -> None:
    more = "site: a\ntechnician: Jo\nmode: guided\nfinish: power-off\nkeys: [keys.csv, more/keys.csv]\n"
    made = make_station(tmp_path, address="[fd00::1]:2222", more=more)
    (tmp_path / "keys.csv").touch()
    (tmp_path / "more").mkdir()
    (tmp_path / "more/keys.csv").touch()
    station = load_station(made.file)
    assert station.tally is not None
    assert (station.tally.host, station.tally.port) == ("fd00::1", 2222)
    assert (station.technician, station.mode, station.finish) == ("Jo", "guided", "power-off")
    assert station.keys == (tmp_path / "keys.csv", tmp_path / "more/keys.csv")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("site:", "sight:", "`sight` is no setting"),
        ("site: st-marys", "site: St Mary's", "site"),
        ("site: st-marys", "site: 7", "site: must be plain text"),
        ("site: st-marys", "mode: fast", "mode: must be one of unattended, guided"),
        ("site: st-marys", "finish: [restart]", "finish: must be one of"),
        ("site: st-marys", "keys: keys.csv", "keys: must be a list"),
        ("site: st-marys", "keys: [1]", "keys: must be plain text"),
        ("site: st-marys", "keys: [missing.csv]", "missing.csv: is not there"),
        ("site: st-marys", "site: a\nsite: b", "given twice"),
        ("site: st-marys", "site: &a b", "anchors"),
        ("site: st-marys", "site: [", "line"),
        ("site: st-marys", "? [a]\n: b", "has no name"),
        ("site: st-marys", "helpdesk: 112", "helpdesk: is missing or no table"),
        ("site: st-marys", "helpdesk: {}", "helpdesk: needs a name, a telephone, or both"),
        ("site: st-marys", "helpdesk: {phone: '112'}", "`phone` is no setting"),
        ("site: st-marys", "helpdesk: {telephone: 4420794600}", "helpdesk.telephone: must be plain text"),
        ("site: st-marys", "helpdesk: {telephone: 'call Jo'}", "helpdesk.telephone: a number in quotes"),
        ("site: st-marys", f"helpdesk: {{telephone: '{'1' * 31}'}}", "helpdesk.telephone: a number"),
        ("site: st-marys", f"helpdesk: {{name: {'x' * 41}}}", "helpdesk.name: at most 40"),
        ("address:", "adress:", "`adress` is no setting"),
        ("127.0.0.1:1", "127.0.0.1", "tally.address"),
        ("127.0.0.1:1", "127.0.0.1:0", "tally.address"),
        ("127.0.0.1:1", "127.0.0.1:65536", "tally.address"),
        ("127.0.0.1:1", ":22", "tally.address"),
        ("127.0.0.1:1", "a b:22", "tally.address"),
        ("127.0.0.1:1", "tally..example:22", "tally.address"),
        ("127.0.0.1:1", f"{'t' * 64}.example:22", "tally.address"),
        ("127.0.0.1:1", "-oProxyCommand=x:22", "tally.address"),
        ('host_ca: "ssh-ed25519', 'host_ca: "ssh-rsa', "tally.host_ca"),
        ('host_ca: "ssh-ed25519 AAAA', 'host_ca: "ssh-ed25519 AAAB', "tally.host_ca"),
        ("identity:", "tally:", "given twice"),
        ("key: station,", "key: ../station,", "beside this file"),
        ("key: station,", "key: /etc/hostname,", "beside this file"),
        ("key: station,", "key: .,", "beside this file"),
        ("key: station,", "key: link,", "beside this file"),
        ("key: station,", "key: loop,", "loop"),
        ("key: station,", "", "identity.key: is missing"),
        ("key: station,", "key: null,", "identity.key: is missing"),
    ],
)
def test_what_is_not_as_it_must_be_is_refused_and_named(
    made: MadeStation, old: str, new: str, said: str
) -> None:
    outside = made.file.parent.parent / "station"
    outside.touch()
    (made.file.parent / "link").symlink_to(outside)
    (made.file.parent / "loop").symlink_to("loop")
    with pytest.raises(StationFileError) as caught:
        load_station(edited(made, old, new))
    assert said in caught.value.message
    assert str(made.file) in caught.value.message
    assert caught.value.exit_code == 2
    assert caught.value.hint


@pytest.mark.parametrize("content", [b"", b"- a\n", b"\xff\xfe", b"a", b"[" * 5000, b"\0", b"x" * 70_000])
def test_a_file_that_is_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "unbrick.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError):
        load_station(path)


def test_a_missing_file_a_folder_and_a_pipe_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("missing", ".", "pipe"):
        with pytest.raises(UsageError):
            load_station(tmp_path / name)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_but_ours(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("arbitrary") / "unbrick.yaml"
    path.write_bytes(data)
    with pytest.raises(UsageError):
        load_station(path)


def test_a_station_is_frozen_and_reports_wait_beside_its_file(made: MadeStation) -> None:
    station = load_station(made.file)
    assert isinstance(station, Station)
    assert outbox_folder(made.file) == made.file.parent / "outbox"


def test_where_the_folder_cannot_be_written_reports_wait_on_the_computer() -> None:
    assert outbox_folder(Path("/sys/kernel/unbrick.yaml")) == DEFAULT_FOLDER
