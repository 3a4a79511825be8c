"""A drill's fleet recovered disk by disk by the real command, while a tally counts the machines."""

from __future__ import annotations

import json
import shlex
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from unbrick.cli.drill.screen import DrillScreen, drill_screen
from unbrick.cli.terminal.manners import say
from unbrick.cli.terminal.wording import COLOUR, styled_status
from unbrick.drill.tally import DrillTally, drill_tally
from unbrick.errors import FailedError
from unbrick.model import ActionState, Status
from unbrick.processes.command import SystemRunner
from unbrick.tally.show.board import Board
from unbrick.tally.show.screen import totals_sentence
from unbrick.text import printable

if TYPE_CHECKING:
    from unbrick.drill.disk.machine_disk import MadeMachine
    from unbrick.drill.fleet import Fleet

TALLY = "tally"
_SITE = "drill"
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
        """What the report says."""
        return Status(self.document["status"])

    @property
    def names(self) -> tuple[str, ...]:
        """The computer names the report found, in upper case."""
        return tuple(str(name).upper() for name in self.document["machine"]["hostnames"])

    @property
    def moved(self) -> tuple[str, ...]:
        """The paths of the files that went to quarantine."""
        actions = [action for one in self.document["installations"] for action in one["actions"]]
        return tuple(str(one["path"]) for one in actions if one["state"] == ActionState.DONE)

    @property
    def as_expected(self) -> bool:
        """Whether the machine ended as the fleet's truth says."""
        return self.status is self.machine.options.expected


def run_drill(fleet: Fleet, playbook: Path | None = None) -> int:
    """Recover every disk of a fleet, each with `playbook`, and count the machines; the exit code."""
    runner = SystemRunner()
    stop = _Stop()
    own = ["--playbook", str(playbook)] if playbook else []
    with stop.heeded(), drill_tally(fleet.directory / TALLY, fleet.inventory, _SITE, runner) as tally:
        with drill_screen(tally.board, stop.check) as screen:
            results = [_recover(fleet, machine, tally, runner, screen, own) for machine in fleet.machines]
            _wait_for_last_reports(results, tally, screen)
        board, wrong = tally.board(), tuple(differences(results, tally.counted()))
    _show_table(results)
    click.echo(f"\nLook into it: {fleet.directory}")
    take_back = ["undo", str(results[0].machine.disk), *own, "--yes"]
    click.echo(f"Take one back: unbrick {shlex.join(take_back)}")
    click.echo(f"See the tally again: unbrick tally watch {shlex.quote(str(tally.folder))}")
    return _conclude(results, board, wrong)


def _conclude(results: Sequence[Recovered], board: Board, wrong: Sequence[str]) -> int:
    """The last lines: what the tally counted, and where that is not what the reports say."""
    for difference in wrong:
        say(click.style(f"the tally differs: {difference}", fg="red"), err=True)
    if wrong:
        say(
            "  what to do: unbrick outbox list --station tally/unbrick.yaml, and look into refusals.log",
            err=True,
        )
    click.echo(f"\nCounted by the tally: {click.style(totals_sentence(board), bold=True)}")
    return 0 if not wrong and all(result.as_expected for result in results) else 1


class _Stop:
    """SIGINT, SIGTERM and SIGHUP end the drill: programs are ended and the terminal is put back.

    They are only noted, and looked for ten times a second: an exception that a handler raises is lost where
    the interpreter starts a program (its hooks around a fork let none through).
    """

    def __init__(self) -> None:
        self._asked: int | None = None

    def check(self) -> None:
        """Raise what the signal asks for, if one came."""
        if self._asked is not None:
            number, self._asked = self._asked, None
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    def _ask(self, number: int, _: FrameType | None) -> None:
        self._asked = number

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """For this long; a signal that our caller has us ignore stays ignored."""
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
    """Recover one disk by the command that a technician would type."""
    shown = [
        "repair",
        machine.disk.name,
        "--keys",
        fleet.keys.name,
        "--station",
        "tally/unbrick.yaml",
        *own,
        "--yes",
    ]
    screen.say(f"\nunbrick {shlex.join(shown)}")
    started = time.monotonic()
    options = ["--keys", str(fleet.keys), "--station", str(tally.station), *own, "--yes", "--json"]
    document = _repair(machine.disk, options, runner, screen)
    result = Recovered(machine, document, time.monotonic() - started)
    for path in result.moved:
        screen.say(f"  moved to quarantine: {printable(path)}")
    if document["error"]:
        screen.say(f"  {printable(document['error'])}")
    screen.say(f"  {styled_status(result.status)} in {result.seconds:.1f} s")
    return result


def _repair(disk: Path, options: Sequence[str], runner: SystemRunner, screen: DrillScreen) -> dict[str, Any]:
    """Run `unbrick repair`; raises FailedError where it says nothing that can be understood."""
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
            document = json.loads(answer.read())
        except ValueError as error:
            said = repair.read_error().decode(errors="replace").strip().splitlines()
            raise FailedError(
                f"{disk}: the repair ended without a report" + (f": {said[-1]}" if said else "")
            ) from error
    assert isinstance(document, dict)
    return document


def _wait_for_last_reports(results: Sequence[Recovered], tally: DrillTally, screen: DrillScreen) -> None:
    """Reports travel beside the repair: the last may still be on its way."""
    deadline = time.monotonic() + _LAST_REPORTS_SECONDS
    while any(differences(results, tally.counted())) and time.monotonic() < deadline:
        screen.pause()


def differences(results: Sequence[Recovered], counted: Mapping[str, str]) -> Iterator[str]:
    """Where the tally's status of each machine (`counted`, by name) is not the report's, in sentences."""
    counted = dict(counted)
    for result in results:
        name = next((name for name in result.names if name in counted), None)
        found = counted.pop(name) if name else None
        if found != result.status.value:
            who = result.machine.options.name
            yield f"{who} is {result.status.value} by its report and {found or 'unknown'} at the tally"
    for name, status in counted.items():
        yield f"{printable(name)} ({status}) is no machine of the fleet"


def _show_table(results: Sequence[Recovered]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title="The fleet", title_justify="left")
    for heading in ("machine", "what it was", "status", "reason", "files moved", "seconds"):
        table.add_column(heading, justify="right" if heading in {"files moved", "seconds"} else "left")
    for result in results:
        surprise = "" if result.as_expected else f" (expected {result.machine.options.expected.value})"
        table.add_row(
            Text(printable(", ".join(result.names)) or result.machine.options.name),
            result.machine.options.scenario,
            Text(result.status.value, COLOUR[result.status]).append(surprise, "default"),
            result.document["reason"] or "",
            str(len(result.moved) or ""),
            f"{result.seconds:.1f}",
        )
    counts = Counter(result.status.value for result in results)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print()
    console.print(table)
    console.print(f"{len(results)} disks: " + ", ".join(f"{n} {word}" for word, n in counts.items()))
