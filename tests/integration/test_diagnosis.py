"""Diagnosis of a real NTFS through a real ntfs-3g: real hives, WOF files, junctions, 100 ns times."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.hives import write_hive

from unbrick.diagnosis.diagnose import Diagnosis, diagnose
from unbrick.disks.ntfs.driver import mount_ntfs
from unbrick.incidents.library import load_library
from unbrick.model import Status, Verdict
from unbrick.processes.command import SystemRunner
from unbrick.windows.installation import find_installations
from unbrick.windows.ntfs_file import NtfsTimes, write_times

FOLDER = "Windows/System32/drivers/CrowdStrike"
HEADER = bytes.fromhex("AAAAAAAA01002301")
FAULTY_FROM = 133658357400000000  # 2024-07-19 04:09:00 UTC, in ticks of 100 ns since 1601
GOOD_FROM = 133658404200000000  # 2024-07-19 05:27:00 UTC
SECOND = 10_000_000
_DRIVERS = "system32\\drivers\\CrowdStrike\\"


_CSAGENT = {"CSAgent": {"Start": 1, "Type": 2, "ImagePath": _DRIVERS + "csagent.sys"}}
_ODD = {"Odd": {"Start": 0, "Type": 1, "ImagePath": _DRIVERS + "C-00000291-boot.sys"}}


def _system(services: dict[str, Any]) -> dict[str, Any]:
    name = {"ComputerName": {"ComputerName": {"ComputerName": "PC-1"}}}
    control_set = {"Control": name, "Services": services}
    return {"Select": {"Current": 1, "Default": 1}, "ControlSet001": control_set}


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volume with a Windows that has hives, and its sensor's driver in the CrowdStrike folder."""
    folder = tmp_path_factory.mktemp("diagnosis")
    system = _system(_CSAGENT)
    version = {"ProductName": "Windows 10 Pro", "CurrentBuildNumber": "19045"}
    software = {"Microsoft": {"Windows NT": {"CurrentVersion": version}}}
    image = folder / "windows.img"
    with image.open("wb") as stream:
        stream.truncate(16 << 20)
    subprocess.run(["mkntfs", "-q", "-F", "-Q", str(image)], check=True, capture_output=True)
    with mount_ntfs(image, folder / "root", SystemRunner(), read_only=False) as root:
        config = root / "Windows/System32/config"
        config.mkdir(parents=True)
        (config / "SYSTEM").write_bytes(write_hive(folder / "system", system).read_bytes())
        (config / "SOFTWARE").write_bytes(write_hive(folder / "software", software).read_bytes())
        (root / FOLDER).mkdir(parents=True)
        (root / FOLDER / "csagent.sys").write_bytes(b"MZ")
    return image


class _Volume:
    """A copy of the blank volume: fill it, then have it diagnosed by a mount of its own, read-only."""

    def __init__(self, blank: Path, folder: Path) -> None:
        self._image = folder / "windows.img"
        self._root = folder / "root"
        shutil.copyfile(blank, self._image)

    @contextmanager
    def filled(self) -> Iterator[Path]:
        with mount_ntfs(self._image, self._root, SystemRunner(), read_only=False) as root:
            yield root / FOLDER

    def diagnose(self) -> Diagnosis:
        before = self._image.read_bytes()
        with mount_ntfs(self._image, self._root, SystemRunner(), read_only=True) as root:
            (windows,) = find_installations(root)
            diagnosis = diagnose(root, windows, load_library())
        assert self._image.read_bytes() == before
        return diagnosis


@pytest.fixture
def volume(blank: Path, tmp_path: Path) -> _Volume:
    return _Volume(blank, tmp_path)


def _channel_file(folder: Path, name: str, ticks: int, content: bytes = HEADER + bytes(100)) -> Path:
    path = folder / f"C-00000291-{name}.sys"
    path.write_bytes(content)
    write_times(path, NtfsTimes(ticks, ticks, ticks, ticks))
    return path


def _make_wof(path: Path) -> None:
    """What Windows leaves of a file that it compresses elsewhere: a reparse point of the kind WOF."""
    data = struct.pack("<IHHIIII", 0x80000017, 16, 0, 1, 2, 1, 0)
    os.setxattr(path, "system.ntfs_reparse_data", data, follow_symlinks=False)


def _make_junction(folder: Path, target: str) -> None:
    """[MS-FSCC] 2.1.2.5: substitute name, then print name, both UTF-16LE with their NUL."""
    substitute = ("\\??\\" + target).encode("utf-16-le")
    shown = target.encode("utf-16-le")
    names = substitute + b"\0\0" + shown + b"\0\0"
    lengths = struct.pack("<HHHH", 0, len(substitute), len(substitute) + 2, len(shown))
    data = struct.pack("<IHH", 0xA0000003, len(lengths + names), 0) + lengths + names
    os.setxattr(folder, "system.ntfs_reparse_data", data, follow_symlinks=False)


