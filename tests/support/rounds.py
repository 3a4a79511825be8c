"""A technician's rounds: one machine after another, two sticks that come and go, a tally; what each holds.

The station's parts (spool, signing, keeper of the stick, sender) and the tally's (judge, store, import) are
the real ones, on real folders. Only the mounting of a stick is left out: a stick is a folder here.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from support.hurt_process import Fate, do
from support.tally_client import make_event
from support.tally_server import new_tally, stored_ids
from support.tally_sums import faults_of

from unbrick.errors import UnbrickError
from unbrick.events.event import Event
from unbrick.events.wire import Answer, Ask, SignedEvent, WireError, signed_event
from unbrick.model import Machine
from unbrick.report.outbox import Outbox
from unbrick.report.sender_status import SenderState, SenderStatus
from unbrick.report.sending_loop import SendingLoop
from unbrick.report.session import Receipt, Refusal, TallyUnreachableError
from unbrick.signing.event_signer import Signer
from unbrick.signing.own_key import own_signer
from unbrick.station.machine.block_devices import BlockDevice
from unbrick.station.stick.keeper import LOG, OUTBOX, StickKeeper, read_status, take_over
from unbrick.station.stick.partition import Stick
from unbrick.station.telling.reports import SPOOL, Reports, Spool
from unbrick.tally.door.intake import Intake
from unbrick.tally.folder import TallyFolder
from unbrick.tally.store.store import Store
from unbrick.tally.trust.register import StationRegister
from unbrick.tally.upkeep.import_reports import import_export

STICKS = ("first", "second")
MOODS = ("takes", "is silent", "stores and falls silent", "is busy half-way")


class _Session:
    """The tally as a station meets it, with a line that may break."""

    is_open = True
    notice = ""
    protocol = 1

    def __init__(self, folder: Path, mood: str) -> None:
        self._folder, self._mood = TallyFolder(folder), mood

    def send(self, events: Sequence[SignedEvent]) -> Receipt:
        if self._mood == "is silent":
            raise TallyUnreachableError("no answer")
        busy = self._mood == "is busy half-way"
        intake = Intake(StationRegister(self._folder.stations), lambda: datetime.now(UTC))
        judged = intake.judge(events[: len(events) // 2] if busy else events)
        with Store.open(self._folder.database) as store:
            store.add(judged.received)
        if self._mood == "stores and falls silent":
            raise TallyUnreachableError("no answer")
        refused = tuple(Refusal((one.id,), one.reason, one.text) for one in judged.refused)
        return Receipt(tuple(judged.ids), refused, "later" if busy else None)

    def ask(self, ask: Ask) -> None:
        raise AssertionError("nobody asks here")

    def answers(self) -> list[tuple[int, Answer]]:
        return []

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        pass


class _OneAttempt:
    """Goes on until nothing waits, and gives up at the first trouble."""

    finish_by = float("inf")

    def wait(self, seconds: float) -> None:
        pass

    def show(self, status: SenderStatus) -> None:
        if status.state in (SenderState.UNREACHABLE, SenderState.BUSY, SenderState.REFUSED):
            self.finish_by = -float("inf")


class Rounds:
    """The steps of the rounds, and `check`, which holds what they promise against what lies where."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tally, self.memory = new_tally(root / "tally"), root / "memory"
        self.sticks = {name: root / name for name in STICKS}
        for stick in self.sticks.values():
            stick.mkdir()
        self._enrolled = Signer.load(self.tally / "station")
        self._inserted: Path | None = None
        self._numbers = 0
        self._machines = 0
        self._safe: set[str] = set()
        Store.open(self.tally / "tally.db").close()
        self.power_goes_and_the_next_machine_starts(Fate(), known=True)

    # What happens at a machine

    def power_goes_and_the_next_machine_starts(self, fate: Fate, *, known: bool) -> None:
        """Memory is gone. `known`: the tally has enrolled this station."""
        self.memory = Path(tempfile.mkdtemp(dir=self.root, prefix="memory-"))
        for name in (OUTBOX, SPOOL, LOG, "settings"):
            (self.memory / name).mkdir()
        (self.memory / "settings" / "station").write_bytes((self.tally / "station").read_bytes())
        (self.memory / LOG / "a.log").write_text("begun\n")
        self._machines += 1
        self._told: set[str] = set()
        self._known = known
        taken: set[str] = set()
        if self._inserted:
            taken = do(partial(take_over, self._inserted, self.memory), fate, self._inserted) or set()
        self._keeper: StickKeeper | None = StickKeeper(self.memory, self.root, taken, find=self._find)

    def something_happens(self, count: int) -> None:
        """The work writes down so many events."""
        for _ in range(count):
            event = self._event(f"WARD-{self._machines}")
            Spool(self.memory / SPOOL)(event)
            self._told.add(SignedEvent(event.to_bytes(), "").id)

    def it_is_signed(self, fate: Fate) -> None:
        """What was written down is signed."""
        do(self._sign, fate, self.memory)

    def a_stick_comes_or_all_are_pulled(self, name: str | None) -> None:
        """One at a time."""
        self._inserted = self.sticks[name] if name else None

    def the_keeper_looks(self, fate: Fate) -> None:
        """It has a process of its own all the time; one that was killed is not started again."""
        keeper = self._keeper
        if keeper is None:
            return
        keeper.folder = self._inserted or self.root
        state = do(partial(_look, keeper), fate, keeper.folder)
        self._keeper = None if state is None else keeper
        vars(keeper).update(state or {})

    def the_station_sends(self, mood: str, fate: Fate) -> None:
        """To a tally that takes reports, or does not answer."""
        do(partial(_send, self.memory / OUTBOX, self.tally, mood), fate, self.memory)

    # What happens to a stick elsewhere

    def a_stick_is_sent_from_elsewhere(self, name: str, mood: str, fate: Fate) -> None:
        """As `outbox send` does on any computer."""
        if self._has_reports(name):
            outbox = self.sticks[name] / OUTBOX
            do(partial(_send, outbox, self.tally, mood), fate, outbox)

    def a_stick_is_carried_to_the_tally(self, name: str, *, exported: bool) -> None:
        """As `outbox export` and `tally import` do; nothing leaves the stick."""
        if self._has_reports(name):
            place = self.sticks[name]
            if exported:
                place = self.root / f"export-{time.monotonic_ns()}"
                Outbox(self.sticks[name] / OUTBOX).export(place)
            import_export(self.tally, place)

    def another_visit_leaves_a_report(self, name: str, *, known: bool) -> None:
        """On a stick that is not here."""
        if self._inserted != self.sticks[name]:
            outbox = self.sticks[name] / OUTBOX
            data = self._event("EARLIER").to_bytes()
            signer = self._enrolled if known else own_signer(outbox)
            Outbox(outbox).put(SignedEvent(data, signer.sign(data)))

    # What is promised

    def check(self) -> None:
        """What was safe once, at the tally or on a stick, still is; all else waits in memory."""
        stored = stored_ids(self.tally)
        assert len(stored) == len(set(stored)), "counted twice"
        safe = set(stored).union(*(_kept_in(stick / OUTBOX) for stick in self.sticks.values()))
        assert self._safe <= safe, "lost"
        self._safe = safe
        unsigned = {SignedEvent(path.read_bytes(), "").id for path in self.memory.glob(f"{SPOOL}/**/*.event")}
        assert self._told <= safe | unsigned | _kept_in(self.memory / OUTBOX), "lost from memory"
        self._check_what_the_screen_says()
        self._check_keys()

    def end_well(self) -> None:
        """With nothing broken all that is left gets to a stick, and what the tally takes to the tally."""
        if self._keeper is not None:
            self.it_is_signed(Fate())
            self.the_station_sends("takes", Fate())
            self._inserted = self.sticks["first"]
            self.the_keeper_looks(Fate())
            self.check()
            assert self._told <= self._safe
        self._inserted = None
        for name, stick in self.sticks.items():
            self.a_stick_is_sent_from_elsewhere(name, "takes", Fate())
            self.check()
            assert not self._has_reports(name)
            waiting = _kept_in(stick / OUTBOX) - set(stored_ids(self.tally))
            assert len(waiting) <= Outbox(stick / OUTBOX).count_set_aside()[0]
        with Store.open(self.tally / "tally.db") as store:
            assert faults_of(store) == ()

    def _check_what_the_screen_says(self) -> None:
        status = read_status(self.memory)
        reports = Reports(self.memory / OUTBOX, Spool(self.memory / SPOOL), None, self._enrolled, print)
        if status is not None:
            waiting = {path.name: signed.id for path, signed in reports.outbox.pending()}
            kept = {one for name, one in waiting.items() if name in status.kept}
            assert kept <= self._safe, "not on a stick, but said to be"
            assert not reports.are_among(status.kept) or kept == set(waiting.values())

    def _check_keys(self) -> None:
        secret = (self.tally / "station").read_bytes()
        for stick in self.sticks.values():
            assert not any(secret in path.read_bytes() for path in stick.rglob("*") if path.is_file())

    def _event(self, hostname: str) -> Event:
        self._numbers += 1
        run = f"20240719T09{self._machines // 60:02}{self._machines % 60:02}Z-0000ab"
        return make_event(self._numbers, run=run, machine=Machine(hostnames=(hostname,)))

    def _sign(self) -> bool:
        outbox = self.memory / OUTBOX
        signer = self._enrolled if self._known else own_signer(outbox)
        Spool(self.memory / SPOOL).empty_into(Outbox(outbox), signer)
        return True

    def _find(self) -> Stick | None:
        if self._inserted is None:
            return None
        return Stick(self._inserted, BlockDevice("sdb", self._inserted, 1, outside=True))

    def _has_reports(self, name: str) -> bool:
        outbox = self.sticks[name] / OUTBOX
        return self._inserted != self.sticks[name] and outbox.is_dir() and Outbox(outbox).count() > 0


def _look(keeper: StickKeeper) -> dict[str, object]:
    keeper.look(float("inf"))
    return {name: value for name, value in vars(keeper).items() if name != "find"}


def _send(outbox: Path, tally: Path, mood: str) -> bool:
    attempt = _OneAttempt()
    with suppress(UnbrickError):
        SendingLoop(Outbox(outbox), partial(_Session, tally, mood), attempt, attempt.show).run()
    return True


def _kept_in(outbox: Path) -> set[str]:
    """The ids of the whole reports that wait there, or that the tally refused."""
    found = set()
    for path in (*outbox.glob("*.json"), *outbox.glob("refused/*.json")):
        with suppress(ValueError, WireError):
            found.add(signed_event(json.loads(path.read_bytes())).id)
    return found
