"""The tally's memory: events as they were signed, and what they add up to, kept up to date together.

Every call is one transaction. What `add` returned from is on the disk (WAL, synchronous=FULL); what it
raised from left no trace. A Store may be used from several threads and opened by several processes at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from unbrick.tally.records import (
    InventoryCounts,
    MachineRow,
    ReceivedEvent,
    RecentEvent,
    Station,
    Summary,
)


class Store:
    """The database of one tally; `open` one, `close` it in the end (or use `with`)."""

    @classmethod
    def open(cls, path: Path, *, create: bool = True) -> Store:
        """Open `tally.db`, made first where it is missing (unless not `create`), brought up to this version.

        Raises StoreError: missing, no database, damaged, or written by a newer unbrick; StoreFullError.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the file; what was added stays."""
        raise NotImplementedError

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, batch: Sequence[ReceivedEvent]) -> int:
        """Keep the events that are not here yet and count them; returns how many were new. Durable on return.

        Raises StoreFullError where the disk is full, StoreError otherwise; then nothing of it was kept.
        """
        raise NotImplementedError

    def summary(self, now: datetime | None = None) -> Summary:
        """The numbers; what it costs does not depend on how many machines there are."""
        raise NotImplementedError

    def machines(
        self,
        *,
        status: str | None = None,
        site: str | None = None,
        name: str | None = None,
        limit: int | None = 100,
        offset: int = 0,
    ) -> tuple[MachineRow, ...]:
        """Machines, by name. `name` (any computer name, any case) and the other filters narrow it."""
        raise NotImplementedError

    def recent(self, limit: int = 20) -> tuple[RecentEvent, ...]:
        """The events that arrived last, the latest first."""
        raise NotImplementedError

    def import_inventory(self, path: Path, *, replace: bool = False) -> InventoryCounts:
        """Take the expected machines from a CSV (`inventory.py`); who is not in it stays unless `replace`.

        Raises UsageError where the file is no such CSV.
        """
        raise NotImplementedError

    def mark(
        self, name: str, status: str, *, reason: str, who: str, at: datetime | None = None
    ) -> MachineRow:
        """Write down what a person says of a machine, also one that never reported; gives its row now.

        Raises StatementError: an unknown status word, no reason, or a name that several machines have.
        """
        raise NotImplementedError

    def confirm(self, name: str, *, who: str, reason: str = "", at: datetime | None = None) -> MachineRow:
        """Write down that a machine was seen alive in Windows; like `mark` otherwise."""
        raise NotImplementedError

    def unmark(self, name: str, *, who: str, at: datetime | None = None) -> MachineRow | None:
        """Take a person's word back; the machine's own counts again. None where nothing is left to count."""
        raise NotImplementedError

    def add_station(self, station: Station) -> None:
        """Write down an enrolled station; raises StatementError where the name or the key is in use."""
        raise NotImplementedError

    def revoke_station(self, name: str, at: datetime | None = None) -> Station | None:
        """Note that a station is no longer trusted; None where no trusted one has that name."""
        raise NotImplementedError

    def stations(self) -> tuple[Station, ...]:
        """All stations ever enrolled, by serial number."""
        raise NotImplementedError

    def station_keys(self) -> Mapping[str, str]:
        """The public key (`ssh-ed25519 AAAA…`) of each station that is not revoked, with its name."""
        raise NotImplementedError

    def check(self) -> tuple[str, ...]:
        """Recount everything from the events and say each difference in a sentence; empty when all is well.

        Slow (reads every event); also runs the database's own integrity check.
        """
        raise NotImplementedError