def _names(diagnosis: Diagnosis, verdict: Verdict) -> set[str]:
    findings = (*diagnosis.findings, *diagnosis.observations)
    facts = [fact for finding in findings if finding.verdict is verdict for fact in finding.files]
    return {fact.path.rpartition("C-00000291-")[2].removesuffix(".sys") for fact in facts}


def test_each_file_by_its_time_to_the_tick(volume: _Volume) -> None:
    times = {"older": FAULTY_FROM - 1, "first": FAULTY_FROM, "last": GOOD_FROM - 1, "good": GOOD_FROM}
    with volume.filled() as folder:
        for name, ticks in times.items():
            _channel_file(folder, name, ticks)
        _channel_file(folder, "zeros", GOOD_FROM + SECOND, bytes(5000))
        _channel_file(folder, "other", FAULTY_FROM, b"MZ")
    diagnosis = volume.diagnose()
    assert (diagnosis.status, diagnosis.reason) == (Status.FOUND, None)
    assert _names(diagnosis, Verdict.FAULTY) == {"first", "last", "zeros"}
    assert _names(diagnosis, Verdict.GOOD) == {"good"}
    assert _names(diagnosis, Verdict.NOTE) == {"older", "other"}


def test_a_compressed_file_needs_a_person_unless_a_good_one_is_in_force(volume: _Volume) -> None:
    with volume.filled() as folder:
        _make_wof(_channel_file(folder, "wof", FAULTY_FROM))
    diagnosis = volume.diagnose()
    assert (diagnosis.status, diagnosis.reason) == (Status.NEEDS_HANDS, "unreadable-file")
    assert "WOF" in diagnosis.explanation
    with volume.filled() as folder:
        _channel_file(folder, "good", GOOD_FROM)
    assert volume.diagnose().status is Status.HEALTHY


@pytest.mark.parametrize("ticks", [1, 2**62, 2**63 - 1])
def test_a_time_that_makes_no_sense_needs_a_person(volume: _Volume, ticks: int) -> None:
    with volume.filled() as folder:
        _channel_file(folder, "odd", ticks)
    diagnosis = volume.diagnose()
    assert (diagnosis.status, diagnosis.reason) == (Status.NEEDS_HANDS, "doubtful-time")


def test_a_junction_in_place_of_the_folder_is_not_entered(volume: _Volume) -> None:
    with volume.filled() as folder:
        elsewhere = folder.parents[3] / "elsewhere"
        elsewhere.mkdir()
        _channel_file(elsewhere, "1", FAULTY_FROM)
        _make_junction(folder, "C:\\elsewhere")
    diagnosis = volume.diagnose()
    assert (diagnosis.status, diagnosis.reason) == (Status.NEEDS_HANDS, "unreadable-file")
    assert "junction" in diagnosis.explanation


def test_a_file_that_a_boot_driver_names_is_left(volume: _Volume, tmp_path: Path) -> None:
    hive = write_hive(tmp_path / "system", _system(_CSAGENT | _ODD))
    with volume.filled() as folder:
        (folder.parents[1] / "config/SYSTEM").write_bytes(hive.read_bytes())
        _channel_file(folder, "BOOT", FAULTY_FROM)
    diagnosis = volume.diagnose()
    assert (diagnosis.status, diagnosis.reason) == (Status.NEEDS_HANDS, "protected-file")
    assert "Odd" in diagnosis.explanation


def test_a_crowded_folder_takes_no_time(volume: _Volume) -> None:
    with volume.filled() as folder:
        for number in range(3000):
            (folder / f"C-{number + 1000:08}-00000000-00000001.sys").touch()
        _channel_file(folder, "1", FAULTY_FROM)
    began = time.monotonic()
    assert volume.diagnose().status is Status.FOUND
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("faulty", [True, False])
def test_a_broken_hive_is_never_healthy_and_never_repaired(volume: _Volume, faulty: bool) -> None:
    with volume.filled() as folder:
        system = folder.parents[1] / "config/SYSTEM"
        system.write_bytes(system.read_bytes()[:2000])
        if faulty:
            _channel_file(folder, "1", FAULTY_FROM)
    diagnosis = volume.diagnose()
    assert (diagnosis.status, diagnosis.reason) == (Status.NEEDS_HANDS, "unreadable-hive")
    assert len(diagnosis.findings) == faulty
    assert diagnosis.repairable == ()
