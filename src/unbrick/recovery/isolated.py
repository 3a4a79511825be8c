"""The story of one disk in a process and namespaces of its own, so that nothing outlives it.

Whatever happens there, even a kill -9, ends in a report of the disk, and in an event for the tally.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from unbrick.disks.firmware import read_firmware
from unbrick.errors import FailedError, Reason, UnbrickError
from unbrick.events.event import Event, Listener, moment
from unbrick.events.run_id import new_run_id
from unbrick.events.wire import SignedEvent
from unbrick.incidents.library import load_library
from unbrick.incidents.playbook import Playbook
from unbrick.keys.chain import KeyChain
from unbrick.model import DiskReport
from unbrick.processes.command import SystemRunner
from unbrick.processes.isolation import run_isolated
from unbrick.recovery.case import Confirm, Kit, Order
from unbrick.recovery.outcome import Draft
from unbrick.recovery.story import recover_disk
from unbrick.report.recorder import Recorder


class EventKeeper(Protocol):
    """What listens to the work on one disk (`report.link.OutboxListener`); raises nothing of ours."""

    @property
    def kept(self) -> tuple[SignedEvent, ...]:
        """The events that it could store nowhere."""

    def __call__(self, event: Event) -> None: ...


class ReportLink(Protocol):
    """Where reports go (`report.link.StationLink`); entered before the work and left after it."""

    @property
    def site(self) -> str | None:
        """The site that every event names."""

    def run_in_order(self, proposed: str) -> str:
        """The id of a new run, after all earlier ones."""

    def listener(self) -> EventKeeper:
        """Called in the process that works on the disk."""

    def take_back(self, kept: Sequence[SignedEvent]) -> None:
        """Take over the events that the process of one disk could not store."""

    def tell_last_word(self, run: str, report: DiskReport) -> None:
        """Report the outcome of a run whose process died."""


class StoppedError(Exception):
    """A signal or the person stopped the work on one disk; `report` is what a script reads of it.

    `exit_code` is 128 and the signal's number: 130 after Ctrl-C.
    """

    def __init__(self, report: DiskReport, exit_code: int) -> None:
        super().__init__()
        self.report = report
        self.exit_code = exit_code


def recover_isolated(
    order: Order,
    keys: KeyChain,
    *,
    confirm: Confirm | None = None,
    link: ReportLink | None = None,
    listeners: Sequence[Listener] = (),
    playbooks: Callable[[], Sequence[Playbook]] = load_library,
    medium: str | None = None,
    on_fault: Callable[[Exception], None] | None = None,
) -> DiskReport:
    """Work on one disk in namespaces of its own; an error becomes the disk's report.

    Events go to `listeners`, in that process, and through `link`, which must have been entered; `playbooks`
    is called there too. `medium` is the id of the boot medium we run from. A bug of ours is given to
    `on_fault`, and becomes the disk's report too; without `on_fault` it is raised.

    Raises StoppedError where a signal or the person stopped it: everything has been cleaned up by then.
    """
    begun, clock = datetime.now(UTC), time.monotonic()
    run = link.run_in_order(new_run_id()) if link else new_run_id()

    def work(workdir: Path) -> tuple[DiskReport, tuple[SignedEvent, ...]]:
        listener = link.listener() if link else None
        heard: Sequence[Listener] = (listener, *listeners) if listener else listeners
        recorder = Recorder(run, heard, site=link.site if link else None)
        kit = Kit(SystemRunner(), recorder, keys, playbooks(), workdir, confirm, medium)
        return recover_disk(order, kit), listener.kept if listener else ()

    def timed(report: DiskReport) -> DiskReport:
        return replace(report, started=moment(begun), seconds=round(time.monotonic() - clock, 3))

    def failed(error: UnbrickError, *, last_word: bool = True) -> DiskReport:
        report = Draft(order.disk, trouble=error, firmware=read_firmware(order.disk)).report()
        if link and last_word:
            link.tell_last_word(run, report)
        return timed(report)

    try:
        report, kept = run_isolated(work)
    except UnbrickError as error:
        return failed(error, last_word=error.reason == Reason.INTERRUPTED)
    except Exception as error:
        if on_fault is None:
            raise
        on_fault(error)
        return failed(_faulty(error))
    except (KeyboardInterrupt, SystemExit) as stop:
        code = stop.code if isinstance(stop, SystemExit) and isinstance(stop.code, int) else 130
        stopped = FailedError(
            f"the work on {order.disk} was stopped before it was done",
            hint="run the same command again: what was begun is then finished",
            reason=Reason.INTERRUPTED,
        )
        raise StoppedError(failed(stopped), code) from None
    if link:
        link.take_back(kept)
    return timed(report)


def _faulty(error: Exception) -> FailedError:
    # Its class only: its message may hold anything that was being worked on.
    return FailedError(
        f"internal error ({type(error).__name__})",
        hint="run it again; if it fails again, report it: a station's log, or UNBRICK_DEBUG=1, says where",
        reason=Reason.INTERNAL_ERROR,
    )
