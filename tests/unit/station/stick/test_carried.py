"""What a stick brings: waited for as long as it must come, and nothing is repaired before it was read."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from unbrick.station.machine.block_devices import BlockDevice
from unbrick.station.machine.devices import wait_for
from unbrick.station.machine.kernel_options import KernelOptions
from unbrick.station.stick.carried import Carried, StickReader, present_sticks
from unbrick.station.stick.partition import Stick
from unbrick.station.stick.settings import Settings

SERIAL = "1A2B-3C4D"
STICK = Stick(Path("/dev/sdb4"), BlockDevice("sdb", Path("/dev/sdb"), 1 << 28, outside=True), SERIAL)
OTHER = replace(STICK, serial="0000-0001")
NOT_SEEN = KernelOptions()
SEEN = KernelOptions(stick=SERIAL)
BUILT_IN = Settings(origin="settings built into this medium", guided=False)
SIGNED = Settings(origin="signed settings on the stick", guided=True, finish="wait")


@dataclass
class Machine:
    """A machine whose stick shows itself at some moment, can be read from some moment on, or is pulled."""

    memory: Path
    comes: float = 0.0
    readable: float = 0.0
    pulled: float = float("inf")
    coming: bool = False
    built_in: Settings = BUILT_IN
    sticks: Sequence[Stick] = (STICK,)
    now: float = 0.0
    said: list[str] = field(default_factory=list)

    def read(self, options: KernelOptions = NOT_SEEN, *, can_ask: bool = True) -> Carried:
        reader = StickReader(
            self.memory,
            options,
            self._settings_of,
            can_ask,
            waits=lambda: self.said.append("waits"),
            find=self._find,
            may_come=lambda: self.coming,
            mount=self._mount,
            identify=lambda _: "1" if self._is_there() else None,
            wait=partial(wait_for, clock=lambda: self.now, sleep=self._sleep),
        )
        return reader.read()

    def _settings_of(self, stick: Path | None) -> Settings:
        return self.built_in if stick is None else SIGNED

    def _is_there(self) -> bool:
        return self.comes <= self.now < self.pulled

    def _find(self) -> Sequence[Stick]:
        return self.sticks if self._is_there() else ()

    def _sleep(self, seconds: float) -> None:
        self.now += seconds

    @contextmanager
    def _mount(self, stick: Stick, folder: Path) -> Iterator[bool]:
        assert stick in self.sticks
        if self.now < self.readable:
            raise OSError(errno.EIO, "Input/output error")
        folder.mkdir(exist_ok=True)
        (folder / "unbrick.yaml").write_text("mode: guided\n")
        yield True
        self.now += 0.5  # reading takes its time


@pytest.fixture
def machine(tmp_path: Path) -> Callable[..., Machine]:
    (tmp_path / "outbox").mkdir()

    def make(**more: Any) -> Machine:
        return Machine(tmp_path, **more)

    return make


def test_a_stick_that_is_there_is_read_at_once_and_nobody_waits(machine: Callable[..., Machine]) -> None:
    one = machine()
    carried = one.read(SEEN)
    assert (carried.settings, carried.notes, one.said) == (SIGNED, [], [])
    assert carried.plugged_in == "1"
    assert carried.mark is not None


@pytest.mark.parametrize("comes", [0.1, 7.9, 8.1, 30.0, 59.0])
def test_a_stick_that_the_boot_menu_has_seen_is_waited_for(
    machine: Callable[..., Machine], comes: float
) -> None:
    """Whatever USB says of what is coming."""
    one = machine(comes=comes)
    assert one.read(SEEN).settings == SIGNED
    assert one.said == ["waits"]


@pytest.mark.parametrize("more", [{"comes": 1e9}, {"pulled": 0.0}, {"pulled": 0.4}, {"readable": 1e9}])
def test_what_must_have_been_read_and_was_not_lets_the_station_only_look(
    machine: Callable[..., Machine], more: dict[str, float]
) -> None:
    """Though settings built into the medium would let it repair; it has an end, and says why."""
    one = machine(**more)
    carried = one.read(SEEN)
    settings = carried.settings
    assert settings.only_looks == "the settings on the stick could not be read"
    assert (settings.guided, settings.finish, settings.missed) == (False, "wait", True)
    assert len(carried.notes) == 1
    assert carried.plugged_in is None
    assert 60.0 <= one.now < 62.0


def test_a_stick_that_was_seen_only_here_must_be_read_too(machine: Callable[..., Machine]) -> None:
    """From a disc or the network the boot menu sees none."""
    one = machine(readable=1e9)
    assert one.read().settings.only_looks
    assert 20.0 <= one.now < 21.0
    assert machine(readable=9.0).read().settings == SIGNED


def test_another_stick_does_not_stand_in_for_the_one_that_was_seen(machine: Callable[..., Machine]) -> None:
    assert machine(sticks=(OTHER,)).read(SEEN).settings.missed
    assert machine(sticks=(OTHER, STICK)).read(SEEN).settings == SIGNED
    assert machine(sticks=(OTHER,)).read().settings == SIGNED


def test_who_chose_to_be_asked_in_the_boot_menu_is_asked_also_without_the_stick(
    machine: Callable[..., Machine],
) -> None:
    """The way out for a machine where Linux has no driver for the stick's port."""
    one = machine(comes=1e9, built_in=replace(BUILT_IN, guided=True))
    settings = one.read(replace(SEEN, guided=True)).settings
    assert (settings.guided, settings.only_looks, settings.missed) == (True, None, True)
    settings = one.read(replace(SEEN, guided=True), can_ask=False).settings
    assert settings.only_looks == "nobody can be asked here: there is no screen"


def test_without_any_sign_of_a_stick_nobody_waits(machine: Callable[..., Machine]) -> None:
    one = machine(comes=0.01)
    carried = one.read()
    assert (carried.settings, carried.notes, one.said, one.now) == (BUILT_IN, [], [], 0.0)


def test_a_stick_of_which_usb_shows_a_sign_is_waited_for(machine: Callable[..., Machine]) -> None:
    one = machine(comes=19.0, coming=True)
    assert one.read().settings == SIGNED
    assert one.said == ["waits"]


def test_a_list_that_grew_old_while_it_was_gone_through_is_made_anew(tmp_path: Path) -> None:
    subprocess.run(
        ["mformat", "-C", "-F", "-v", "UNBRICK", "-T", "131072", "-i", tmp_path / "sdb4", "::"], check=True
    )
    (tmp_path / "sdb").write_bytes(bytes(4096))
    young = replace(STICK.disk, path=tmp_path / "sdb")
    whole = replace(young, partitions=("sdb4",))
    lists = [[young], [whole], [whole]]
    assert [one.device for one in present_sticks(lambda: lists.pop(0))] == [tmp_path / "sdb4"]
    assert present_sticks(lambda: [young]) == []
