"""The screen of the station where there is one; a headless server is worked on in silence.

A question is also said on the serial line, so that whoever reads there knows what is waited for.
"""

from __future__ import annotations

from collections.abc import Sequence

from unbrick.errors import UnbrickError
from unbrick.events.event import Event, EventKind
from unbrick.keys.password import RecoveryPassword
from unbrick.station.ending.ending import Ending
from unbrick.station.screen.terminal import Terminal
from unbrick.station.telling.screens import Question, Screens
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


class _SpokenScreens(Screens):
    """Screens that say on the serial line what they wait for."""

    def __init__(self, terminal: Terminal, serial: SerialLine) -> None:
        super().__init__(terminal)
        self._serial = serial

    def ask(self, question: Question) -> int:
        """See `Screens.ask`."""
        self._serial.say(f"asks {question.title}")
        return super().ask(question)

    def ask_password(
        self, protector_ids: Sequence[str], volume: str = "This disk", *, tried_wrong: bool = False
    ) -> RecoveryPassword | None:
        """See `Screens.ask_password`."""
        again = " again" if tried_wrong else ""
        self._serial.say(f"asks recovery-password {' '.join(protector_ids)}{again}")
        return super().ask_password(protector_ids, volume, tried_wrong=tried_wrong)


class Display:
    """What the station shows. `screens` is None where nobody could see anything."""

    def __init__(self, terminal: Terminal | None, serial: SerialLine) -> None:
        self.terminal = terminal
        self.screens: Screens | None = _SpokenScreens(terminal, serial) if terminal else None
        self._serial = serial
        self.contact: str | None = None

    @classmethod
    def open(cls, serial: SerialLine) -> Display:
        """Take over the first virtual terminal, where there is one."""
        try:
            return cls(Terminal.open(), serial)
        except (UnbrickError, OSError):
            return cls(None, serial)

    def __call__(self, event: Event) -> None:
        """Follow the work on a disk, as a listener in the process that does it."""
        if event.kind == EventKind.STEP_STARTED and event.step is not None:
            name = next(iter(event.machine.hostnames), None)
            self._serial.say(f"step {event.step} {name or '-'}")
            self.progress(_WORDS.get(event.step, event.step), name)

    def progress(self, words: str, machine: str | None = None) -> None:
        """Show what is being done now."""
        if self.screens:
            self.screens.progress(words, machine)

    def name_contact(self, contact: str | None) -> None:
        """Whom the person here can call, on every screen that has them call somebody."""
        self.contact = contact
        if self.screens:
            self.screens.contact = contact

    def show(self, ending: Ending) -> None:
        """Show how it ended."""
        if self.screens:
            self.screens.show(ending)

    def message(self, *lines: str) -> None:
        """Show some sentences."""
        if self.screens:
            self.screens.message(lines)

    def wait_for_key(self, seconds: float | None) -> bool:
        """Whether somebody pressed Enter within so many seconds; nobody does where there is no screen."""
        return self.screens is not None and self.screens.wait_for_key(seconds)

    def close(self) -> None:
        """Give the terminal back."""
        if self.terminal:
            self.terminal.close()
