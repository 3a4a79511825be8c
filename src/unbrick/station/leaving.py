"""The end of a visit: the last reports, the last screen, everything closed, the restart."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from unbrick.errors import UnbrickError
from unbrick.model import DiskReport, Machine, Status
from unbrick.processes.child import Child
from unbrick.processes.command import Runner, SystemRunner
from unbrick.processes.libc import power_off_platform, restart_platform
from unbrick.report.sender_status import SenderState
from unbrick.signing.carried_text import CarriedTextError, write_text
from unbrick.station.another_try import AnotherTry
from unbrick.station.ending.case import Colour, EndingFacts, already_done
from unbrick.station.ending.ending import LATE, Ending, ending_of
from unbrick.station.ending.instruction import Instruction, Moment
from unbrick.station.ending.next_in_windows import missing_keys
from unbrick.station.machine.block_devices import BlockDevice, count_hidden_disks, list_block_devices
from unbrick.station.machine.medium_facts import MediumFacts
from unbrick.station.machine.network import has_carrier, has_network, wired_interfaces
from unbrick.station.restart import (
    BOOT_NEXT,
    REMOVE_STICK,
    Restart,
    close_everything,
    find_restart,
    present_medium,
    take_boot_next,
    wait_for_removal,
)
from unbrick.station.stick.keeper import read_status
from unbrick.station.stick.settings import Settings
from unbrick.station.targets import find_left_alone
from unbrick.station.telling.reports import Reports
from unbrick.station.telling.screens import Question
from unbrick.station.telling.voice import Voice
from unbrick.text import counted

_SEND_SECONDS = 20.0
_SEND_SECONDS_UNREACHABLE = 4.0
_SEND_SECONDS_WITHOUT_CABLE = 1.0
_KEEP_SECONDS = 5.0
_END_SECONDS = 15.0
_LAST_SECONDS, _GOODBYE_SECONDS = 5.0, 0.5
_SHOWN_SECONDS = 10.0  # to see the colour from the next desk; Enter ends it
_LOOK_SECONDS = 0.1
_REDRAW_SECONDS = 20.0  # longer than a page of the last screen stands
_REMOVAL_SECONDS = 1.0
_LATE_STICK_SECONDS = 4.0  # long enough for the terminal to draw the screen again meanwhile
_MOST_CARRIED = 8
_MOST_CHARACTERS = 1200
_SHELL = ("/bin/sh", "-i")
_TERMINAL = Path("/dev/tty1")
_SHELL_QUESTION = Question(
    "What now?",
    ("This site allows a shell here. That one was opened is reported.",),
    ("Go on without a shell", "Open a shell"),
)


@dataclass
class Leaving:
    """What is needed to leave a machine in order."""

    memory: Path
    voice: Voice
    runner: Runner
    settings: Settings
    medium: MediumFacts
    reports: Reports
    companions: Sequence[Child]
    another: AnotherTry | None = None

    def __post_init__(self) -> None:
        if self.settings.only_looks:
            self.another = None

    def leave(self, done: Sequence[DiskReport]) -> NoReturn:
        """Send, show, wait where a person has to see it, close, and restart or power off."""
        for disk in self._left_alone():
            self.voice.log.say(f"left alone, as it is plugged in from outside: {disk}")
        if self._stick_was_late():
            self.voice.note(LATE)
        again: Sequence[DiskReport] | None = done
        while again is not None:
            done = again
            self._send_last_reports(_machine_of(done))
            restart = find_restart([report.disk for report in done])
            ending = self._ending(done, restart)
            self.voice.show(ending)
            self.voice.line(f"end {ending.colour}")
            ending, again = self._until_it_ends(done, restart, ending)
        may_open = self.settings.shell and not ending.instruction.by_itself
        screens = self.voice.screens if may_open else None
        shell = screens is not None and screens.ask(_SHELL_QUESTION) == 1
        if shell:
            self.reports.note(done[0].machine if done else Machine(), note="shell-opened")
            self.reports.sign_all(_machine_of(done))
        self._close()
        if shell:
            open_shell(self.voice)
        self._go(restart, ending.instruction)

    def _send_last_reports(self, machine: Machine) -> None:
        """Wait for the reports to go out, as long as that has a chance; say how many did."""
        reports = self.reports
        reports.sign_all(machine)
        if reports.has_tally and reports.waiting():
            self.voice.progress("Sending the report")
            begun = time.monotonic()
            while reports.waiting() and time.monotonic() - begun < self._patience():
                time.sleep(_LOOK_SECONDS)
        if reports.waiting():
            self._wait_for_the_stick()
            self.voice.line(f"report kept {reports.waiting()}")
            if why := reports.status().why:
                self.voice.note(f"reports could not be sent: {why}")
        else:
            self.voice.line(f"report sent {reports.status().acknowledged}")
        if notice := reports.status().notice:
            self.voice.note(notice)
        if refused := reports.status().refused:
            stick = read_status(self.memory)
            them = "it" if refused == 1 else "them"
            if stick and stick.present and not stick.trouble:
                where = f"the stick keeps {them} in outbox\\refused"
            else:
                where = f"put in a stick UNBRICK to keep {them}, before the restart"
            self.voice.note(f"the tally refused {counted(refused, 'report')}; {where}")

    def _patience(self) -> float:
        """How many seconds of waiting make sense now."""
        state = self.reports.status().state
        if state in (SenderState.REFUSED, SenderState.ENDED):
            return 0.0
        if has_network():
            return _SEND_SECONDS_UNREACHABLE if state is SenderState.UNREACHABLE else _SEND_SECONDS
        if any(has_carrier(name) for name in wired_interfaces()):
            return _SEND_SECONDS
        return _SEND_SECONDS_WITHOUT_CABLE

    def _wait_for_the_stick(self) -> None:
        """Give what is not sent a moment to reach the stick."""
        deadline = time.monotonic() + _KEEP_SECONDS
        while time.monotonic() < deadline:
            stick = read_status(self.memory)
            if stick and (stick.trouble or not stick.present or self._are_on_stick()):
                return
            time.sleep(_LOOK_SECONDS)

    def _facts(self, done: Sequence[DiskReport], restart: Restart) -> EndingFacts:
        waiting = self.reports.waiting()
        on_stick = self._are_on_stick()
        may_be_left = not waiting or on_stick or not self._are_wanted
        finish = self.settings.finish if may_be_left and not self.settings.guided else "wait"
        only_looked = self.settings.only_looks
        declined = self.settings.guided and any(report.status is Status.FOUND for report in done)
        if only_looked is None and declined:
            only_looked = "that is what was chosen here"
        return EndingFacts(
            finish=finish,
            restart_way=restart.way,
            reports_waiting=waiting,
            reports_on_stick=on_stick,
            tally_known=self.reports.has_tally and not self.reports.status().refused,
            already=already_done(done),
            medium_id=self.medium.id,
            only_looked=only_looked,
            report_text=None if on_stick or not waiting else self._report_text(),
            medium=_called(present_medium()),
            takes_keys=self.another is not None and not self.settings.guided,
            hidden_disks=count_hidden_disks(),
            left_alone=self._left_alone(),
            contact=self.settings.contact,
            missed=self.settings.missed,
            late=self._stick_was_late(),
        )

    def _left_alone(self) -> tuple[str, ...]:
        medium = frozenset(device.name for device in present_medium())
        return find_left_alone(list_block_devices(), medium=medium)

    def _stick_was_late(self) -> bool:
        stick = read_status(self.memory)
        return stick is not None and stick.late

    def _ending(self, done: Sequence[DiskReport], restart: Restart) -> Ending:
        facts = self._facts(done, restart)
        ending = ending_of(done, facts)
        if ending.colour is Colour.GREEN and not self._are_wanted:
            return ending_of(done, replace(facts, reports_waiting=0))
        return ending

    @property
    def _are_wanted(self) -> bool:
        """Whether anybody waits for the reports: with unattended settings and no tally nobody does."""
        return self.reports.has_tally or self.settings.guided or self.settings.station is None

    def _are_on_stick(self) -> bool:
        """Whether all reports that wait are safe on the stick."""
        stick = read_status(self.memory)
        return stick is not None and stick.present and self.reports.are_among(stick.kept)

    def _report_text(self) -> str | None:
        """The outcomes that wait, the latest first, as many as fit a picture and one key has signed."""
        try:
            outcomes = self.reports.outcomes(_MOST_CARRIED)
        except UnbrickError:
            return None
        for count in range(len(outcomes), 0, -1):
            with suppress(CarriedTextError):
                text = write_text(outcomes[:count])
                if len(text) <= _MOST_CHARACTERS:
                    return text
        return None

    def _until_it_ends(
        self, done: Sequence[DiskReport], restart: Restart, ending: Ending
    ) -> tuple[Ending, Sequence[DiskReport] | None]:
        """Show the end for a while, or until somebody presses Enter; reports go out meanwhile.

        Gives what was shown last, and the reports of another try where there was one.
        """
        # Where all is well, taking the medium out is as good an answer as Enter.
        enough = ending.colour == Colour.GREEN and ending.qr is None and bool(present_medium())
        seconds = _REMOVAL_SECONDS if enough else _REDRAW_SECONDS
        if self.another and missing_keys(done):
            seconds = _LATE_STICK_SECONDS
        while not ending.instruction.by_itself:
            if self.voice.screens is None:
                time.sleep(seconds)  # what happened can be read from outside
            elif self.voice.wait_for_key(seconds):
                return ending, self._with_a_typed_key(done)
            if enough and not present_medium():
                return ending, None
            if self.another and (again := self.another.with_a_late_stick(done)):
                return ending, again
            now = self._ending(done, restart)
            if now != ending:
                ending = now
                self.voice.show(ending)
        self.voice.wait_for_key(_SHOWN_SECONDS)
        return ending, None

    def _with_a_typed_key(self, done: Sequence[DiskReport]) -> Sequence[DiskReport] | None:
        screens = self.voice.screens
        # A guided visit has asked for it already.
        if self.another is None or self.settings.guided or screens is None:
            return None
        return self.another.with_a_typed_key(done, screens)

    def _close(self) -> None:
        more = self.reports.waiting() and has_network()
        self.reports.finish_sending(_LAST_SECONDS if more else _GOODBYE_SECONDS)
        for companion in reversed(self.companions):
            if not companion.finish(_END_SECONDS):
                self.voice.note("something beside the work did not end in time")
        for sentence in close_everything(self.runner):
            self.voice.note(sentence)

    def _go(self, restart: Restart, instruction: Instruction) -> NoReturn:
        if instruction.powers_off:
            self.voice.line("powering off")
            power_off_platform()
        chosen, why = take_boot_next(restart)
        if why:
            self.voice.note(why)
        if chosen.way == BOOT_NEXT and chosen.entry is not None:
            self.voice.line(f"restarting into Windows (BootNext {chosen.entry.number:04X})")
            restart_platform()
        if chosen.way == REMOVE_STICK:
            self.voice.line("waiting for the stick to be removed")
            asked_already = instruction.moment is Moment.STICK_OUT and chosen == restart
            if present_medium() and not asked_already:
                self.voice.message(replace(instruction, moment=Moment.STICK_OUT).sentence)
            wait_for_removal()
        self.voice.line("restarting")
        with suppress(OSError):
            self.voice.close()
        restart_platform()


def open_shell(voice: Voice) -> None:
    """Leave the terminal to a shell until that ends. The site's own settings allow it, and it is reported.

    The disks must be closed by then; afterwards the machine is restarted or switched off.
    """
    voice.line("shell opened")
    voice.close()
    with suppress(UnbrickError, OSError):
        SystemRunner().lend_terminal(_SHELL, _TERMINAL)
    voice.line("shell closed")


def _machine_of(done: Sequence[DiskReport]) -> Machine:
    """The machine as its first disk with a Windows names it, for its disks that have none."""
    return next((report.machine for report in done if report.machine.hostnames), Machine())


def _called(medium: Sequence[BlockDevice]) -> str:
    return "" if not medium else "disc" if all(one.optical for one in medium) else "stick"
