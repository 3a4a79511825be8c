"""What a repair has to refuse is foreseen: the dry run says so too, and not one bit is written."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.bricked_volume import fill, mounted
from support.drilled import Drills, cut_out
from support.program import run_program
from support.repair_journal import version1, version1_header

from unbrick.drill.disk.truth import sha256_of
from unbrick.model import RunState
from unbrick.repair.actions.quarantine_file import QuarantineFile
from unbrick.repair.journal.document import Journal
from unbrick.repair.journal.file import create_journal, open_journal
from unbrick.repair.quarantine import JOURNAL, make_run_folder

pytestmark = pytest.mark.usefixtures("leaves_nothing")

_RUN = "20240801T000000Z-0000aa"
_HIVE = "\\Windows\\System32\\config\\SYSTEM"


@pytest.fixture
def image(drills: Drills, tmp_path: Path) -> Path:
    """The faulty Windows volume of a drill disk alone: a disk without a table, easily altered."""
    disk = drills.copy("plain", tmp_path / "disks")
    cut_out(disk.image, disk.volume, tmp_path / "volume.img")
    return tmp_path / "volume.img"


def _plant_a_journal(root: Path) -> None:
    """One without an end, with the rights that only an administrator can set, that names a registry hive."""
    folder = _record(root, root / "Windows/System32/config/SYSTEM", _HIVE)
    opened = open_journal(folder)
    assert opened is not None
    (folder / JOURNAL).write_bytes(gzip.compress(version1(header=version1_header(opened.journal))))


def _record(root: Path, file: Path, source: str) -> Path:
    """The folder of a run whose journal says that it moves one file, and that it has done this."""
    entry = QuarantineFile.describe(file, source, "0001.bin", "crowdstrike-cf291")
    folder = make_run_folder(root, _RUN)
    begun = "2024-08-01T00:00:00Z"
    create_journal(folder, Journal(_RUN, "0.1.0", begun, False, (entry,), RunState.REPAIRED, begun))
    return folder


@pytest.mark.parametrize(
    ("alter", "reason"), [(fill, "disk-full"), (_plant_a_journal, "bad-journal")], ids=["full", "journal"]
)
def test_what_can_be_foreseen_is_refused_before_a_flag_is_set(
    image: Path, tmp_path: Path, alter: Callable[[Path], None], reason: str
) -> None:
    with mounted(image, tmp_path / "mount") as root:
        alter(root)
    before = sha256_of(image)
    for verb, *options in (["diagnose"], ["repair", "--dry-run"], ["repair", "--yes"]):
        ended = run_program(verb, image, "--json", *options)
        assert (ended.code, ended.document["reason"]) == (5, reason)
        assert _HIVE not in [a["path"] for i in ended.document["installations"] for a in i["actions"]]
    if reason == "bad-journal":
        ended = run_program("undo", image, "--yes", "--json")
        assert (ended.code, ended.document["reason"]) == (5, reason)
    assert sha256_of(image) == before


def test_an_earlier_run_whose_folder_is_gone_does_not_spoil_the_next(image: Path, tmp_path: Path) -> None:
    with mounted(image, tmp_path / "mount") as root:
        gone = root / "Windows/System32/drivers/Gone"
        gone.mkdir()
        former = gone / "former.sys"
        former.write_bytes(b"what an earlier run had moved")
        source = "\\Windows\\System32\\drivers\\Gone\\former.sys"
        shutil.move(former, _record(root, former, source) / "0001.bin")
        gone.rmdir()
    ended = run_program("repair", image, "--yes", "--json")
    assert (ended.code, ended.document["status"]) == (0, "repaired"), ended.out


def test_a_raw_image_shorter_than_a_sector_is_cut_short(tmp_path: Path) -> None:
    image = tmp_path / "short.img"
    image.write_bytes(bytes(511))
    for verb in ("scan", "diagnose"):
        document = run_program(verb, image, "--json").document
        assert (document["status"], document["reason"]) == ("needs-hands", "truncated")


def test_an_output_that_cannot_be_written_is_said(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    with open("/dev/full", "w") as full:  # noqa: PTH123
        ended = subprocess.run(
            [sys.executable, "-m", "unbrick", "scan", str(disk.image), "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 1
    assert "the output could not be" in ended.stderr
    assert "internal error" not in ended.stderr


def test_a_mistake_of_our_own_on_one_disk_stops_no_other(drills: Drills, tmp_path: Path) -> None:
    first, second = (drills.copy("plain", tmp_path / name) for name in ("first", "second"))
    program = (
        "import unbrick.recovery.story as r\n"
        "real = r.open_disk\n"
        "def fail(path, *rest): return 1 / 0 if 'first' in str(path) else real(path, *rest)\n"
        "r.open_disk = fail\n"
        "from unbrick.cli import main; main()"
    )
    argv = [sys.executable, "-c", program, "diagnose", str(first.image), str(second.image), "--json"]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    documents = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [one["status"] for one in documents] == ["failed", "found"]
    assert documents[0]["error"] == "internal error (ZeroDivisionError)"
    assert (ended.returncode, "Traceback" in ended.stderr) == (1, False)
    asked = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "UNBRICK_DEBUG": "1"},
    )
    assert "in fail" in asked.stderr


def test_a_missing_library_is_said_with_its_package(image: Path, tmp_path: Path) -> None:
    """As after a plain `pip install`, into an environment that does not see Debian's python3-hivex."""
    (tmp_path / "hivex.py").write_text("raise ImportError\n")
    before = sha256_of(image)
    ended = run_program("repair", image, "--yes", "--json", cwd=tmp_path)
    assert (ended.document["status"], ended.document["reason"], ended.code) == ("failed", "missing-tool", 1)
    assert "hivex is not installed" in ended.document["error"]
    assert "apt install python3-hivex" in ended.err
    assert sha256_of(image) == before
