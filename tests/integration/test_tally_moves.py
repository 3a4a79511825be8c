"""A tally of several addresses, one that moves, and the unit that serves it."""

from __future__ import annotations

import shutil
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from support.fake_tally import running_tally
from support.program import run_program
from support.ssh_credentials import make_credentials
from support.stations import make_station
from support.tally_client import StationFiles, audit_lines, make_event, sign
from support.tally_server import served_by_program, stored_ids

from unbrick.report.outbox import Outbox
from unbrick.report.session import TallyRefusedError, TallySession, TallyUnreachableError
from unbrick.settings.station_file import load_station
from unbrick.settings.strict import StrictError


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _send(file: Path, number: int) -> int:
    run = f"20240719T090000Z-0000{number:02x}"
    signed = sign(make_event(1, run=run).to_bytes(), StationFiles(file.parent).key)
    Outbox(file.parent / "outbox").put(signed)
    return run_program("outbox", "send", "--station", file).code


def test_a_tally_that_moved_is_found_by_its_second_address(tmp_path: Path) -> None:
    tally, stick = tmp_path / "tally", tmp_path / "stick"
    old, new = _free_port(), _free_port()
    first, second = f"127.0.0.1:{old}", f"127.0.0.2:{new}"
    made = run_program("tally", "init", tally, "--address", first, "--address", second)
    assert made.code == 0, made.said
    enrolled = run_program("tally", "enrol", tally, "stick-7", "--site", "north", "--out", stick)
    assert enrolled.code == 0
    loaded = load_station(stick / "unbrick.yaml").tally
    assert loaded is not None
    assert ((loaded.host, loaded.port), *loaded.others) == (("127.0.0.1", old), ("127.0.0.2", new))
    with served_by_program(tally, port=old):
        assert _send(stick / "unbrick.yaml", 1) == 0
    with served_by_program(tally, port=new, more=("--host", "127.0.0.2")):
        assert _send(stick / "unbrick.yaml", 2) == 0
    assert len(stored_ids(tally)) == 2


def test_the_certificate_of_a_tally_that_gets_a_new_address_names_it(tmp_path: Path) -> None:
    tally, drawer, port = tmp_path / "tally", tmp_path / "drawer", _free_port()
    made = run_program("tally", "init", tally, "--address", "tally.old.example", "--authority", drawer)
    assert made.code == 0
    station = tally / "unbrick.yaml"
    station.write_text(station.read_text().replace('"tally.old.example:2291"', f'["127.0.0.1:{port}"]'))
    with served_by_program(tally, port=port, more=("--host", "127.0.0.1")):
        assert _send(station, 1) == 1
    moved = ("tally", "address", tally, f"127.0.0.1:{port}", "tally.old.example")
    assert run_program(*moved).code == 2
    ended = run_program(*moved, "--authority", drawer)
    assert ended.code == 0, ended.said
    assert f'address: ["127.0.0.1:{port}", "tally.old.example:2291"]' in ended.out
    with served_by_program(tally, port=port, more=("--host", "127.0.0.1")):
        assert _send(station, 2) == 0
    assert len(stored_ids(tally)) == 2
    (line,) = [one for one in audit_lines(tally) if one["what"] == "address"]
    assert "tally.old.example:2291" in line["address"]
    enrolled = run_program(
        "tally", "enrol", tally, "x", "--site", "a", "--out", tmp_path / "x", "--authority", drawer
    )
    assert enrolled.code == 0
    assert f'["127.0.0.1:{port}", "tally.old.example:2291"]' in (tmp_path / "x" / "unbrick.yaml").read_text()


def test_each_address_must_be_the_tally_that_the_stick_was_made_for(tmp_path: Path) -> None:
    ours, strange = make_credentials(tmp_path / "ours"), make_credentials(tmp_path / "strange")
    with running_tally(ours.folder) as tally, running_tally(strange.folder) as stranger:
        there, elsewhere = ("127.0.0.1", tally.port), ("127.0.0.1", stranger.port)
        station = replace(ours.station(stranger.port), others=(there,))
        with TallySession.open(station) as session:
            assert session.is_open
        assert "login station-1" not in stranger.seen()
        with pytest.raises(TallyRefusedError, match="is not the one this stick was made for"):
            TallySession.open(replace(station, others=(elsewhere,)))
        # As long as one of them does not answer, it is worth another try.
        with pytest.raises(TallyUnreachableError, match=r"not the one.*cannot be reached"):
            TallySession.open(replace(station, others=(("127.0.0.1", _free_port()),)))


@pytest.mark.parametrize(
    "address",
    ["[]", "[a:1, a:1]", "[a:1, b]", "[a:1, 7]", "[[a:1]]", "[a:1, b:1, c:1, d:1, e:1]", "{a: 1}"],
)
def test_a_list_of_addresses_that_makes_no_sense_is_refused(tmp_path: Path, address: str) -> None:
    made = make_station(tmp_path / "stick")
    made.file.write_text(made.file.read_text().replace('"127.0.0.1:1"', address))
    with pytest.raises(StrictError, match="tally"):
        load_station(made.file)


def test_addresses_given_twice_or_too_many_are_refused(tmp_path: Path) -> None:
    twice = run_program("tally", "init", tmp_path / "t", "--address", "a:1", "--address", "a:1")
    assert (twice.code, "given twice" in twice.err) == (2, True)
    many = [part for number in range(5) for part in ("--address", f"a:{number + 1}")]
    assert run_program("tally", "init", tmp_path / "t", *many).code == 2
    assert not (tmp_path / "t").exists()


def _analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("more", [(), ("--authority", "/root/tally-authority/authority_key")])
def test_the_unit_is_one_and_leaves_little_open(tmp_path: Path, more: tuple[str, ...]) -> None:
    tally = tmp_path / "tally"
    assert run_program("tally", "init", tally).code == 0
    ended = run_program("tally", "unit", tally, "--user", "daemon", *more)
    assert ended.code == 0, ended.said
    unit = tmp_path / "unbrick-tally.service"
    unit.write_text(ended.out)
    verified = _analyze("verify", "--man=no", unit)
    assert (verified.returncode, verified.stderr) == (0, "")
    # 0 is the best of ten, 9.6 a service without any of it.
    judged = _analyze("security", "--offline=yes", "--threshold=20", "--no-pager", unit)
    assert judged.returncode == 0, judged.stdout
    assert ("LoadCredential" in ended.out) is bool(more)
    assert run_program("tally", "unit", tally, "--user", "no body").code == 2
    shutil.move(tally, tmp_path / "a tally")
    assert run_program("tally", "unit", tmp_path / "a tally").code == 2
