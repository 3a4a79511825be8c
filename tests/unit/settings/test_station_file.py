"""`unbrick.yaml`: taken as the contract shows it, refused with one sentence for everything else."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.stations import MadeStation, make_station

from unbrick.errors import UsageError
from unbrick.report.outbox import DEFAULT_FOLDER, outbox_folder
from unbrick.settings.station_file import Helpdesk, Network, Station, load_station
from unbrick.settings.strict import StrictError
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
    with pytest.raises(
        StrictError, match=f":1: {there}: expected {missing} beside it: `tally` and `identity` go together"
    ):
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
    ("old", "new", "line", "said"),
    [
        ("site:", "sight:", 3, "a station file: expected one of tally, identity, site, "),
        ("site:", "sight:", 3, "not 'sight': did you mean site?"),
        ("site: st-marys", "site: St Mary's", 3, "site: expected small letters, digits, - and _ only, "),
        ("site: st-marys", "site: St Mary's", 3, ", not 'St Mary's'"),
        ("site: st-marys", "site: 7", 3, "YAML takes '7' for a number, put it in quotes"),
        ("site: st-marys", "mode: fast", 3, "mode: expected unattended or guided, not 'fast'"),
        ("site: st-marys", "mode:", 3, "mode: expected unattended or guided, not nothing"),
        ("site: st-marys", "finish: [restart]", 3, "finish: expected restart or power-off or wait, not a"),
        ("site: st-marys", "keys: keys.csv", 3, "keys: expected a list of 0 to 32, not 'keys.csv'"),
        ("site: st-marys", "keys: [1]", 3, "keys[0]: expected the name of a file beside this one; YAML"),
        ("site: st-marys", "keys: [missing.csv]", 3, "keys[0]: expected a file that is there, beside this "),
        ("site: st-marys", "keys: [missing.csv]", 3, "one, not 'missing.csv'"),
        ("site: st-marys", f"keys: [{'a,' * 33}]", 3, "keys: expected a list of 0 to 32, not of 33"),
        ("site: st-marys", "site: a\nsite: b", 4, "expected 'site' only once"),
        ("site: st-marys", "site: &a b", 3, "anchors (&name) are refused"),
        ("site: st-marys", "site: !!str a", 3, "tags (!name) are refused"),
        ("site: st-marys", "site: [[[[a]]]]", 3, "at most 4 levels of nesting"),
        ("site: st-marys", "site: [", 4, "expected YAML: "),
        ("site: st-marys", "? [a]\n: b", 3, "helpdesk, not a list"),
        ("site: st-marys", "shell: maybe", 3, "shell: expected true or false, not 'maybe'"),
        (
            "site: st-marys",
            "network: {vlan: 4095}",
            3,
            "network.vlan: expected a number from 1 to 4094, not '4",
        ),
        (
            "site: st-marys",
            "network: {vlan: '7'}",
            3,
            "network.vlan: expected a number from 1 to 4094, not '7",
        ),
        ("site: st-marys", "network: {address: 10.0.0.5}", 3, "as in 10.0.0.5/24, not '10.0.0.5'"),
        (
            "site: st-marys",
            "network: {dns: [ns1]}",
            3,
            "network.dns[0]: expected an address, as in 10.0.0.1, ",
        ),
        (
            "site: st-marys",
            "network: {dns: [a, b, c, d]}",
            3,
            "network.dns: expected a list of 0 to 3, not of",
        ),
        (
            "site: st-marys",
            "network: {gateway: 10.0.0.1}",
            3,
            "network.gateway: expected an address beside it",
        ),
        ("site: st-marys", "helpdesk: 112", 3, "helpdesk: expected a mapping of keys, not '112'"),
        ("site: st-marys", "helpdesk: {}", 3, "helpdesk: expected a name, a telephone, or both"),
        ("site: st-marys", "helpdesk: {phone: '112'}", 3, "not 'phone': did you mean telephone?"),
        (
            "site: st-marys",
            "helpdesk: {telephone: 4420794600}",
            3,
            "helpdesk.telephone: expected a number in ",
        ),
        (
            "site: st-marys",
            "helpdesk: {telephone: 4420794600}",
            3,
            "'4420794600' for a number, put it in quo",
        ),
        ("site: st-marys", "helpdesk: {telephone: 'call Jo'}", 3, "'0800 123 ext 4', not 'call Jo'"),
        (
            "site: st-marys",
            f"helpdesk: {{telephone: '{'1' * 31}'}}",
            3,
            "helpdesk.telephone: expected a numb",
        ),
        (
            "site: st-marys",
            f"helpdesk: {{name: {'x' * 41}}}",
            3,
            "helpdesk.name: expected at most 40 characters, ",
        ),
        (
            "address:",
            "adress:",
            1,
            "tally: expected one of address, host_ca, not 'adress': did you mean address?",
        ),
        ("127.0.0.1:1", "127.0.0.1", 1, "tally.address: expected HOST:PORT, or [IPV6]:PORT, not '127.0.0.1'"),
        (
            "127.0.0.1:1",
            "127.0.0.1:0",
            1,
            "tally.address: expected a port from 1 to 65535, not '127.0.0.1:0'",
        ),
        ("127.0.0.1:1", "127.0.0.1:65536", 1, "tally.address: expected a port"),
        ("127.0.0.1:1", ":22", 1, "tally.address: expected HOST:PORT"),
        ("127.0.0.1:1", "a b:22", 1, "tally.address: expected HOST:PORT"),
        ("127.0.0.1:1", "tally..example:22", 1, "tally.address: expected HOST:PORT"),
        ("127.0.0.1:1", f"{'t' * 64}.example:22", 1, "tally.address: expected HOST:PORT"),
        ("127.0.0.1:1", "-oProxyCommand=x:22", 1, "tally.address: expected HOST:PORT"),
        (
            'host_ca: "ssh-ed25519',
            'host_ca: "ssh-rsa',
            1,
            "tally.host_ca: expected an OpenSSH public key line",
        ),
        ('host_ca: "ssh-ed25519 AAAA', 'host_ca: "ssh-ed25519 AAAB', 1, "tally.host_ca: expected an OpenSSH"),
        ("identity:", "tally:", 2, "a station file: expected 'tally' only once"),
        ("key: station,", "key: ../station,", 2, "identity.key: expected a file beside this one, in its fol"),
        ("key: station,", "key: ../station,", 2, "folder, not '../station'"),
        ("key: station,", "key: /etc/hostname,", 2, "a file beside this one, in its folder"),
        ("key: station,", "key: .,", 2, "a file beside this one, in its folder"),
        ("key: station,", "key: link,", 2, "a file beside this one, in its folder"),
        ("key: station,", "key: loop,", 2, "'loop'"),
        ("key: station,", "", 2, "identity: expected the key 'key', which is missing"),
        ("key: station,", "key: null,", 2, "identity: expected the key 'key', which is missing"),
    ],
)
def test_what_is_not_as_it_must_be_is_refused_and_named(
    made: MadeStation, old: str, new: str, line: int, said: str
) -> None:
    outside = made.file.parent.parent / "station"
    outside.touch()
    (made.file.parent / "link").symlink_to(outside)
    (made.file.parent / "loop").symlink_to("loop")
    with pytest.raises(StrictError) as caught:
        load_station(edited(made, old, new))
    assert [one for one in caught.value.problems if one.line == line and said in one.message]
    assert caught.value.message.startswith(f"{made.file}:")
    assert caught.value.exit_code == 2
    assert caught.value.hint


def test_every_fault_is_told_at_once(made: MadeStation) -> None:
    more = "mode: fast\nkeys: [a.csv]\nsight: b\nnetwork: {vlan: 0, gateway: 10.0.0.1}\n"
    with pytest.raises(StrictError) as caught:
        load_station(edited(made, "site: st-marys\n", more))
    told = [(one.line, one.message.partition(":")[0]) for one in caught.value.problems]
    assert told == [
        (3, "mode"),
        (4, "keys[0]"),
        (5, "a station file"),
        (6, "network.vlan"),
        (6, "network.gateway"),
    ]
    assert all(one.message in caught.value.message for one in caught.value.problems)


@pytest.mark.parametrize("word", ["true", "yes", "on", "True"])
def test_a_shell_may_be_allowed_with_every_word_that_yaml_has_for_it(made: MadeStation, word: str) -> None:
    assert load_station(edited(made, "site: st-marys", f"shell: {word}")).shell is True


def test_a_key_without_a_value_is_a_key_that_is_not_given(made: MadeStation) -> None:
    station = load_station(edited(made, "site: st-marys", "site:\nkeys:\nnetwork: ~\nhelpdesk: null"))
    assert (station.site, station.keys, station.network, station.helpdesk) == (None, (), Network(), None)


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
@example(b"{}")
def test_arbitrary_bytes_raise_nothing_but_ours_and_set_nothing(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("arbitrary") / "unbrick.yaml"
    path.write_bytes(data)
    with contextlib.suppress(UsageError):
        assert load_station(path) == Station(path)


def test_a_station_is_frozen_and_reports_wait_beside_its_file(made: MadeStation) -> None:
    station = load_station(made.file)
    assert isinstance(station, Station)
    assert outbox_folder(made.file) == made.file.parent / "outbox"


def test_where_the_folder_cannot_be_written_reports_wait_on_the_computer() -> None:
    assert outbox_folder(Path("/sys/kernel/unbrick.yaml")) == DEFAULT_FOLDER
