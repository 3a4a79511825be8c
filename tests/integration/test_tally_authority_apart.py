"""The authority's private key apart from the tally: another account serves and looks, and never has it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest
from support.program import Ended, run_program
from support.tally_client import StationFiles, Talk, audit_lines
from support.tally_server import served_by_program

_ACCOUNT = 65534
_AS_ACCOUNT = ("setpriv", f"--reuid={_ACCOUNT}", f"--regid={_ACCOUNT}", "--clear-groups", "--no-new-privs")


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every account can reach; pytest's own is root's alone."""
    folder = Path(tempfile.mkdtemp(prefix="unbrick-apart-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _give_away(folder: Path, *, but: Path | None = None) -> None:
    for path in (folder, *folder.rglob("*")):
        if but is None or not path.is_relative_to(but):
            os.chown(path, _ACCOUNT, _ACCOUNT)


def _as_account(*arguments: str | Path) -> Ended:
    return run_program(*arguments, inside=_AS_ACCOUNT)


def _one_report(port: int, station: StationFiles, number: int) -> str:
    async def main() -> list[str]:
        async with await station.connect(port) as connection:
            talk = await Talk.begin(connection)
            answers = await talk.send(station.signed(number, 1))
        return [str(one["type"]) for one in answers]

    (answer,) = asyncio.run(main())
    return answer


def test_the_authority_has_a_folder_of_its_own(tmp_path: Path) -> None:
    tally = tmp_path / "tally"
    assert run_program("tally", "init", tally).code == 0
    assert stat.S_IMODE((tally / "authority").stat().st_mode) == 0o700
    assert stat.S_IMODE((tally / "authority" / "authority_key").stat().st_mode) == 0o600
    held = [path for path in tally.iterdir() if path.is_file() and b"PRIVATE" in path.read_bytes()]
    assert sorted(path.name for path in held) == ["host_key", "station"]


def test_an_account_without_the_authority_serves_and_looks_while_another_enrols(shared: Path) -> None:
    tally, out = shared / "tally", shared / "stick-7"
    assert run_program("tally", "init", tally).code == 0
    _give_away(tally, but=tally / "authority")
    refused = _as_account("tally", "enrol", tally, "x", "--site", "a", "--out", shared / "x")
    assert refused.code == 2
    assert "--authority FILE" in refused.err
    with served_by_program(tally, inside=_AS_ACCOUNT) as server:
        # Enrolled and revoked by root, while an account that cannot read the authority serves.
        enrolled = run_program("tally", "enrol", tally, "stick-7", "--site", "north", "--out", out)
        assert enrolled.code == 0, enrolled.said
        assert _one_report(server.port, StationFiles(out, "stick-7"), 1) == "acknowledge"
        for verb in ("status", "stations"):
            ended = _as_account("tally", verb, tally, "--json")
            assert ended.code == 0, ended.said
        assert json.loads(_as_account("tally", "status", tally, "--json").out)["total"] == 1
        assert _as_account("tally", "status", tally, "--check").code == 0
        assert run_program("tally", "revoke", tally, "stick-7", "--yes").code == 0
        assert _as_account("tally", "stations", tally, "--json").code == 0
        with pytest.raises(asyncssh.PermissionDenied):
            _one_report(server.port, StationFiles(out, "stick-7"), 2)
    foreign = [path for path in tally.iterdir() if path.stat().st_uid != _ACCOUNT]
    assert [path.name for path in foreign] == ["authority"]
    assert {line["what"] for line in audit_lines(tally)} >= {"started", "enrolled", "revoked"}


def test_an_account_that_may_not_see_who_is_enrolled_is_told_so(shared: Path) -> None:
    tally = shared / "tally"
    assert run_program("tally", "init", tally).code == 0
    tally.chmod(0o755)
    for name in ("tally.db", "settings.json"):
        (tally / name).chmod(0o644)
    assert _as_account("tally", "status", tally).code == 0
    refused = _as_account("tally", "stations", tally)
    assert (refused.code, refused.out) == (1, "")
    assert "this account may not see who is enrolled" in refused.err


def test_the_authority_may_be_kept_on_a_stick_in_a_drawer(tmp_path: Path) -> None:
    tally, drawer, out = tmp_path / "tally", tmp_path / "drawer", tmp_path / "out"
    assert run_program("tally", "init", tally, "--authority", drawer).code == 0
    assert not (tally / "authority").exists()

    def enrolling(name: str) -> tuple[str | Path, ...]:
        return ("tally", "enrol", tally, name, "--site", "north", "--out", out)

    refused = run_program(*enrolling("stick-7"))
    assert (refused.code, "--authority FILE" in refused.err) == (2, True)
    assert not out.exists()
    assert run_program("tally", "init", tmp_path / "other", "--authority", tmp_path / "wrong").code == 0
    wrong = run_program(*enrolling("stick-7"), "--authority", tmp_path / "wrong")
    assert (wrong.code, "not the key of this tally's authority" in wrong.err) == (2, True)
    for name, given in (("stick-7", drawer), ("stick-8", drawer / "authority_key")):
        enrolled = run_program(*enrolling(name), "--authority", given)
        assert enrolled.code == 0, enrolled.said
        assert run_program("tally", "revoke", tally, name, "--yes").code == 0
        shutil.rmtree(out)


def test_a_second_tally_may_have_the_same_authority(tmp_path: Path) -> None:
    drawer = tmp_path / "drawer"
    for name in ("one", "two"):
        assert run_program("tally", "init", tmp_path / name, "--authority", drawer).code == 0
    assert len({(tmp_path / name / "authority.pub").read_text() for name in ("one", "two")}) == 1


def test_the_folder_of_an_older_tally_still_enrols(tmp_path: Path) -> None:
    tally = tmp_path / "tally"
    assert run_program("tally", "init", tally).code == 0
    (tally / "authority" / "authority_key").rename(tally / "key")
    (tally / "authority").rmdir()
    (tally / "key").rename(tally / "authority")
    enrolled = run_program("tally", "enrol", tally, "stick-7", "--site", "north", "--out", tmp_path / "out")
    assert enrolled.code == 0, enrolled.said


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def _fill(folder: Path, *, but: int) -> None:
    """Leave so many pages of 4 KiB free."""
    (folder / "ballast").write_bytes(b"\0" * 4096 * (os.statvfs(folder).f_bavail - but))


@pytest.mark.parametrize("free", [0, 1, 2])
def test_a_stick_without_room_gets_no_key_and_is_named(tmp_path: Path, small_disk: Path, free: int) -> None:
    tally, out = tmp_path / "tally", small_disk / "out"
    assert run_program("tally", "init", tally).code == 0
    _fill(small_disk, but=free)
    ended = run_program("tally", "enrol", tally, "stick-7", "--site", "north", "--out", out)
    assert ended.code == 1
    assert f"cannot write in {out}: No space left on device" in ended.err
    assert not out.exists()
    assert "stick-7" not in run_program("tally", "stations", tally).out


def test_a_tally_without_room_enrols_nobody_and_is_named(tmp_path: Path, small_disk: Path) -> None:
    whole = tmp_path / "whole"
    assert run_program("tally", "init", whole).code == 0
    tally, out = small_disk / "tally", tmp_path / "out"
    tally.mkdir()
    for name in ("settings.json", "stations.json", "authority.pub"):
        shutil.copy(whole / name, tally / name)
    (tally / ".stations.json.lock").touch()
    _fill(small_disk, but=0)
    key = whole / "authority"
    ended = run_program("tally", "enrol", tally, "stick-7", "--site", "a", "--out", out, "--authority", key)
    assert ended.code == 1
    assert f"cannot write in {tally}: No space left on device" in ended.err
    assert not out.exists()
    out.mkdir()
    again = run_program("tally", "enrol", tally, "stick-7", "--site", "a", "--out", out, "--authority", key)
    assert (again.code, list(out.iterdir())) == (1, [])
