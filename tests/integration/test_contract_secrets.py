"""No secret leaks: while a repair runs, every argument list and every write of every process is watched."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.drilled import Drilled, Drills, open_volume
from support.program import run_program

pytestmark = pytest.mark.usefixtures("leaves_nothing")


def _shapes(password: str) -> set[bytes]:
    """The password as it could be written: with dashes, spaces or nothing between, and as UTF-16."""
    texts = {password, password.replace("-", " "), password.replace("-", ""), password[:27]}
    return {text.encode(code) for text in texts for code in ("ascii", "utf-16-le")}


def _holds_none(data: bytes, password: str) -> bool:
    return not any(shape in data for shape in _shapes(password))


def _trace(folder: Path, *arguments: str) -> tuple[bytes, bytes]:
    """What the program printed, and strace's record of every exec, open and write, of each process."""
    record = folder / "trace"
    calls = "execve,execveat,openat,open,creat,write,pwrite64,writev,pwritev,sendto,sendmsg,memfd_create"
    argv = ["strace", "-f", "-ff", "-qq", "-y", "-s", "4096", "-x", "-e", f"trace={calls}", "-o", str(record)]
    done = subprocess.run(
        [*argv, sys.executable, "-m", "unbrick", *arguments], capture_output=True, check=False, timeout=180
    )
    return done.stdout + done.stderr, b"".join(path.read_bytes() for path in folder.glob("trace.*"))


def _without_standard_input(trace: bytes, password: str) -> bytes:
    """The record without the one way a password may go: alone, by a pipe, to a program's standard input."""
    handed = rb'write\(\d+<pipe:\[\d+\]>, "' + re.escape(password.encode()) + rb'", 55\) = 55\n'
    return re.sub(handed, b"", trace)


def _unescaped(trace: bytes) -> bytes:
    return re.sub(rb"\\x([0-9a-f]{2})", lambda match: bytes([int(match[1], 16)]), trace)


@pytest.mark.parametrize("verb", ["diagnose", "repair"])
def test_the_password_is_in_no_argument_no_write_and_no_output(
    drills: Drills, tmp_path: Path, verb: str
) -> None:
    disk = drills.copy("xts-128", tmp_path / "disks")
    (password,) = disk.passwords().values()
    folder = tmp_path / "traces"
    folder.mkdir()
    yes = ["--yes"] if verb == "repair" else []
    said, trace = _trace(folder, verb, str(disk.image), "--keys", str(disk.keys), "--json", *yes)
    assert (b'"repaired"' if yes else b'"found"') in said
    assert _holds_none(said, password)
    # The watch itself is no blind one: it saw the helpers start and the report being written.
    for seen in (b'"ntfs-3g"', b'"dislocker"', b"disk_guid"):
        assert seen in trace
    trace = _without_standard_input(trace, password)
    assert _holds_none(trace, password)
    assert _holds_none(_unescaped(trace), password)
    shutil.rmtree(folder)  # the record itself knows what went through that pipe
    _holds_no_key(disk, password, tmp_path)


def _holds_no_key(disk: Drilled, password: str, tmp_path: Path) -> None:
    """Neither the image nor any file that the repair made within the volume knows the password."""
    assert _holds_none(disk.image.read_bytes(), password)
    with open_volume(disk.image, disk.volume, disk.passwords()) as root:
        for path in root.glob("Unbrick/**/*"):
            assert not path.is_file() or _holds_none(path.read_bytes(), password)
    for path in tmp_path.rglob("*"):
        if path.is_file() and path not in {disk.image, disk.keys}:
            assert _holds_none(path.read_bytes(), password), path


def test_the_watch_would_see_a_password_in_an_argument(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("xts-128", tmp_path / "disks")
    (password,) = disk.passwords().values()
    said, trace = _trace(tmp_path, "diagnose", str(disk.image), "--keys", password)
    assert not _holds_none(trace, password)
    assert _holds_none(said, password)


def test_a_wrong_password_leaks_no_more_than_a_right_one(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("xts-128", tmp_path / "disks")
    (wrong,) = drills.copy("xts-256", tmp_path / "other").passwords().values()
    disk.keys.write_text(f"KeyID,RecoveryKey\n{disk.volume.protector},{wrong}\n")
    for options in ((), ("--json",)):
        ended = run_program("repair", disk.image, "--keys", disk.keys, "--yes", *options)
        assert ended.code == 4
        assert not any(group in ended.said for group in wrong.split("-"))
