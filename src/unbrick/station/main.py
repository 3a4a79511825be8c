"""The station as a program. Whatever fails, the disks are closed, the reports kept, and one key restarts."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from unbrick.errors import UnbrickError
from unbrick.events.run_id import new_run_id
from unbrick.processes.command import SystemRunner
from unbrick.processes.libc import forbid_core_dumps
from unbrick.station.telling.event_log import EventLog
from unbrick.station.telling.serial_line import SerialLine
from unbrick.station.telling.voice import Voice

if TYPE_CHECKING:
    from unbrick.station.boot import Boot

MEMORY = Path("/run/station")
_FOREVER_SECONDS = 3600.0


def main() -> int:
    """Run the station; returns only where the machine could not be restarted."""
    forbid_core_dumps()
    serial = SerialLine.open()
    serial.say("station started")
    voice = Voice.open(serial, EventLog(MEMORY / "log" / f"{new_run_id()}.log"))
    voice.progress("Starting")
    boot: Boot | None = None
    try:
        # Loaded here because it takes a while: somebody may be looking at the screen.
        from unbrick.station.boot import Boot

        boot = Boot(MEMORY, voice, SystemRunner())
        boot.run()
    except Exception as error:  # the last door: one line, one key, a restart
        _guard(voice, boot, error)
    return 1


def _guard(voice: Voice, boot: Boot | None, error: Exception) -> None:
    """Show in one line what happened, and restart at a key: what was begun is finished by the next run."""
    from unbrick.processes.libc import restart_platform

    why = error.message if isinstance(error, UnbrickError) else f"{type(error).__name__}: {error}"
    with suppress(Exception):
        voice.fault(error)
    voice.line(f"stopped: {why}")
    with suppress(Exception):
        if boot is not None:
            boot.abandon()
    with suppress(Exception):
        voice.stopped(why)
    while voice.screens is None:  # without a screen there is no key: do not restart in a circle
        time.sleep(_FOREVER_SECONDS)
    restart_platform()
