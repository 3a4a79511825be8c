"""All that the station says: on the screen, on the serial line, in the log. Each of them may be missing."""

from __future__ import annotations

from dataclasses import dataclass

from unbrick.model import DiskReport
from unbrick.station.telling.display import Display
from unbrick.station.telling.event_log import EventLog
from unbrick.station.telling.serial_line import SerialLine


@dataclass(frozen=True)
class Voice:
    """The three together."""

    display: Display
    serial: SerialLine
    log: EventLog

    def line(self, words: str) -> None:
        """A fact for whoever reads the serial line, and for the log."""
        self.serial.say(words)
        self.log.say(words)

    def note(self, sentence: str) -> None:
        """Something a person should know, that stops nothing."""
        self.line(f"note: {sentence}")

    def progress(self, words: str) -> None:
        """What is being done now."""
        self.log.say(words)
        self.display.progress(words)

    def disk(self, report: DiskReport) -> None:
        """What became of a disk."""
        self.line(f"disk {report.disk} status={report.status.value} reason={report.reason or '-'}")
        for said in (report.error, report.hint, *report.notes):
            if said:
                self.log.say(f"{report.disk}: {said}")

    def fault(self, error: Exception) -> None:
        """A mistake of our own, for whoever reads the log: where it happened, a line of the log each."""
        # Loaded here because it takes a while, and most visits need none of it.
        import traceback

        for piece in traceback.format_exception(error):
            for said in piece.splitlines():
                self.log.say(said)

    def stopped(self, why: str) -> None:
        """That the station itself has failed; waits for a key where there is a screen."""
        contact = self.display.contact
        self.display.message(
            "unbrick had to stop:",
            why,
            "Nothing is lost: the next try goes on from here.",
            *([f"Does it stop again? Call the helpdesk: {contact}"] if contact else []),
            "Leave the stick in and press Enter: the computer restarts. Start it from the stick again.",
        )
        self.display.wait_for_key(None)
