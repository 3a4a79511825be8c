"""The end of a visit: the last reports, the last screen, everything closed, the restart."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from unbrick.command import Runner
from unbrick.model import DiskReport, Status, worst_status
from unbrick.report.sender_status import SenderState
from unbrick.station.companion import Companion
from unbrick.station.ending import Colour, Ending, EndingFacts, ending_of
from unbrick.station.finish import (
    BOOT_NEXT,
    REMOVE_STICK,
    Restart,
    close_everything,
    find_restart,
    take_boot_next,
    wait_for_removal,
)
from unbrick.station.medium_facts import MediumFacts
from unbrick.station.network import has_carrier, has_network, wired_interfaces
from unbrick.station.reports import Reports
from unbrick.station.settings import Settings
from unbrick.station.stick_keeper import read_status
from unbrick.station.system_calls import power_off_platform, restart_platform
from unbrick.station.voice import Voice

_SEND_SECONDS = 20.0
_SEND_SECONDS_UNREACHABLE = 4.0
_SEND_SECONDS_WITHOUT_CABLE = 1.0
_STICK_SECONDS = 15.0
_COMPANION_SECONDS = 3.0
_SHOWN_SECONDS = 3.0
_LOOK_SECONDS = 0.1
_GREEN = {Status.REPAIRED, Status.HEALTHY, Status.UNDONE}


class Leaving:
    """What is needed to leave a machine in order."""

    def __init__(
        self,
        memory: Path,
        voice: Voice,
        runner: Runner,
        settings: Settings,
        medium: MediumFacts,
        reports: Reports,
        companions: Sequence[Companion],
    ) -> None:
        self._memory = memory
        self._voice = voice
        self._runner = runner
        self._settings = settings
        self._medium = medium
        self._reports = reports
        self._companions = companions

    def leave(self, done: Sequence[DiskReport]) -> NoReturn:
        """Send, show, wait where a person has to see it, close, and restart or power off."""
        self._send_last_reports()
        restart = find_restart([report.disk for report in done])
        ending, colour = self._show(done, restart)
        self._voice.line(f"end {colour}")
        by_itself = colour == Colour.GREEN and self._settings.finish != "wait"
        if ending is not None and self._voice.display.screens:
            self._voice.display.wait_for_key(_SHOWN_SECONDS if by_itself else None)
        elif not by_itself:
            self._wait_for_ever()
        self._close()
        self._go(restart, power_off=self._settings.finish == "power-off" and by_itself)

    def _send_last_reports(self) -> None:
        """Wait for the reports to go out, as long as that has a chance; say how many did."""
        reports = self._reports
        if reports.has_tally and reports.waiting():
            self._voice.progress("Sending the report")
            begun = time.monotonic()
            while reports.waiting() and time.monotonic() - begun < self._patience():
                time.sleep(_LOOK_SECONDS)
        waiting = reports.waiting()
        if waiting:
            self._voice.line(f"report kept {waiting}")
        else:
            self._voice.line(f"report sent {reports.status().acknowledged}")

    def _patience(self) -> float:
        state = self._reports.status().state
        if state in (SenderState.REFUSED, SenderState.ENDED):
            return 0.0
        if not has_network() and not any(has_carrier(name) for name in wired_interfaces()):
            return _SEND_SECONDS_WITHOUT_CABLE
        if state is SenderState.UNREACHABLE and has_network():
            return _SEND_SECONDS_UNREACHABLE
        return _SEND_SECONDS

    def _show(self, done: Sequence[DiskReport], restart: Restart) -> tuple[Ending | None, str]:
        """The last screen, and its colour."""
        stick = read_status(self._memory)
        facts = EndingFacts(
            finish=self._settings.finish,
            restart_way=restart.way,
            reports_waiting=self._reports.waiting(),
            reports_on_stick=stick.present and not stick.missing,
            tally_known=self._reports.has_tally,
            already=None,
            medium_id=self._medium.id,
            only_looked=self._settings.only_looks,
        )
        try:
            ending = ending_of(done, facts)
        except NotImplementedError:
            return None, _plain_colour(done)
        self._voice.display.show(ending)
        return ending, ending.colour.value

    def _wait_for_ever(self) -> None:
        """Nobody can press a key: stay as it is, so that what happened can be read from outside."""
        while True:
            time.sleep(60.0)

    def _close(self) -> None:
        self._reports.finish_sending(0.5)
        for companion in self._companions:
            if not companion.finish(_STICK_SECONDS):
                self._voice.line("note: something beside the work did not end in time")
        for sentence in close_everything(self._runner):
            self._voice.note(sentence)

    def _go(self, restart: Restart, *, power_off: bool) -> NoReturn:
        if power_off:
            self._voice.line("powering off")
            power_off_platform()
        restart, why = take_boot_next(restart)
        if why:
            self._voice.note(why)
        if restart.way == BOOT_NEXT and restart.entry is not None:
            self._voice.line(f"restarting into Windows (BootNext {restart.entry.number:04X})")
            restart_platform()
        if restart.way == REMOVE_STICK:
            self._voice.line("waiting for the stick to be removed")
            self._voice.display.message("Take the stick out now.", "This machine then restarts by itself.")
            wait_for_removal()
        self._voice.line("restarting")
        with suppress(OSError):
            self._voice.display.close()
        restart_platform()


def _plain_colour(done: Sequence[DiskReport]) -> str:
    status = worst_status(report.status for report in done)
    if done and status in _GREEN:
        return Colour.GREEN.value
    return Colour.RED.value if status is Status.FAILED else Colour.AMBER.value
