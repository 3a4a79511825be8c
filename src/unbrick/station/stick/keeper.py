"""Copies outbox and log from memory to the stick, in a process of its own, whenever there is a stick.

The stick is mounted only while something is written, so that it can nearly always be pulled without harm.
When it is gone everything waits in memory, and goes to the next stick labelled UNBRICK that is put in.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from unbrick.errors import UnbrickError
from unbrick.files import atomic_write
from unbrick.processes.companion import Orders, read_word, write_word
from unbrick.processes.libc import CLONE_NEWNS, make_mounts_private, unshare
from unbrick.report.outbox import Outbox, read_carried
from unbrick.report.station_login import RENEWED_NAME
from unbrick.settings.strict import parse_json
from unbrick.signing.event_signer import Signer
from unbrick.signing.own_key import KEY_NAME
from unbrick.station.machine.block_devices import list_block_devices
from unbrick.station.machine.small_files import names_in
from unbrick.station.stick.partition import Stick, find_stick, mounted
from unbrick.station.stick.settings import settings_mark

OUTBOX, LOG = "outbox", "log"
_LAST_RUN = ".last-run"
_STATUS = "stick-status"
_LOOK_SECONDS = 0.3
_SEARCH_SECONDS = 2.0
_PAUSE_SECONDS = 2.0
_MOST_TAKEN_OVER, _MOST_BYTES_TAKEN_OVER = 5000, 16 * 1024 * 1024
_MOST_LOG_BYTES = 1024 * 1024
_MOST_SMALL_BYTES = 4096
_MOST_LOGS = 500


@dataclass(frozen=True)
class StickStatus:
    """How the copying goes: `kept` are the reports in memory that the stick has; `trouble` is a sentence.

    By their names: a number says nothing of those that came since. `late`: a stick had other settings than
    those that were read at the start.
    """

    present: bool = False
    kept: tuple[str, ...] = ()
    trouble: str = ""
    late: bool = False


def read_status(memory: Path) -> StickStatus | None:
    """What the keeper said last; None where it has not said anything yet."""
    with suppress(ValueError, TypeError, KeyError):
        said = parse_json(read_word(memory / _STATUS))
        return StickStatus(**said | {"kept": tuple(said["kept"])})
    return None


def take_over(stick: Path, memory: Path) -> set[str]:
    """Copy what waits on a mounted stick into memory, to be sent from there; the names now in both."""
    # Only so much: the repair waits for it, and needs the memory for its own reports.
    ours = Outbox(memory / OUTBOX)
    with suppress(OSError):
        for name in (_LAST_RUN, KEY_NAME, RENEWED_NAME):
            source, target = stick / OUTBOX / name, memory / OUTBOX / name
            if source.is_file() and not target.exists():
                target.write_bytes(_beginning(source, _MOST_SMALL_BYTES))
                target.chmod(0o600)
    taken: set[str] = set()
    room = _MOST_BYTES_TAKEN_OVER
    with suppress(UnbrickError, OSError):
        for path, signed in read_carried(stick / OUTBOX, _MOST_TAKEN_OVER):
            room -= len(signed.data) + len(signed.signature)
            if room < 0:
                break
            ours.put(signed)
            taken.add(path.name)
    return taken


def _beginning(path: Path, length: int) -> bytes:
    if not path.is_file():
        return b""
    with path.open("rb") as stream:
        return stream.read(length)


@dataclass
class StickKeeper:
    """What the companion for the stick does all its life.

    `memory` holds `outbox` and `log`; `on_stick` are the names of the reports that the stick held at the
    start, `refused` of those that it keeps although the tally refused them; `mark` (`settings_mark`) tells
    which settings were read at the start.
    """

    memory: Path
    folder: Path
    on_stick: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    mark: str | None = None
    find: Callable[[], Stick | None] = lambda: find_stick(list_block_devices())
    _late: bool = False
    _logged: dict[str, int] = field(default_factory=dict)
    _device: Path | None = None
    _not_before: float = 0.0

    def __call__(self, orders: Orders) -> None:
        unshare(CLONE_NEWNS)
        make_mounts_private()
        self._say(self.find() is not None, self._names(), "")
        while True:
            last = orders.finish  # then it writes once more what is left
            self.look(now=time.monotonic() if not last else float("inf"))
            if last:
                return
            orders.wait(_LOOK_SECONDS)

    def look(self, now: float) -> None:
        """Write to the stick what it does not have yet, if there is a stick."""
        names = self._names()
        if not self._has_work(names) or now < self._not_before:
            return
        stick = self.find()
        if stick is None:
            self._not_before = now + _SEARCH_SECONDS
            self._say(False, names, "")
            return
        if stick.device != self._device:
            self._device, self._logged = stick.device, {}
        try:
            with mounted(stick, self.folder) as writable:
                self._late = self._late or settings_mark(self.folder) not in (None, self.mark)
                if not writable:
                    raise OSError(0, "the stick is write-protected")
                self.write(self.folder)
            self._not_before = now + _PAUSE_SECONDS
            self._say(True, self._names(), "")
        except (OSError, UnbrickError) as error:
            self._not_before = now + _SEARCH_SECONDS
            said = error.message if isinstance(error, UnbrickError) else (error.strerror or str(error))
            self._say(True, names, said)

    def write(self, stick: Path) -> None:
        """Bring a mounted stick up to date; raises OSError, UnbrickError."""
        ours, theirs = Outbox(self.memory / OUTBOX), Outbox(stick / OUTBOX)
        self._let_go(ours, theirs)  # first: a stick may be full of what is acknowledged
        there = {entry.name for entry in theirs.folder.iterdir()}
        for path, signed in ours.pending():
            name = path.name
            # A file that we did not write, or not to its end, may hold anything.
            if name not in there or (name not in self.on_stick and not theirs.holds(name, signed)):
                theirs.put(signed)
            self.on_stick.add(name)
        self._set_aside(ours, theirs)
        self._write_small(theirs.folder)
        self._write_logs(stick / LOG)

    def _let_go(self, ours: Outbox, theirs: Outbox) -> None:
        """Remove what we brought there, or found there, and is gone from memory: it was acknowledged."""
        in_memory = {entry.name for entry in ours.folder.iterdir()}  # where that fails nothing is removed
        for name in self.on_stick - in_memory:
            if not ours.was_set_aside(name):
                (theirs.folder / name).unlink(missing_ok=True)
            self.on_stick.discard(name)

    def _set_aside(self, ours: Outbox, theirs: Outbox) -> None:
        """Keep there what the tally refused, also before we brought it there."""
        for path, signed, reason in ours.refused():
            if path.name not in self.refused:
                if not theirs.holds(path.name, signed):
                    theirs.put(signed)
                theirs.set_aside([signed.id], reason)
                self.refused.add(path.name)

    def _write_small(self, folder: Path) -> None:
        names = [_LAST_RUN, KEY_NAME, RENEWED_NAME]
        with suppress(UnbrickError):
            Signer.load(folder / KEY_NAME)
            names.remove(KEY_NAME)  # a stick that came late has one of its own, which a tally may know
        for name in names:
            source = self.memory / OUTBOX / name
            if source.is_file():
                data = source.read_bytes()
                if _beginning(folder / name, len(data) + 1) != data:
                    atomic_write(folder / name, data)

    def _write_logs(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        for name, size in self._logs().items():
            if self._logged.get(name) != size:
                with (self.memory / LOG / name).open("rb") as stream:
                    atomic_write(folder / name, stream.read(_MOST_LOG_BYTES))
                self._logged[name] = size
        for name in sorted(entry.name for entry in folder.glob("*.log"))[:-_MOST_LOGS]:
            (folder / name).unlink(missing_ok=True)

    def _has_work(self, names: set[str]) -> bool:
        if names != self.on_stick or self._logs() != self._logged:
            return True
        with suppress(UnbrickError):
            return Outbox(self.memory / OUTBOX).refused_names() != self.refused
        return False

    def _names(self) -> set[str]:
        names = names_in(self.memory / OUTBOX)
        return {name for name in names if name.endswith(".json") and not name.startswith(".")}

    def _logs(self) -> dict[str, int]:
        with suppress(OSError):
            return {path.name: path.stat().st_size for path in (self.memory / LOG).glob("*.log")}
        return {}

    def _say(self, present: bool, names: set[str], trouble: str) -> None:
        status = StickStatus(present, tuple(sorted(names & self.on_stick)), trouble, self._late)
        with suppress(OSError):
            write_word(self.memory / _STATUS, json.dumps(asdict(status)))
