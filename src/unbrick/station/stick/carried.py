"""What a stick brings, read once at the start into memory: settings, recovery passwords, waiting reports.

The stick may be pulled then. Where a stick must come, as GRUB has seen it or it was seen here, nothing is
repaired until it was read: its settings may forbid it.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

from unbrick.keys.sources.source import KeySource
from unbrick.station.machine.block_devices import BlockDevice, list_block_devices
from unbrick.station.machine.devices import is_stick_coming, wait_for
from unbrick.station.machine.kernel_options import KernelOptions
from unbrick.station.stick.keeper import take_over
from unbrick.station.stick.key_files import open_key_files
from unbrick.station.stick.partition import Stick, find_medium, find_sticks, mounted, times_plugged_in
from unbrick.station.stick.settings import Settings, settings_mark

WAITS = "Waiting for the stick and its settings"
_WHY = "the settings on the stick could not be read"
# Ten times what the slowest stick needs that was seen.
_EXPECTED_SECONDS = 60.0
_STICK_SECONDS = 20.0
_MOST_LOOKS = 5


@dataclass
class Carried:
    """What was read. `reports` are names of files in the stick's outbox.

    `plugged_in` names the stick, and the time that it was put in; `mark` its settings (see `settings_mark`).
    """

    settings: Settings = field(default_factory=Settings)
    keys: list[KeySource] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    reports: set[str] = field(default_factory=set)
    plugged_in: str | None = None
    mark: str | None = None


def present_sticks(listed: Callable[[], Sequence[BlockDevice]] = list_block_devices) -> list[Stick]:
    """The sticks that can be read now."""
    # The kernel has who opens a disk wait until it has read its partitions: the list is an old one then.
    for _ in range(_MOST_LOOKS):
        devices = listed()
        found = list(find_sticks(devices))
        if found or listed() == devices:
            break
    return found


def may_come() -> bool:
    medium = find_medium(list_block_devices())
    return is_stick_coming(medium_is_there=any(not disk.optical for disk in medium))


@dataclass
class StickReader:
    """Waits for the stick as long as it makes sense, and reads it.

    `memory` is a folder that is on no disk; `settings_of` finds the settings of a mounted stick, or of none
    (see `find_settings`). `can_ask`: there is a screen. `waits` is called once, where the stick is not there.
    """

    memory: Path
    options: KernelOptions
    settings_of: Callable[[Path | None], Settings]
    can_ask: bool
    waits: Callable[[], None] = lambda: None
    find: Callable[[], Sequence[Stick]] = present_sticks
    may_come: Callable[[], bool] = may_come
    mount: Callable[[Stick, Path], AbstractContextManager[bool]] = mounted
    identify: Callable[[Stick], str | None] = times_plugged_in
    wait: Callable[..., Carried | None] = wait_for
    _trouble: str | None = None
    _has_waited: bool = False

    def read(self) -> Carried:
        """What the stick brought, or what there is without one; raises nothing."""
        seconds = _EXPECTED_SECONDS if self.options.stick else _STICK_SECONDS
        carried = self.wait(self._from_a_stick, seconds, worth_waiting=self._is_worth_waiting)
        return carried or self._without_a_stick()

    def _is_worth_waiting(self) -> bool:
        if self.options.stick is None and self._trouble is None and not self.may_come():
            return False
        if not self._has_waited:
            self._has_waited = True
            self.waits()
        return True

    def _from_a_stick(self) -> Carried | None:
        """None where no stick can be read now; one that is pulled meanwhile was not read."""
        wanted = self.options.stick
        stick = next((one for one in self.find() if wanted in (None, one.serial)), None)
        if stick is None:
            return None
        place = self.memory / "stick"
        try:
            plugged_in = self.identify(stick)
            with self.mount(stick, place) as writable:
                next(place.iterdir(), None)
                carried = replace(self._read_from(place), plugged_in=plugged_in, mark=settings_mark(place))
            if plugged_in is None or self.identify(stick) != plugged_in:
                raise OSError(errno.ENODEV, "it was pulled too early")
        except OSError as error:
            self._trouble = f"the stick cannot be read: {error.strerror or error}"
            return None
        if not writable:
            carried.notes.append("the stick is write-protected; reports stay in memory")
        return carried

    def _without_a_stick(self) -> Carried:
        carried = self._read_from(None)
        if self.options.stick is None and self._trouble is None:
            return carried
        carried.notes.append(self._trouble or "the stick that the boot menu has seen did not show itself")
        settings = replace(carried.settings, missed=True)
        if not self.options.guided:  # else somebody has chosen, in the boot menu, to be asked
            why = settings.only_looks or _WHY
            settings = replace(settings, guided=False, finish="wait", only_looks=why)
        return replace(carried, settings=settings)

    def _read_from(self, stick: Path | None) -> Carried:
        settings = self.settings_of(stick)
        if settings.guided and not settings.only_looks and not self.can_ask:
            settings = replace(settings, only_looks="nobody can be asked here: there is no screen")
        named = settings.station.keys if settings.station else ()
        keys, notes = open_key_files(named, stick)
        reports = take_over(stick, self.memory) if stick is not None else set()
        return Carried(settings, keys, notes, reports)
