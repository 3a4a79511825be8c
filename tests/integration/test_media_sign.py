"""`unbrick media sign`, from outside: what is signed, and that a change of any of it is seen."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.own_playbooks import write_playbook
from support.program import at_terminal, run_program
from support.stations import make_station, private_text

KEYS = "KeyID,RecoveryKey\n"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "site-key"
    path.write_bytes(private_text(Ed25519PrivateKey.generate()))
    path.chmod(0o600)
    return path


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    """A stick's partition as a folder."""
    folder = tmp_path / "UNBRICK"
    make_station(folder, more="site: st-marys\nkeys: [keys.csv]\n")
    (folder / "keys.csv").write_text(KEYS)
    write_playbook(folder / "playbooks" / "mine.yaml")
    (folder / "outbox").mkdir()
    (folder / "outbox" / "report").write_text("x")
    return folder


def sign(folder: Path, key: Path, *options: str) -> tuple[int, dict[str, list[str]]]:
    ended = run_program("media", "sign", folder, "--site-key", key, "--json", *options)
    return ended.code, ended.document


ALL = ["keys.csv", "playbooks/mine.yaml", "station", "station-cert.pub", "unbrick.yaml"]


def test_everything_that_a_station_would_use_is_signed_and_any_change_is_seen(stick: Path, key: Path) -> None:
    code, document = sign(stick, key)
    assert (code, document["signed"]) == (0, ALL)
    code, document = sign(stick, key, "--check")
    assert (code, document["signed"], document["problems"]) == (0, ALL, [])
    listed = json.loads((stick / "unbrick-signed.json").read_bytes())
    assert sorted(listed["files"]) == ALL
    for name in ALL:
        whole = (stick / name).read_bytes()
        (stick / name).write_bytes(whole + b"\n")
        code, document = sign(stick, key, "--check")
        assert (code, document["problems"]) == (1, [f"{name} is not as it was signed"])
        (stick / name).write_bytes(whole)
    (stick / "playbooks" / "more.yaml").write_bytes((stick / "playbooks" / "mine.yaml").read_bytes())
    code, document = sign(stick, key, "--check")
    assert (code, document["problems"]) == (1, ["playbooks/more.yaml is not among the signed files"])


def test_a_playbook_that_the_settings_name_is_signed_wherever_it_lies(stick: Path, key: Path) -> None:
    mine = (stick / "playbooks" / "mine.yaml").read_bytes()
    (stick / "named.yaml").write_bytes(mine)
    with (stick / "unbrick.yaml").open("a") as stream:
        stream.write("playbooks: [named.yaml, ./playbooks/mine.yaml]\n")
    code, document = sign(stick, key)
    assert (code, document["signed"]) == (0, sorted([*ALL, "named.yaml"]))
    (stick / "named.yaml").write_text("id: [")
    assert run_program("media", "sign", stick, "--site-key", key).code == 2


def test_settings_without_a_tally_are_signed(tmp_path: Path, key: Path) -> None:
    (tmp_path / "unbrick.yaml").write_text("mode: unattended\nkeys: [keys.csv]\n")
    (tmp_path / "keys.csv").write_text(KEYS)
    code, document = sign(tmp_path, key)
    assert (code, document["signed"]) == (0, ["keys.csv", "unbrick.yaml"])


def test_another_key_and_a_changed_list_are_seen(stick: Path, key: Path, tmp_path: Path) -> None:
    sign(stick, key)
    other = tmp_path / "other"
    other.write_bytes(private_text(Ed25519PrivateKey.generate()))
    code, document = sign(stick, other, "--check")
    assert code == 1
    assert "another key" in document["problems"][0]
    path = stick / "unbrick-signed.json"
    path.write_bytes(path.read_bytes().replace(b'"size":', b'"size":1', 1))
    code, document = sign(stick, key, "--check")
    assert (code, document["signed"]) == (1, [])
    assert "changed after it was signed" in document["problems"][0]
    path.unlink()
    assert sign(stick, key, "--check")[1]["problems"] == ["unbrick-signed.json is missing"]


def test_a_passphrase_is_asked_for_at_the_terminal_and_an_agent_is_asked_first(
    stick: Path, tmp_path: Path
) -> None:
    locked = tmp_path / "locked"
    locked.write_bytes(private_text(Ed25519PrivateKey.generate(), b"long words"))
    locked.chmod(0o600)
    refused = run_program("media", "sign", stick, "--site-key", locked)
    assert refused.code == 2
    assert "could not sign with this key" in refused.err
    with at_terminal("media", "sign", stick, "--site-key", locked) as person:
        person.wait_for("passphrase")
        person.type("long words")
        person.wait_for("5 files")
        assert person.end() == 0
    assert sign(stick, locked, "--check")[0] == 0


def test_a_key_in_an_agent_signs_without_being_asked_for(
    stick: Path, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = tmp_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE) as agent:
        try:
            assert agent.stdout is not None
            agent.stdout.readline()
            monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
            subprocess.run(["ssh-add", "-q", key], check=True, env=os.environ, capture_output=True)
            public = tmp_path / "elsewhere.pub"
            line = subprocess.run(["ssh-keygen", "-y", "-f", key], capture_output=True, check=True).stdout
            public.write_bytes(line)
            key.unlink()
            assert sign(stick, public)[0] == 0
            assert sign(stick, public, "--check")[0] == 0
        finally:
            agent.terminate()


def test_what_cannot_be_signed_is_refused_in_a_line(stick: Path, key: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder in (empty, tmp_path / "missing", key):
        ended = run_program("media", "sign", folder, "--site-key", key)
        assert ended.code == 2
        assert "what to do" in ended.err
    (stick / "playbooks" / "mine.yaml").write_text("id: [")
    assert run_program("media", "sign", stick, "--site-key", key).code == 2
    (stick / "playbooks" / "mine.yaml").unlink()
    for name in ("more.yml", "more.YAML"):
        (stick / "playbooks" / name).write_text("id: more")
        ended = run_program("media", "sign", stick, "--site-key", key)
        assert (ended.code, f"{name}: its name must end in .yaml" in ended.err) == (2, True), ended.said
        (stick / "playbooks" / name).unlink()
    (stick / "keys.csv").rename(stick / "real.csv")
    (stick / "keys.csv").symlink_to("real.csv")
    ended = run_program("media", "sign", stick, "--site-key", key)
    assert ended.code == 2
    assert "link" in ended.err
    assert not (stick / "unbrick-signed.json").exists()
