"""A shell for the technician: only where the site's own settings allow one, and after all disks are closed.

It is reported before it opens. Afterwards this machine is restarted or switched off.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from unbrick.errors import UnbrickError
from unbrick.processes.command import SystemRunner
from unbrick.station.telling.screens import Question, Screens
from unbrick.station.telling.voice import Voice

_SHELL = ("/bin/sh", "-i")
_TERMINAL = Path("/dev/tty1")
_QUESTION = Question(
    "What now?",
    ("This site allows a shell here. That one was opened is reported.",),
    ("Go on without a shell", "Open a shell"),
)


def wants_shell(screens: Screens) -> bool:
    return screens.ask(_QUESTION) == 1


def open_shell(voice: Voice) -> None:
    """Leave the terminal to a shell until that ends; the disks must be closed by then."""
    voice.line("shell opened")
    voice.close()
    with suppress(UnbrickError, OSError):
        SystemRunner().lend_terminal(_SHELL, _TERMINAL)
    voice.line("shell closed")
