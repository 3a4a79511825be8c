"""Waiting for devices: as short as can be, and never for ever."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from unbrick.station.devices import is_stick_coming, settle, wait_for


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_what_is_there_is_not_waited_for() -> None:
    clock = Clock()
    assert wait_for(lambda: ["sda"], 20.0, clock=clock, sleep=clock.sleep) == ["sda"]
    assert clock.now == 0.0


def test_what_comes_later_is_found_and_what_never_comes_ends() -> None:
    clock = Clock()
    found = wait_for(lambda: ["sda"] if clock.now >= 2.0 else [], 20.0, clock=clock, sleep=clock.sleep)
    assert found == ["sda"]
    assert wait_for(lambda: None, 20.0, clock=clock, sleep=clock.sleep) is None
    assert 22.0 <= clock.now < 22.5


def test_waiting_ends_where_it_makes_no_sense() -> None:
    clock = Clock()
    assert (
        wait_for(lambda: None, 20.0, worth_waiting=lambda: clock.now < 3.0, clock=clock, sleep=clock.sleep)
        is None
    )
    assert clock.now < 3.5


def _interface(folder: Path, name: str, kind: str) -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "bInterfaceClass").write_text(f"{kind}\n")
    return folder / name


def test_a_stick_is_coming_while_usb_shows_storage_without_a_disk(tmp_path: Path) -> None:
    folder, marker = tmp_path / "usb", tmp_path / "never"
    _interface(folder, "2-1:1.0", "03")
    assert not is_stick_coming(folder, marker=marker)
    stick = _interface(folder, "2-2:1.0", "08")
    assert is_stick_coming(folder, marker=marker)
    (stick / "host6" / "target6:0:0" / "6:0:0:0" / "block" / "sdb").mkdir(parents=True)
    assert not is_stick_coming(folder, marker=marker)
    assert not is_stick_coming(tmp_path / "no usb", marker=marker)


def test_usb_has_a_moment_after_its_drivers_were_loaded(tmp_path: Path) -> None:
    marker = tmp_path / "loaded"
    marker.touch()
    assert is_stick_coming(tmp_path / "no usb", marker=marker)
    assert not is_stick_coming(tmp_path / "no usb", marker=marker, medium_is_there=True)
    past = time.time() - 60
    os.utime(marker, (past, past))
    assert not is_stick_coming(tmp_path / "no usb", marker=marker)


def test_udev_is_waited_for_while_it_works_and_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    queue, marker = tmp_path / "queue", tmp_path / "marker"
    queue.touch()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            marker.touch()
        if len(slept) == 5:
            queue.unlink()

    monkeypatch.setattr(wait_for, "__kwdefaults__", {**(wait_for.__kwdefaults__ or {}), "sleep": sleep})
    settle(marker=marker, queue=queue)
    assert len(slept) == 5
