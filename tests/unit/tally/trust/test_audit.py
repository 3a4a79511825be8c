from __future__ import annotations

import fcntl
import json
import os
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from unbrick.files import opened_for_owner
from unbrick.tally.door import condition, server
from unbrick.tally.door.condition import is_served, read_condition, read_trouble, write_condition
from unbrick.tally.folder import TallyFolder
from unbrick.tally.trust.audit import AuditLog, AuditSettings


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def _refused(path: Path) -> list[dict[str, Any]]:
    return _lines(path.with_name("refusals.log"))


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_refusal_is_one_line_with_who_where_and_why(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    AuditLog(path, clock=Clock()).refused("an expired certificate", where="10.0.0.7:5", who="stick-7")
    assert _refused(path) == [
        {
            "at": "2027-01-15T08:00:00.000000Z",
            "what": "refused",
            "why": "an expired certificate",
            "from": "10.0.0.7:5",
            "who": "stick-7",
        }
    ]
    assert stat.S_IMODE(path.with_name("refusals.log").stat().st_mode) == 0o600


def test_a_flood_is_counted_and_summed_up(tmp_path: Path) -> None:
    path, clock = tmp_path / "audit.log", Clock()
    audit = AuditLog(path, AuditSettings(burst=50, window=60), clock)
    for port in range(1000):
        audit.refused("no SSH", where=f"10.0.0.7:{port}")
    audit.refused("no SSH", where="10.0.0.8:1")
    assert len(_refused(path)) == 51
    clock.now += 61
    audit.tick()
    lines = _refused(path)
    assert len(lines) == 52
    assert (lines[-1]["more"], lines[-1]["from"], lines[-1]["why"]) == (950, "10.0.0.7", "no SSH")
    audit.refused("no SSH", where="10.0.0.7:1")
    assert len(_refused(path)) == 53


def test_what_a_client_says_cannot_forge_a_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    AuditLog(path).refused("x", where="a:1", who='"}\n{"what":"enrolled"}' + "\x1b[2J" + "y" * 5000)
    (line,) = path.with_name("refusals.log").read_text().splitlines()
    assert json.loads(line)["what"] == "refused"
    assert len(line) < 1000
    assert "\\u001b" not in line


def test_the_log_rotates_and_keeps_so_many_files(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    audit = AuditLog(path, AuditSettings(most_bytes=200, files=3))
    for number in range(40):
        audit.tell("event", number=number)
    audit.tell("last")
    names = sorted(one.name for one in tmp_path.iterdir())
    assert {"audit.log.1", "audit.log.2"} <= set(names) <= {"audit.log", "audit.log.1", "audit.log.2"}
    last = [line for name in names for line in _lines(tmp_path / name)]
    assert any(line["what"] == "last" for line in last)


def test_a_log_that_cannot_be_put_aside_grows(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    (tmp_path / "audit.log.1").mkdir()
    audit = AuditLog(path, AuditSettings(most_bytes=200, files=2))
    for number in range(20):
        audit.tell("event", number=number)
    assert [line["number"] for line in _lines(path)] == list(range(20))


def test_lines_wait_while_they_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.mkdir()
    audit = AuditLog(path)
    audit.tell("first")
    audit.tell("second")
    path.rmdir()
    audit.tick()
    assert [line["what"] for line in _lines(path)] == ["first", "second"]


def test_a_condition_is_told_in_place_and_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "condition"
    assert read_condition(path) is None
    write_condition(path, "the disk is full")
    inode, size = path.stat().st_ino, path.stat().st_size
    assert read_condition(path) == "the disk is full"
    write_condition(path, "ü" * 600)
    assert (path.stat().st_ino, path.stat().st_size) == (inode, size)
    write_condition(path, "")
    assert read_condition(path) is None


def test_many_addresses_cannot_flood_the_log_either(tmp_path: Path) -> None:
    path, clock = tmp_path / "audit.log", Clock()
    audit = AuditLog(path, AuditSettings(burst=2, window=60, most_lines=100), clock)
    for number in range(5000):
        audit.refused("no SSH", detail=f"variant {number}", where=f"2001:db8::{number:x}:22")
    assert len(_refused(path)) <= 103
    clock.now += 61
    audit.tick()
    assert sum(line.get("more", 1) for line in _refused(path)) == 5000
    audit.refused("no SSH", where="10.0.0.1:1")
    assert _refused(path)[-1]["from"] == "10.0.0.1:1"


def test_who_only_looks_keeps_no_server_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = TallyFolder(tmp_path)
    assert not is_served(folder)
    with (
        opened_for_owner(folder.lock, os.O_RDWR) as looking,
        opened_for_owner(folder.lock, os.O_RDWR) as serving,
    ):
        fcntl.flock(looking, fcntl.LOCK_SH)
        monkeypatch.setattr(time, "sleep", lambda _: fcntl.flock(looking, fcntl.LOCK_UN))
        server._lock(serving)
        assert is_served(folder)
    assert not is_served(folder)


_LOOK = """
import sys
from pathlib import Path
from unbrick.tally.door.condition import read_trouble
from unbrick.tally.folder import TallyFolder
print(read_trouble(TallyFolder(Path(sys.argv[1]))))
"""


def test_an_account_that_may_only_look_is_told_whether_anything_serves_and_what_it_cannot_know() -> None:
    # Not in pytest's own folder: every other run of pytest closes that to other accounts again.
    with tempfile.TemporaryDirectory() as root:
        Path(root).chmod(0o755)
        folder = TallyFolder(Path(root))

        def told() -> str:
            command = [sys.executable, "-c", _LOOK, root]
            done = subprocess.run(
                command, capture_output=True, text=True, check=True, user=65534, group=65534
            )
            return done.stdout

        with opened_for_owner(folder.lock, os.O_RDWR) as serving:
            server._lock(serving)
            assert told() == "None\n"
            write_condition(folder.condition, "")
            assert "not known from this account: give it read permission" in told()
            folder.condition.chmod(0o644)
            assert told() == "None\n"
        assert told().startswith("nothing serves this tally")


@pytest.mark.parametrize("kept", ["locks", "namespace"])
def test_where_the_kernel_does_not_say_who_holds_the_lock_nobody_claims_that_it_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    (tmp_path / "locks").write_text("1: POSIX  ADVISORY  READ 7875 fe:00:1 128 128\n")
    (tmp_path / "namespace").symlink_to("pid:[4026532999]")
    nowhere = tmp_path / "nowhere"
    monkeypatch.setattr(condition, "_LOCKS", nowhere if kept == "namespace" else tmp_path / "locks")
    monkeypatch.setattr(condition, "_NAMESPACE", tmp_path / "namespace")
    folder = TallyFolder(tmp_path)
    folder.lock.symlink_to(tmp_path / "locks")  # cannot be opened, and not for want of a file
    assert is_served(folder) is None
    trouble = read_trouble(folder)
    assert trouble is not None
    assert "is not known from this account" in trouble


def test_strangers_flush_nothing_of_what_persons_did(tmp_path: Path) -> None:
    """Forty refused logins a second from ever other addresses, for two days."""
    path, clock = tmp_path / "audit.log", Clock()
    settings = AuditSettings(most_bytes=20_000, files=3, most_lines=20)
    audit = AuditLog(path, settings, clock)
    audit.tell("revoked", station="stick-7", serial=7, by="eve")
    for second in range(2 * 86_400 // 60):
        clock.now += 60
        for number in range(40):
            where = f"10.{second % 256}.{number}.1:5"
            audit.refused("a certificate of another authority", where=where)
        audit.tick()
    assert [line["what"] for line in _lines(path)] == ["revoked"]
    kept = [one for one in tmp_path.iterdir() if one.name.startswith("refusals.log")]
    assert sum(one.stat().st_size for one in kept) <= 3 * 21_000


def test_sessions_of_a_station_that_comes_again_and_again_are_summed_up(tmp_path: Path) -> None:
    path, clock = tmp_path / "audit.log", Clock()
    audit = AuditLog(path, clock=clock)
    for _ in range(1000):
        audit.session("stick-7", where="10.0.0.7:5", seconds=1, events=2, refused=0)
    audit.session("stick-8", where="10.0.0.8:5", seconds=1, events=3, refused=0)
    clock.now += 61
    audit.tick()
    lines = _lines(path)
    assert len(lines) == 7
    assert sum(line["events"] for line in lines) == 2003
    assert lines[-1]["more"] == 995


def test_the_log_is_told_each_line_as_a_sentence(tmp_path: Path) -> None:
    said: list[str] = []
    audit = AuditLog(tmp_path / "audit.log", log=lambda _, text: said.append(text))
    audit.tell("enrolled", station="stick-7", serial=7)
    audit.refused("no SSH", detail="a\nb", where="10.0.0.7:5")
    assert said == ["enrolled: station=stick-7 serial=7", "refused: no SSH detail=a�b from=10.0.0.7:5"]
