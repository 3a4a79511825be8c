"""What a station file adds to the work on disks: each event is signed, kept, and sent in the background.

Never stops and never delays that work: what fails here is a sentence for `tell`.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from types import TracebackType

from unbrick.errors import UnbrickError
from unbrick.events.event import Event, EventError
from unbrick.events.run_order import run_in_order
from unbrick.events.wire import SignedEvent
from unbrick.model import DiskReport
from unbrick.report.outbox import Outbox, OutboxError, outbox_folder
from unbrick.report.recorder import tell_last_word
from unbrick.report.sender import BackgroundSender
from unbrick.report.sender_status import SenderState, SenderStatus
from unbrick.report.sending_loop import in_frames
from unbrick.report.session import Limits, TallySession
from unbrick.report.station_login import later_end, with_renewals
from unbrick.settings.station_file import Station, load_station
from unbrick.signing.event_signer import Signer
from unbrick.signing.own_key import own_signer
from unbrick.text import are, counted

_PATIENCE_SECONDS = 10.0
_PATIENCE_WHERE_NOBODY_ANSWERS = 3.0
_PATIENCE_WHEN_STOPPED = 1.0
_HASTY = Limits(connect=2.0, handshake=4.0, answer=4.0)
_MOST_KEPT = 2000
_MOST_LOOKED_AT = 1000  # a huge outbox must not hold up the first disk

Tell = Callable[[str], None]


def load_station_and_signer(path: Path) -> tuple[Station, Signer | None, datetime | None]:
    """A station file, the signer that the tally knows, and when its certificate ends (None: never).

    The signer is None where the file names no tally. Raises UsageError where any of its files cannot be used.
    """
    station = load_station(path)
    if station.tally is None:
        return station, None, None
    signer = Signer.load(station.tally.key)
    ends = signer.check_certificate(station.tally.certificate)
    tally = with_renewals(station.tally, outbox_folder(path))  # it makes the folder: only once all is right
    return replace(station, tally=tally), signer, later_end(tally, ends)


def open_link(path: Path, tell: Tell, on_last_wait: Callable[[], None] | None = None) -> StationLink:
    """The link that `--station` asks for; raises UsageError before anything is touched.

    `tell` is given what went wrong or is left, a sentence each; `on_last_wait` is called before the last
    reports are waited for.
    """
    station, signer, valid_until = load_station_and_signer(path)
    signer = signer or own_signer(outbox_folder(path))
    return StationLink(station, signer, tell, valid_until=valid_until, on_last_wait=on_last_wait)


@dataclass
class StationLink:
    """A `recovery.isolated.ReportLink`, used as a context around the work on some disks."""

    station: Station
    signer: Signer
    tell: Tell
    valid_until: datetime | None = None
    on_last_wait: Callable[[], None] | None = None
    _outbox: Outbox | None = None
    _sender: BackgroundSender | None = None
    _in_memory: list[SignedEvent] = field(default_factory=list)
    _refused_unkept: set[str] = field(default_factory=set)
    _trouble_told: bool = False
    _damaged: int = 0

    def __post_init__(self) -> None:
        self._folder = outbox_folder(self.station.path)

    def __enter__(self) -> StationLink:
        try:
            self._outbox = Outbox(self._folder, self.tell)
            for _ in itertools.islice(self._outbox.pending(), _MOST_LOOKED_AT):
                pass  # tells what a power cut has damaged
            self._damaged = self._outbox.count_set_aside()[1]
        except OutboxError as error:
            self._tell_trouble(f"reports cannot be kept in the outbox: {error.message}; the work goes on")
        if self.station.tally is None:
            return self
        try:
            self._sender = BackgroundSender(self.station.tally, self._folder)
        except (UnbrickError, OSError) as error:
            self._tell_trouble(f"reports cannot be sent meanwhile: {error}; the work goes on")
        return self

    @property
    def site(self) -> str | None:
        return self.station.site

    def run_in_order(self, proposed: str) -> str:
        return run_in_order(proposed, self._folder, latest=self.valid_until)

    def listener(self) -> OutboxListener:
        nudge = None if self._sender is None else self._sender.nudge
        return OutboxListener(self._outbox, self.signer, self._tell_trouble, nudge)

    def take_back(self, kept: Sequence[SignedEvent]) -> None:
        self._in_memory += kept
        if kept:
            self._trouble_told = True
        self._empty_memory()

    def tell_last_word(self, run: str, report: DiskReport) -> None:
        listener = self.listener()
        tell_last_word(run, report, listener, self.site)
        self.take_back(listener.kept)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._empty_memory()
        status, waiting = self._finish_sending(stopped=kind is not None)
        if kind is None:
            self._send_from_memory(status)
        self._tell_what_is_left(status, waiting)

    def _finish_sending(self, *, stopped: bool) -> tuple[SenderStatus, int]:
        """Wait a little for the sender; gives its last status, and how many reports still wait."""
        if self._sender is None:
            return SenderStatus(SenderState.ENDED), self._count()
        status = self._sender.status()
        patience = _PATIENCE_SECONDS
        if status.state in (SenderState.UNREACHABLE, SenderState.BUSY):
            patience = _PATIENCE_WHERE_NOBODY_ANSWERS
        if self.on_last_wait is not None and not stopped and self._count():
            self.on_last_wait()
        with suppress(OutboxError, KeyboardInterrupt):  # the work on disks is done; only the waiting ends
            self._sender.finish(_PATIENCE_WHEN_STOPPED if stopped else patience)
        waiting = self._count()
        after = self._sender.status()
        # That we ended it says nothing; why it could not send does.
        why = after.why if after.state is SenderState.REFUSED else status.why
        return replace(after, why=why), waiting

    def _count(self) -> int:
        try:
            return 0 if self._outbox is None else self._outbox.count()
        except OutboxError:
            return 0

    def _empty_memory(self) -> None:
        """Try the outbox again: acknowledged reports may have made room."""
        with suppress(UnbrickError):  # said when it first failed
            while self._in_memory and self._outbox is not None:
                self._outbox.put(self._in_memory[0])
                del self._in_memory[0]

    def _send_from_memory(self, status: SenderStatus) -> None:
        """Send directly what no outbox holds: it would be lost with this process."""
        tally = self.station.tally
        if not self._in_memory or tally is None or status.state is SenderState.REFUSED:
            return
        with (
            suppress(UnbrickError, KeyboardInterrupt),  # that they are lost is said below
            TallySession.open(tally, limits=_HASTY) as session,
        ):
            for batch in in_frames(tuple(self._in_memory)):
                answer = session.send(batch)
                refused = {one for refusal in answer.refused for one in refusal.ids}
                answered = {*answer.acknowledged, *refused}
                self._refused_unkept |= refused
                self._in_memory = [one for one in self._in_memory if one.id not in answered]
                if answer.busy is not None or not answered:
                    return

    def _tell_trouble(self, sentence: str) -> None:
        """Tell once that reports are in trouble, not again for each disk."""
        if not self._trouble_told:
            self._trouble_told = True
            self.tell(sentence)

    def _tell_what_is_left(self, status: SenderStatus, waiting: int) -> None:
        why = f" ({status.why})" if status.why and (waiting or self._in_memory) else ""
        if waiting:
            self.tell(self._what_waits(waiting) + why)
        if self._in_memory:
            lost = len(self._in_memory)
            could = f"{counted(lost, 'report')} could be neither kept nor sent"
            self.tell(f"{could}, and {are(lost)} lost{why}")
        if self._refused_unkept:
            refused = len(self._refused_unkept)
            those = "it is" if refused == 1 else "they are"
            what = f"{counted(refused, 'report')} that could not be kept"
            self.tell(f"the tally refused {what}: {those} lost")
        if status.refused:
            those = "it is" if status.refused == 1 else "they are"
            refusal = f"the tally refused {counted(status.refused, 'report')}"
            self.tell(f"{refusal}; {those} kept in {self._folder / 'refused'}")
        if status.notice:
            self.tell(status.notice)
        damaged = 0 if self._outbox is None else self._outbox.count_set_aside()[1] - self._damaged
        if damaged > 0:
            were = "was" if damaged == 1 else "were"
            reports = counted(damaged, "damaged report")
            self.tell(f"{reports} {were} set aside in {self._folder / 'damaged'}")

    def _what_waits(self, waiting: int) -> str:
        option = f"--station {shlex.quote(str(self.station.path))}"
        if self.station.tally is None:
            kept = f"{counted(waiting, 'report')} {are(waiting)} kept"
            carry = f"to carry them to one: unbrick outbox export FILE {option}"
            return f"{kept} in {self._folder}; the station file names no tally; {carry}"
        wait = "waits" if waiting == 1 else "wait"
        reports = f"{counted(waiting, 'report')} {wait} in {self._folder}"
        return f"{reports}; send them with unbrick outbox send {option}"


@dataclass
class OutboxListener:
    """Listens to the work on one disk, in its process: signs each event, and puts it into the outbox.

    What that cannot take (or all, where there is none) stays in memory, in `kept`, and is tried again. `tell`
    is given one sentence, the first time the outbox fails; `nudge` is called for each event kept.
    """

    outbox: Outbox | None
    signer: Signer
    tell: Tell
    nudge: Callable[[], None] | None = None
    _kept: list[SignedEvent] = field(default_factory=list)
    _failed: bool = False

    @property
    def kept(self) -> tuple[SignedEvent, ...]:
        return tuple(self._kept)

    def __call__(self, event: Event) -> None:
        data = event.to_bytes()
        self._kept.append(SignedEvent(data, self.signer.sign(data)))
        if self.outbox is None:
            del self._kept[:-_MOST_KEPT]
            return
        try:
            while self._kept:
                self._put(self.outbox, self._kept[0])
                del self._kept[0]
            if self.nudge is not None:
                self.nudge()
        except OutboxError as error:
            del self._kept[:-_MOST_KEPT]
            self._tell_once(f"reports cannot be kept in the outbox: {error.message}; the work goes on")

    def _put(self, outbox: Outbox, signed: SignedEvent) -> None:
        try:
            outbox.put(signed)
        except EventError as error:  # no tally would take it either
            self._tell_once(f"something that happened cannot be reported: {error.message}; the work goes on")

    def _tell_once(self, sentence: str) -> None:
        if not self._failed:
            self._failed = True
            self.tell(sentence)
