"""Events on their way into the outbox: a file each in a folder in memory, until the outbox has them signed.

Where the firmware has no UUID that tells machines apart, a tally knows a machine by the name of its Windows.
What is said of a disk without one is held back until the names of the others are known.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from unbrick.errors import UnbrickError
from unbrick.events.event import Event, EventError, parse_event
from unbrick.events.facts import plain_machine
from unbrick.events.wire import SignedEvent
from unbrick.model import Machine
from unbrick.report.outbox import Outbox
from unbrick.signing.event_signer import Signer

SPOOL = "spool"
_NAME = re.compile(r"[0-9A-Za-z-]+-[0-9]{6}\.event")


class Spool:
    """One folder of unsigned events, for any process of the station, one at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held = folder / "held"

    def __call__(self, event: Event) -> None:
        """Write one event down; where even memory is full it is lost, and the work goes on."""
        name = f"{event.run}-{event.sequence:06}.event"
        told_apart = _is_told_apart(event.machine)
        with suppress(OSError):
            self._write(self._folder if told_apart else self._held, name, event)
            for earlier in _events_in(self._held) if told_apart else ():
                if earlier.startswith(f"{event.run}-"):
                    (self._held / earlier).rename(self._folder / earlier)

    def count(self) -> int:
        """How many events are not signed yet."""
        return len(_events_in(self._folder)) + len(_events_in(self._held))

    def release(self, machine: Machine) -> None:
        """Let go what was held back, as said of this machine; as it is where that is not known either."""
        known = plain_machine(machine)
        for name in _events_in(self._held):
            path = self._held / name
            with suppress(OSError, EventError):
                if _is_told_apart(known):
                    self._write(self._folder, name, replace(parse_event(path.read_bytes()), machine=known))
                    path.unlink()
                else:
                    path.rename(self._folder / name)

    def _write(self, folder: Path, name: str, event: Event) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        fresh = (folder / name).with_suffix(".new")
        fresh.write_bytes(event.to_bytes())
        fresh.rename(folder / name)

    def empty_into(self, outbox: Outbox, signer: Signer) -> None:
        """Sign what is there, in order, and put it into the outbox; what cannot be put stays."""
        for name in _events_in(self._folder):
            path = self._folder / name
            try:
                data = path.read_bytes()
                with suppress(EventError):  # no tally would take it
                    outbox.put(SignedEvent(data, signer.sign(data)))
                path.unlink()
            except (OSError, UnbrickError):
                return


def _is_told_apart(machine: Machine) -> bool:
    """Whether the tally can tell which machine this is, not only which disk; it does not go by serials."""
    return bool(machine.smbios_uuid or machine.hostnames)


def _events_in(folder: Path) -> list[str]:
    try:
        names = [entry.name for entry in folder.iterdir()]
    except OSError:
        return []
    return sorted(name for name in names if _NAME.fullmatch(name))
