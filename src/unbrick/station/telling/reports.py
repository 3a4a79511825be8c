"""Where a station's reports go: written down, signed into an outbox in memory, sent and copied from there.

Sending and the copy on the stick (`stick/keeper.py`) are processes of their own, so that neither a network
nor a slow, full or pulled stick holds up a repair.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from unbrick.errors import UnbrickError
from unbrick.events.event import Event, EventError, EventKind, parse_event
from unbrick.events.facts import plain_machine
from unbrick.events.run_id import new_run_id
from unbrick.events.run_order import run_in_order
from unbrick.events.wire import SignedEvent
from unbrick.model import DiskReport, Machine
from unbrick.report.outbox import Outbox, OutboxError
from unbrick.report.recorder import Recorder, tell_last_word
from unbrick.report.sender import BackgroundSender
from unbrick.report.sender_status import SenderState, SenderStatus
from unbrick.report.session import TallySession, TallyUnreachableError
from unbrick.report.station_login import with_renewals
from unbrick.settings.station_file import Station
from unbrick.signing.event_signer import Signer
from unbrick.station.machine.network import has_network
from unbrick.station.machine.small_files import names_in

SPOOL = "spool"
_EVENT_FILE = re.compile(r"[0-9A-Za-z-]+-[0-9]{6}\.event")
_NETWORK_SECONDS = 60.0
_LOOK_SECONDS = 0.1

Tell = Callable[[str], None]


@dataclass
class Reports:
    """The reports of one boot: a `recovery.isolated.ReportLink`, and the `EventKeeper` that it gives.

    `folder` is the outbox, in memory; raises OutboxError where it cannot be made.
    """

    folder: Path
    spool: Spool
    station: Station | None
    signer: Signer
    tell: Tell
    latest: datetime | None = None
    is_online: Callable[[], bool] = has_network
    kept: tuple[SignedEvent, ...] = ()  # nothing stays in the memory of a process
    _sender: BackgroundSender | None = None

    def __post_init__(self) -> None:
        self.outbox = Outbox(self.folder, self.tell)
        tally = self.station.tally if self.station else None
        self._tally = with_renewals(tally, self.folder) if tally else None

    @property
    def site(self) -> str | None:
        return self.station.site if self.station else None

    @property
    def has_tally(self) -> bool:
        return self._tally is not None

    def start_sending(self, on_session: Callable[[TallySession], None]) -> None:
        """Send in a process of its own from now on; `on_session` is called there for each new session."""
        tally = self._tally
        if tally is None:
            return

        def connect() -> TallySession:
            # Before there is a network, not even paramiko is worth its loading: the repair needs the time.
            deadline = time.monotonic() + _NETWORK_SECONDS
            while not self.is_online():
                if time.monotonic() > deadline:
                    raise TallyUnreachableError("there is no network")
                time.sleep(_LOOK_SECONDS)
            session = TallySession.open(tally)
            on_session(session)
            return session

        try:
            self._sender = BackgroundSender(tally, self.folder, connect=connect)
        except (UnbrickError, OSError) as error:
            self.tell(f"reports cannot be sent: {error}; they are kept")

    def run_in_order(self, proposed: str) -> str:
        return run_in_order(proposed, self.folder, latest=self.latest)

    def listener(self) -> Reports:
        return self

    def __call__(self, event: Event) -> None:
        """Write one event down first: what cannot be signed into the outbox now is tried again later."""
        self.spool(event)
        self.spool.empty_into(self.outbox, self.signer)

    def take_back(self, kept: Sequence[SignedEvent]) -> None:
        pass

    def tell_last_word(self, run: str, report: DiskReport) -> None:
        tell_last_word(run, report, self, self.site)

    def note(self, machine: Machine, note: str) -> None:
        """Report something that changes no status, such as that a shell was opened, as a run of its own."""
        recorder = Recorder(self.run_in_order(new_run_id()), (self,), site=self.site)
        recorder.identify(machine)
        recorder.tell(EventKind.NOTE, note=note)

    def waiting(self) -> int:
        """How many reports nobody has acknowledged."""
        unsigned = self.spool.count()
        with suppress(OutboxError):
            return unsigned + self.outbox.count()
        return unsigned

    def are_among(self, names: Collection[str]) -> bool:
        """Whether all that wait are signed and lie in files of these names."""
        with suppress(OutboxError):
            return not self.spool.count() and set(self.outbox.names()) <= set(names)
        return False

    def sign_all(self, machine: Machine) -> None:
        """Sign also what does not say which machine it is of, as said of this one."""
        self.spool.release(machine)
        self.spool.empty_into(self.outbox, self.signer)

    def status(self) -> SenderStatus:
        return self._sender.status() if self._sender else SenderStatus(SenderState.ENDED)

    def finish_sending(self, seconds: float) -> None:
        """End the sender once the outbox is empty or the time is up, at once where the tally refused us."""
        if self._sender is not None:
            with suppress(OutboxError):
                self._sender.finish(seconds)

    def outcomes(self, most: int) -> list[SignedEvent]:
        """The outcome events that wait, the latest first: what a person could carry as a picture."""
        found = [
            signed
            for _, signed in itertools.islice(self.outbox.pending(), 10_000)
            if signed.event().kind == EventKind.OUTCOME
        ]
        return found[::-1][:most]


class Spool:
    """One folder of unsigned events, for any process of the station, one at a time.

    Where the firmware has no UUID that tells machines apart, a tally knows a machine by the name of its
    Windows. What is said of a disk without one is held back until the names of the others are known.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held = folder / "held"

    def __call__(self, event: Event) -> None:
        """Write one event down; where even memory is full it is lost, and the work goes on."""
        name = f"{event.run}-{event.sequence:06}.event"
        told_apart = _is_told_apart(event.machine)
        with suppress(OSError):
            self._write(self._folder if told_apart else self._held, name, event)
            for earlier in _events_in(self._held) if told_apart else ():
                if earlier.startswith(f"{event.run}-"):
                    (self._held / earlier).rename(self._folder / earlier)

    def count(self) -> int:
        """How many events are not signed yet."""
        return len(_events_in(self._folder)) + len(_events_in(self._held))

    def release(self, machine: Machine) -> None:
        """Let go what was held back, as said of this machine; as it is where that is not known either."""
        known = plain_machine(machine)
        for name in _events_in(self._held):
            path = self._held / name
            with suppress(OSError, EventError):
                if _is_told_apart(known):
                    self._write(self._folder, name, replace(parse_event(path.read_bytes()), machine=known))
                    path.unlink()
                else:
                    path.rename(self._folder / name)

    def _write(self, folder: Path, name: str, event: Event) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        fresh = (folder / name).with_suffix(".new")
        fresh.write_bytes(event.to_bytes())
        fresh.rename(folder / name)

    def empty_into(self, outbox: Outbox, signer: Signer) -> None:
        """Sign what is there, in order, and put it into the outbox; what cannot be put stays."""
        for name in _events_in(self._folder):
            path = self._folder / name
            try:
                data = path.read_bytes()
                with suppress(EventError):  # no tally would take it
                    outbox.put(SignedEvent(data, signer.sign(data)))
                path.unlink()
            except (OSError, UnbrickError):
                return


def _is_told_apart(machine: Machine) -> bool:
    """Whether the tally can tell which machine this is, not only which disk; it does not go by serials."""
    return bool(machine.smbios_uuid or machine.hostnames)


def _events_in(folder: Path) -> list[str]:
    return [name for name in names_in(folder) if _EVENT_FILE.fullmatch(name)]
