"""Waiting for devices: as short as can be, and never for ever."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, combinations_with_replacement
from pathlib import Path

import pytest

from unbrick.station.machine.block_devices import list_block_devices
from unbrick.station.machine.devices import is_stick_coming, settle, wait_for


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


class World:
    """What /sys and /run show of one stick that is plugged in, from the start of USB to its partitions.

    It goes on by itself between any two looks: `turns` are the counts of looks at which each stage comes.
    """

    def __init__(self, folder: Path, turns: Sequence[int] = ()) -> None:
        self.usb, self.udev, self.sysfs = folder / "usb", folder / "udev", folder / "sys"
        self.marker = folder / "marker"
        self.clock = Clock()
        self.clock.now = 100.0
        self.hub_age = 0.0
        self._turns = list(turns)
        self._looks = 0
        self._stages = iter(
            (self.ask_for_drivers, self.find_hub, self.find_interface, self.find_disk, self.end_partitions)
        )
        (self.sysfs / "block").mkdir(parents=True)
        (self.udev / "data").mkdir(parents=True)
        self.usb.mkdir()
        self._disk = self.usb / "2-2:1.0/host6/target6:0:0/6:0:0:0/block/sdb"

    def ask_for_drivers(self) -> None:
        """The first program has asked for every driver, and udev is still at it."""
        self.marker.touch()
        (self.udev / "queue").touch()

    def find_hub(self) -> None:
        """A driver for USB is loaded."""
        self.put(self.usb / "usb2", bDeviceClass="09", dev="189:128")
        since = int((self.clock.now - self.hub_age) * 1e6)
        (self.udev / "data/c189:128").write_text(f"I:{since}\nE:ID_MODEL=xHCI\n")
        (self.udev / "queue").unlink()

    def find_interface(self) -> None:
        """USB has found a stick, and switched it on."""
        self.put(self.usb / "usb2/2-0:1.0/usb2-port2", state="configured")
        self.put(self.usb / "2-2:1.0", bInterfaceClass="08")

    def find_disk(self) -> None:
        """The kernel has its disk, and reads the partitions."""
        self.put(self._disk, dev="8:16", size="640000")
        (self.sysfs / "block/sdb").symlink_to(self._disk)

    def end_partitions(self) -> None:
        """It has read them, and then told udev of the disk and of them."""
        self.put(self._disk / "sdb4", dev="8:20", size="400000", partition="4")
        (self.udev / "data/b8:16").touch()

    def find(self) -> str | None:
        """What the station finds at this look."""
        self._go_on()
        return next((one for disk in list_block_devices(self.sysfs) for one in disk.partitions), None)

    def is_coming(self) -> bool:
        """What the station thinks at this look."""
        self._go_on()
        return is_stick_coming(self.usb, marker=self.marker, udev=self.udev, clock=self.clock)

    def wait(self) -> str | None:
        """The station's whole waiting."""
        clock = self.clock
        return wait_for(self.find, 20.0, worth_waiting=self.is_coming, clock=clock, sleep=clock.sleep)

    def _go_on(self) -> None:
        while self._turns and self._looks >= self._turns[0]:
            self._turns.pop(0)
            next(self._stages)()
        self._looks += 1

    def put(self, folder: Path, **files: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(f"{text}\n")


_TURNS = list(combinations_with_replacement(range(7), 5))


@pytest.mark.parametrize("first", range(7))
def test_a_stick_is_found_whenever_its_stages_come_between_two_looks(tmp_path: Path, first: int) -> None:
    """At every interleaving of the looks with what happens."""
    tried = [turns for turns in _TURNS if turns[0] == first]
    assert tried
    for number, turns in enumerate(tried):
        world = World(tmp_path / str(number), turns)
        if turns[1] == turns[2]:  # else the moment that a new hub is given has to help
            world.hub_age = 10.0
        assert world.wait() == "sdb4", turns
        assert world.clock.now < 101.0


def test_a_stick_behind_a_device_that_does_not_answer_is_waited_for(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.ask_for_drivers()
    world.find_hub()
    world.clock.now = 110.0
    assert not world.is_coming()
    for state in ("powered", "default", "addressed"):
        world.put(world.usb / "usb2/2-0:1.0/usb2-port1", state=state)
        assert world.is_coming()
    for state in ("not attached", "configured", "suspended"):
        world.put(world.usb / "usb2/2-0:1.0/usb2-port1", state=state)
        assert not world.is_coming()


def test_a_look_that_takes_all_the_time_is_not_the_last(tmp_path: Path) -> None:
    """Who looks at a disk is kept until the kernel has read its partitions; what was listed before is old."""
    clock = Clock()

    def find() -> str | None:
        listed = "sdb4" if clock.now else None
        clock.sleep(30.0)
        return listed

    assert wait_for(find, 20.0, worth_waiting=lambda: False, clock=clock, sleep=clock.sleep) == "sdb4"


@pytest.mark.parametrize("gaps", [(5.0, 5.0, 2.9, 2.0, 4.0), (0.0, 0.0, 2.9, 9.0, 7.0)])
def test_a_stick_is_found_however_slow_each_of_its_stages_is(tmp_path: Path, gaps: tuple[float, ...]) -> None:
    world = World(tmp_path)
    moments = [world.clock.now + gap for gap in accumulate(gaps)]
    stages = [world.ask_for_drivers, world.find_hub, world.find_interface, world.find_disk]
    stages.append(world.end_partitions)

    def sleep(seconds: float) -> None:
        world.clock.sleep(seconds)
        while moments and world.clock.now >= moments[0]:
            moments.pop(0)
            stages.pop(0)()

    found = wait_for(world.find, 20.0, worth_waiting=world.is_coming, clock=world.clock, sleep=sleep)
    assert found == "sdb4"


def test_where_no_stick_is_plugged_in_the_wait_is_a_moment(tmp_path: Path) -> None:
    world = World(tmp_path, [0, 0])
    assert world.wait() is None
    assert 103.0 <= world.clock.now < 103.5


def test_a_machine_without_usb_waits_for_none(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.marker.touch()
    assert world.wait() is None
    assert world.clock.now == 100.0


def test_where_the_medium_is_there_usb_has_had_its_moment(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.ask_for_drivers()
    world.find_hub()
    assert is_stick_coming(world.usb, marker=world.marker, udev=world.udev, clock=world.clock)
    assert not is_stick_coming(
        world.usb, marker=world.marker, udev=world.udev, clock=world.clock, medium_is_there=True
    )


def test_an_empty_card_reader_and_storage_without_a_driver_hold_nobody_up_for_ever(tmp_path: Path) -> None:
    world = World(tmp_path, [0] * 4)
    (world.udev / "data/b8:16").touch()
    assert world.wait() is None
    assert world.clock.now < 103.5
    other = World(tmp_path / "other", [0] * 3)
    assert other.wait() is None
    assert 120.0 <= other.clock.now < 120.5


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
    settle(marker=marker, udev=tmp_path)
    assert len(slept) == 5
