"""The screen of the station where there is one; a headless server is worked on in silence.

Whatever goes wrong with a screen must not stop a repair: then there is none from that moment on.
"""

from __future__ import annotations

from unbrick.errors import UnbrickError
from unbrick.event import Event, EventKind
from unbrick.station.ending import Ending
from unbrick.station.screens import Screens
from unbrick.station.terminal import Terminal

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


class Display:
    """What the station shows. `screens` is None where nobody could see anything."""

    def __init__(self, terminal: Terminal | None) -> None:
        self._terminal = terminal
        self.screens = Screens(terminal) if terminal else None

    @classmethod
    def open(cls) -> Display:
        """Take over the first virtual terminal, where there is one."""
        try:
            return cls(Terminal.open())
        except (UnbrickError, OSError, NotImplementedError):
            return cls(None)

    def __call__(self, event: Event) -> None:
        """Follow the work on a disk, as a listener in the process that does it."""
        if event.kind == EventKind.STEP_STARTED and event.step is not None:
            names = event.machine.hostnames
            self.progress(_WORDS.get(event.step, event.step), names[0] if names else None)

    def progress(self, words: str, machine: str | None = None) -> None:
        """Show what is being done now."""
        if self.screens:
            self.screens.progress(words, machine)

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
        if self._terminal:
            self._terminal.close()
