"""The station as a program: one life, and one line where it ends early.

Whatever of ours fails, the disks are closed (each was worked on in a process of its own), the reports are
kept, and one key restarts the machine.
"""

from __future__ import annotations

import traceback
from contextlib import suppress
from pathlib import Path

from unbrick.command import SystemRunner
from unbrick.errors import UnbrickError
from unbrick.station.boot import Boot
from unbrick.station.display import Display
from unbrick.station.event_log import EventLog
from unbrick.station.serial_line import SerialLine
from unbrick.station.system_calls import restart_platform
from unbrick.station.voice import Voice

MEMORY = Path("/run/station")


def main() -> int:
    """Run the station; comes back only where the machine could not be restarted."""
    voice = Voice(Display.open(), SerialLine.open(), EventLog(MEMORY / "log" / "station.log"))
    voice.line("station started")
    try:
        Boot(MEMORY, voice, SystemRunner()).run()
    except Exception as error:  # the last door: one line, one key, a restart
        _guard(voice, error)
    return 1


def _guard(voice: Voice, error: Exception) -> None:
    """Say in one line what happened, and restart at a key: what was begun is finished by the next run."""
    why = error.message if isinstance(error, UnbrickError) else f"{type(error).__name__}: {error}"
    voice.log.say("".join(traceback.format_exception(error)))
    with suppress(Exception):
        voice.stopped(why)
        restart_platform()
