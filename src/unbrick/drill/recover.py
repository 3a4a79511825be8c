"""Recovers a drill's fleet disk by disk with the real command, while a tally counts the machines."""

from __future__ import annotations

import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from unbrick.drill.disk.machine_disk import MadeMachine
from unbrick.drill.fleet import Fleet
from unbrick.drill.tally import DrillTally, drill_tally
from unbrick.errors import FailedError
from unbrick.model import ActionState, Status
from unbrick.processes.command import SystemRunner
from unbrick.settings.strict import parse_json
from unbrick.tally.show.board import Board
from unbrick.text import printable

_TALLY = "tally"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LAST_REPORTS_SECONDS = 30.0
_STOP_SECONDS = 25.0


@dataclass(frozen=True)
class Recovered:
    """One machine of the fleet, and the document that `unbrick repair --json` printed of its disk."""

    machine: MadeMachine
    document: dict[str, Any]
    seconds: float

    @property
    def status(self) -> Status:
        return Status(self.document["status"])

    @property
    def names(self) -> tuple[str, ...]:
        """The computer names that the report has, in upper case."""
        return tuple(str(name).upper() for name in self.document["machine"]["hostnames"])

    @property
    def moved(self) -> tuple[str, ...]:
        actions = [action for one in self.document["installations"] for action in one["actions"]]
        return tuple(str(one["path"]) for one in actions if one["state"] == ActionState.DONE)

    @property
    def as_expected(self) -> bool:
        return self.status is self.machine.options.expected


@dataclass(frozen=True)
class Drilled:
    """How a fleet ended; `wrong` has a sentence for each difference between reports and tally."""

    results: tuple[Recovered, ...]
    board: Board
    tally: Path
    wrong: tuple[str, ...]

    @property
    def as_expected(self) -> bool:
        return not self.wrong and all(result.as_expected for result in self.results)


class DrillScreen(Protocol):
    """Where a drill shows what it does."""

    def say(self, line: str) -> None:
        """Show one line, which may be coloured."""

    def pause(self) -> None:
        """Wait a moment, and call the drill's `check`, which may raise."""


OpenScreen = Callable[[Callable[[], Board], Callable[[], None]], AbstractContextManager[DrillScreen]]
"""Given what reads the tally's board, and the drill's `check`."""


def recover_fleet(
    fleet: Fleet, own: Sequence[str], open_screen: OpenScreen, styled: Callable[[Status], str]
) -> Drilled:
    """Recover every disk of a fleet, each with the options `own` too, while a tally counts them."""
    runner = SystemRunner()
    stop = _Stop()
    with stop.handled(), drill_tally(fleet.directory / _TALLY, fleet.inventory, runner) as tally:
        with open_screen(tally.board, stop.check) as screen:
            results = []
            for machine in fleet.machines:
                results.append(_recover(fleet, machine, tally, runner, screen, own))
                screen.say(f"  {styled(results[-1].status)} in {results[-1].seconds:.1f} s")
            _wait_for_last_reports(results, tally, screen)
        board, wrong = tally.board(), tuple(differences(results, tally.counted()))
    return Drilled(tuple(results), board, tally.folder, wrong)


class _Stop:
    """SIGINT, SIGTERM and SIGHUP end the drill, its programs, and put the terminal back.

    They are only noted, and looked for ten times a second: an exception that a handler raises is lost while
    the interpreter starts a program (its hooks around a fork let none through).
    """

    def __init__(self) -> None:
        self._asked: int | None = None

    def check(self) -> None:
        if self._asked is not None:
            number, self._asked = self._asked, None
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    def _ask(self, number: int, _: FrameType | None) -> None:
        self._asked = number

    @contextmanager
    def handled(self) -> Iterator[None]:
        # A signal that our caller has us ignore stays ignored.
        numbers = [one for one in _SIGNALS if signal.getsignal(one) != signal.SIG_IGN]
        former = {number: signal.signal(number, self._ask) for number in numbers}
        try:
            yield
            self.check()
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)


def _recover(
    fleet: Fleet,
    machine: MadeMachine,
    tally: DrillTally,
    runner: SystemRunner,
    screen: DrillScreen,
    own: Sequence[str],
) -> Recovered:
    # As a technician would type it in the fleet's folder.
    shown = ["repair", machine.disk.name, "--keys", fleet.keys.name, "--station", "tally/unbrick.yaml"]
    shown += [*own, "--yes"]
    screen.say(f"\nunbrick {shlex.join(shown)}")
    started = time.monotonic()
    options = ["--keys", str(fleet.keys), "--station", str(tally.station), *own, "--yes", "--json"]
    document = _repair(machine.disk, options, runner, screen)
    result = Recovered(machine, document, time.monotonic() - started)
    for path in result.moved:
        screen.say(f"  moved to quarantine: {printable(path)}")
    if document["error"]:
        screen.say(f"  {printable(document['error'])}")
    return result


def _repair(disk: Path, options: Sequence[str], runner: SystemRunner, screen: DrillScreen) -> dict[str, Any]:
    """The document of `unbrick repair --json`; raises FailedError where it prints none."""
    with tempfile.TemporaryFile() as answer:
        command = [sys.executable, "-m", "unbrick", "repair", str(disk), *options]
        repair = runner.start(command, stdout=answer)
        try:
            while repair.poll() is None:
                screen.pause()
        finally:
            repair.stop(_STOP_SECONDS)
        answer.seek(0)
        try:
            document = parse_json(answer.read())
        except ValueError as error:
            said = repair.read_error().decode(errors="replace").strip().splitlines()
            raise FailedError(
                f"{disk}: the repair ended without a report" + (f": {said[-1]}" if said else "")
            ) from error
    assert isinstance(document, dict)
    return document


def _wait_for_last_reports(results: Sequence[Recovered], tally: DrillTally, screen: DrillScreen) -> None:
    # Reports travel beside the repair: the last may still be on its way.
    deadline = time.monotonic() + _LAST_REPORTS_SECONDS
    while any(differences(results, tally.counted())) and time.monotonic() < deadline:
        screen.pause()


def differences(results: Sequence[Recovered], counted: Mapping[str, str]) -> Iterator[str]:
    """Sentences on each machine whose status at the tally (`counted`, by name) is not the report's."""
    counted = dict(counted)
    for result in results:
        name = next((name for name in result.names if name in counted), None)
        found = counted.pop(name) if name else None
        if found != result.status.value:
            who = result.machine.options.name
            yield f"{who} is {result.status.value} by its report and {found or 'unknown'} at the tally"
    for name, status in counted.items():
        yield f"{printable(name)} ({status}) is no machine of the fleet"
