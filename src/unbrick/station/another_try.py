"""Another try at the disks whose recovery key was missing: a stick is put in late, or the key is typed.

Of a late stick only the recovery passwords are used, which need no signature: a wrong one opens nothing.
Settings and playbooks are read only at the start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import ClassVar

from unbrick.keys.chain import MOST_TRIES
from unbrick.keys.reading.looks import computer_name
from unbrick.keys.sources.source import Candidate, GuessingSource, KeySource
from unbrick.model import DiskReport, Status
from unbrick.station.ending.next_in_windows import missing_keys
from unbrick.station.guided_visit import GuidedKeySource
from unbrick.station.machine.block_devices import list_block_devices
from unbrick.station.stick.key_files import open_key_files
from unbrick.station.stick.partition import Stick, find_sticks, mounted, times_plugged_in
from unbrick.station.targets import Target
from unbrick.station.telling.screens import Question, Screens

WorkOn = Callable[[Target], DiskReport]


@dataclass(frozen=True)
class _Offered:
    """The passwords of a late stick that may open what is locked; its whole files would fill the memory."""

    candidates: tuple[Candidate, ...]
    name: ClassVar[str] = "the stick"
    interactive: ClassVar[bool] = False
    warnings: ClassVar[tuple[str, ...]] = ()

    def find(self, protector_ids: Sequence[str]) -> Iterator[Candidate]:
        wanted = {one.upper() for one in protector_ids}
        return (one for one in self.candidates if one.protector_id is None or one.protector_id in wanted)


def _offers(source: KeySource, wanted: Sequence[str], computers: Iterable[str]) -> Iterator[Candidate]:
    yield from source.find(wanted)
    if isinstance(source, GuessingSource):
        names = filter(None, map(computer_name, computers))
        guesses = chain.from_iterable(source.guesses(name) for name in [*names, None])
        yield from islice(guesses, MOST_TRIES)


@dataclass
class AnotherTry:
    """What can still be done for a machine once its disks were worked on; the key sources grow meanwhile.

    `work_with` gives what works on a disk with some keys; sticks are mounted at `place`. `keys` were tried
    already, those of the stick among them that `identify` knew by the name `read`.
    """

    work_with: Callable[[Sequence[KeySource]], WorkOn]
    keys: Sequence[KeySource]
    find_targets: Callable[[], Sequence[Target]]
    place: Path
    read: str | None = None
    find: Callable[[], Iterable[Stick]] = lambda: find_sticks(list_block_devices())
    identify: Callable[[Stick], str | None] = times_plugged_in

    def __post_init__(self) -> None:
        self._keys = list(self.keys)
        self._read = {self.read}

    def with_a_late_stick(self, done: Sequence[DiskReport]) -> list[DiskReport] | None:
        """The reports after another try, where a stick has come with a missing key on it; else None."""
        # The stick that we were started from may still be there: every one is looked at, and once.
        wanted = missing_keys(done)
        fresh = [one for one in self.find() if self.identify(one) not in self._read] if wanted else []
        computers = [name for one in done for name in one.machine.hostnames]
        sources = (self._passwords_on(stick, wanted, computers) for stick in fresh)
        offered = [source for source in sources if source.candidates]
        if not offered:
            return None
        self._keys += offered
        return self._try_again(done, self._keys)

    def _passwords_on(self, stick: Stick, wanted: Sequence[str], computers: Sequence[str]) -> _Offered:
        try:
            with mounted(stick, self.place):
                found, _ = open_key_files((), self.place)
        except OSError:  # it is being written to, or was pulled again: the next look tells
            return _Offered(())
        self._read.add(self.identify(stick))
        return _Offered(tuple(one for source in found for one in _offers(source, wanted, computers)))

    def with_a_typed_key(self, done: Sequence[DiskReport], screens: Screens) -> list[DiskReport] | None:
        """The reports after another try, where the person has a missing key and types it; else None."""
        if not missing_keys(done):
            return None
        lines = (
            "The recovery key (48 digits) opens the disk, and it is then repaired.",
            "Nothing is changed without it.",
        )
        answers = ("I have the recovery key: type it", "Restart this computer")
        if screens.ask(Question("The key?", lines, answers)) != 0:
            return None
        return self._try_again(done, [*self._keys, GuidedKeySource(screens)])

    def _try_again(self, done: Sequence[DiskReport], keys: Sequence[KeySource]) -> list[DiskReport]:
        targets = {str(target.path): target for target in self.find_targets()}
        work_on = self.work_with(keys)
        return [
            work_on(targets[report.disk])
            if report.status is Status.NEEDS_KEY and report.disk in targets
            else report
            for report in done
        ]
