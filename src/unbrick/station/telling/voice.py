"""All that the station says: on the screen, on the serial line, in the log. Each of them may be missing."""

from __future__ import annotations

from unbrick.errors import UnbrickError
from unbrick.events.event import Event, EventKind
from unbrick.model import DiskReport
from unbrick.station.ending.ending import Ending
from unbrick.station.screen.terminal import Terminal
from unbrick.station.telling.event_log import EventLog
from unbrick.station.telling.screens import Screens
from unbrick.station.telling.serial_line import SerialLine

_WORDS = {
    "discover": "Looking at the disk",
    "unlock": "Unlocking BitLocker",
    "find-windows": "Looking for Windows",
    "diagnose": "Looking for the fault",
    "plan": "Planning the repair",
    "repair": "Taking the fault away",
    "undo": "Putting everything back",
    "verify": "Checking the repair",
}


class Voice:
    """The three together. `screens` is None on a headless server, which is worked on in silence."""

    def __init__(self, terminal: Terminal | None, serial: SerialLine, log: EventLog) -> None:
        self.log = log
        self.screens = Screens(terminal, say=serial.say) if terminal else None
        self._terminal = terminal
        self._serial = serial

    @classmethod
    def open(cls, serial: SerialLine, log: EventLog) -> Voice:
        """Take over the first virtual terminal, where there is one."""
        try:
            return cls(Terminal.open(), serial, log)
        except (UnbrickError, OSError):
            return cls(None, serial, log)

    def __call__(self, event: Event) -> None:
        """Follow the work on a disk, as a listener in the process that does it."""
        self.log(event)
        if event.kind == EventKind.STEP_STARTED and event.step is not None:
            name = next(iter(event.machine.hostnames), None)
            self._serial.say(f"step {event.step} {name or '-'}")
            if self.screens:
                self.screens.progress(_WORDS.get(event.step, event.step), name)

    def line(self, words: str) -> None:
        """Say a fact to whoever reads the serial line, and to the log."""
        self._serial.say(words)
        self.log.say(words)

    def note(self, sentence: str) -> None:
        """Say something that a person should know and that stops nothing."""
        self.line(f"note: {sentence}")

    def progress(self, words: str) -> None:
        """Say what is being done now."""
        self.log.say(words)
        if self.screens:
            self.screens.progress(words)

    def disk(self, report: DiskReport) -> None:
        self.line(f"disk {report.disk} status={report.status.value} reason={report.reason or '-'}")
        for said in (report.error, report.hint, *report.notes):
            if said:
                self.log.say(f"{report.disk}: {said}")

    def fault(self, error: Exception) -> None:
        """Log where a mistake of our own happened."""
        # Loaded here because it takes a while, and most visits need none of it.
        import traceback

        for piece in traceback.format_exception(error):
            for said in piece.splitlines():
                self.log.say(said)

    def show(self, ending: Ending) -> None:
        if self.screens:
            self.screens.show(ending)

    def message(self, *lines: str) -> None:
        if self.screens:
            self.screens.message(lines)

    def wait_for_key(self, seconds: float | None) -> bool:
        """Whether somebody pressed Enter within so many seconds; at once False where there is no screen."""
        return self.screens is not None and self.screens.wait_for_key(seconds)

    def stopped(self, why: str) -> None:
        """Show that the station itself has failed; waits for a key where there is a screen."""
        contact = self.screens.contact if self.screens else None
        self.message(
            "unbrick had to stop:",
            why,
            "Nothing is lost: the next try goes on from here.",
            *([f"Does it stop again? Call the helpdesk: {contact}"] if contact else []),
            "Leave the stick in and press Enter: the computer restarts. Start it from the stick again.",
        )
        self.wait_for_key(None)

    def close(self) -> None:
        """Give the terminal back."""
        if self._terminal:
            self._terminal.close()
