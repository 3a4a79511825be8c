"""The tally's memory: events as they were signed, and what they add up to, kept up to date together.

Every call is one transaction: durable on return (WAL, synchronous=FULL), without a trace where it raises.
A Store may be used from several threads and opened by several processes at once.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from unbrick.tally.books.database import Database, ReadableDatabase
from unbrick.tally.books.ledger import refill
from unbrick.tally.books.lost_reports import Settled
from unbrick.tally.books.quick_check import SECONDS, QuickCheck, quick_check
from unbrick.tally.count.counting import add_events
from unbrick.tally.count.decisions import What
from unbrick.tally.count.newcomers import NEW_MACHINES_A_DAY
from unbrick.tally.count.recount import ADDED_UP, rebuild
from unbrick.tally.office import disputes, joining, staged_inventory
from unbrick.tally.office.disputes import Dispute
from unbrick.tally.office.expectations import (
    Change,
    apply_changes,
    foresee_replacement,
    known_lines,
    plan_inventory,
    refresh_many_named,
)
from unbrick.tally.office.inventory import Inventory, read_inventory
from unbrick.tally.office.joining import Decision, list_decisions
from unbrick.tally.office.marks import history, state, statement_of, take_back
from unbrick.tally.office.meant_machine import near_misses
from unbrick.tally.records import (
    InventoryCounts,
    Loss,
    MachineLine,
    MachineRow,
    ReceivedEvent,
    RecentEvent,
    Replacement,
    Said,
    Statement,
    StatementError,
    StoreError,
    Summary,
)
from unbrick.tally.show.finding import find_machines
from unbrick.tally.show.key_ids import read_key_ids
from unbrick.tally.show.summary import (
    list_machines,
    machine_with,
    recent_events,
    stream_machines,
    summarise,
)
from unbrick.tally.store.looking import LookingDatabase
from unbrick.tally.store.migrations import is_current, migrate
from unbrick.tally.trust.stations import Visits, read_stored_since, read_visits
from unbrick.text import is_seen


class Store:
    """The database of one tally: `open` it to write, `look` to read; `close` it in the end, or use `with`."""

    def __init__(self, database: ReadableDatabase) -> None:
        self._database = database
        self.settled: Settled | None = None
        """How the database compared with the mark when it was opened."""
        self.new_machines_a_day = NEW_MACHINES_A_DAY

    @classmethod
    def open(cls, path: Path, *, create: bool = True, accept_loss: bool = False) -> Store:
        """Open `tally.db`, brought up to this version; with `create` it is made where it is missing.

        Raises StoreError: missing, no database, damaged, or written by a newer unbrick; StoreFullError;
        LossError where it has less than was acknowledged, or that cannot be known (unless `accept_loss`).
        """
        database = Database(path, create=create, accept_loss=accept_loss)
        store = cls(database)
        try:
            with database.read() as connection:
                database.look_for_mark(connection)
                current = is_current(connection)
            if not current:
                with database.write(large=True) as connection:
                    migrate(connection)
            store.settled = database.settle()
            if not store.settled.is_bound and not store.settled.head.events:
                store.bind()
        except StoreError:
            store.close()
            raise
        return store

    @classmethod
    def look(cls, path: Path) -> Store:
        """Open it read-only (`looking.py`): a call that would write raises StoreError."""
        return cls(LookingDatabase(path))

    def loss(self) -> Loss | None:
        """What was acknowledged and is missing; always None for a store that was opened to write."""
        return self._database.loss() if isinstance(self._database, LookingDatabase) else None

    @property
    def _own(self) -> Database:
        if not isinstance(self._database, Database):
            raise StoreError("the tally was opened to look only")
        return self._database

    def bind(self) -> None:
        """Write down in the database and its mark of which tally's folder they are."""
        self._own.bind()

    def begin_serving(self, seconds: float = SECONDS) -> QuickCheck | None:
        """Note that serving begins; after an unclean end, gives what a look at the database found."""
        if self._own.say_clean(False):
            return None
        with self._database.read() as connection:
            return quick_check(connection, seconds)

    def end_serving(self) -> None:
        self._own.say_clean(True)

    def forget_missing(self) -> None:
        """Make the ledger anew from the reports that are there."""
        with self._database.write() as connection:
            refill(connection)
        self._own.accept_loss()
        self._own.settle()

    def rebuild(self) -> None:
        """Make everything that is added up anew from the reports; slow: reads all of them."""
        with self._database.write(large=True) as connection:
            for table in ADDED_UP:
                connection.exec_driver_sql(f"REINDEX {table.name}")
            rebuild(connection)

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, batch: Sequence[ReceivedEvent]) -> int:
        """Keep the events that are not here yet and count them; returns how many were new.

        Raises StoreFullError where the disk is full, StoreError otherwise; then nothing of it was kept.
        """
        if not batch:
            return 0
        with self._database.write() as connection:
            return add_events(connection, batch, self.new_machines_a_day)

    def summary(self, now: datetime | None = None) -> Summary:
        """Its cost does not depend on how many machines there are."""
        with self._database.read() as connection:
            return summarise(connection, now)

    def machines(
        self,
        *,
        status: str | None = None,
        site: str | None = None,
        name: str | None = None,
        limit: int | None = 100,
        offset: int = 0,
    ) -> tuple[MachineRow, ...]:
        """Machines, sorted by name; `name` is any computer name of one, in any case."""
        with self._database.read() as connection:
            return list_machines(connection, status=status, site=site, name=name, limit=limit, offset=offset)

    @contextmanager
    def everything(self) -> Iterator[tuple[Summary, Iterator[MachineLine]]]:
        """The numbers and every machine, sorted by name, as both were at one moment; read as it is asked for.

        While it is read, the database's log cannot be shortened: take it quickly.
        """
        with self._database.read() as connection:
            yield summarise(connection), stream_machines(connection)

    def find(self, wanted: str) -> tuple[MachineRow, ...]:
        """The machines with this computer name, sticker code or serial number, in any case; by name."""
        with self._database.read() as connection:
            return find_machines(connection, wanted)

    def recent(self, limit: int = 20) -> tuple[RecentEvent, ...]:
        """The latest events first."""
        with self._database.read() as connection:
            return recent_events(connection, limit)

    def key_ids(self, runs: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        """The ids of the BitLocker keys of the locked volumes that each run met, by run."""
        with self._database.read() as connection:
            return read_key_ids(connection, runs)

    def visits(self) -> Mapping[str, Visits]:
        """By the station's name."""
        with self._database.read() as connection:
            return read_visits(connection)

    def stored_since(self, since: datetime) -> Mapping[str, int]:
        """How many bytes of each station were stored since then, by its name."""
        with self._database.read() as connection:
            return read_stored_since(connection, since)

    def foresee_replacement(self, inventory: Inventory) -> Replacement:
        with self._database.read() as connection:
            return foresee_replacement(connection, inventory)

    def inventory_lines(self) -> list[Mapping[str, Any]]:
        with self._database.read() as connection:
            return known_lines(connection)

    def take_inventory(self, inventory: Inventory, replacement: Replacement | None = None) -> InventoryCounts:
        """Take the expected machines; with a `replacement` (foreseen of it) in place of the list before.

        All of the list or nothing, but a long one in several transactions, so that reports are stored
        meanwhile. Raises UsageError where another list came between.
        """
        leaving, token = (replacement.leaving if replacement is not None else None), secrets.token_hex(8)
        begun = False
        while not begun:
            self.finish_inventory()
            with self._database.write() as connection:
                begun = staged_inventory.begin(connection, token)
        with self._database.read() as connection:
            changes, counts = plan_inventory(connection, inventory, leaving)
        if len(changes) <= staged_inventory.BATCH:
            with self._database.write(large=True, act=True) as connection:
                staged_inventory.end(connection, token)
                removed = apply_changes(connection, changes)
                refresh_many_named(connection)
        else:
            self._stage(changes, token)
            removed = self.finish_inventory()
        return replace(counts, removed=removed, kept=counts.kept + counts.removed - removed)

    def _stage(self, changes: Sequence[Change], token: str) -> None:
        staged = 0
        while staged < len(changes):
            with self._database.write() as connection:
                staged += staged_inventory.stage(connection, token, changes, staged)
            staged_inventory.let_others_write()
        with self._database.write(act=True) as connection:
            staged_inventory.finish_staging(connection, token)

    def finish_inventory(self) -> int:
        """Count the rest of a list that was taken; returns how many machines are no longer expected."""
        removed, more = 0, True
        while more:
            with self._database.write(large=True) as connection:
                more, gone = staged_inventory.count_batch(connection)
            removed += gone
            if more:
                staged_inventory.let_others_write()
        return removed

    def lines_waiting(self) -> int:
        """Of a list that was taken and not all counted."""
        with self._database.read() as connection:
            return staged_inventory.waiting(connection)

    def import_inventory(self, path: Path, *, replace: bool = False) -> InventoryCounts:
        """Take the expected machines from a CSV; raises UsageError."""
        inventory = read_inventory(path)
        return self.take_inventory(inventory, self.foresee_replacement(inventory) if replace else None)

    def mark(
        self,
        machine: str,
        status: str,
        *,
        reason: str,
        who: str,
        at: datetime | None = None,
        new: bool = False,
        unseen: bool = False,
    ) -> MachineRow:
        """Write down what a person says of the machine with this name, serial number or sticker code.

        `new` also takes a name that is not known; `unseen` means, of several, the one that never reported.
        Returns its new row. Raises StatementError: an unknown status word or machine, no reason, or several
        machines with that name.
        """
        if not is_seen(reason):
            raise StatementError("a mark needs a reason", hint="say in a few words why: --reason TEXT")
        return self._state(machine, statement_of(status), reason, who, at, new=new, unseen=unseen)

    def confirm(
        self,
        machine: str,
        *,
        who: str,
        reason: str = "",
        at: datetime | None = None,
        new: bool = False,
        unseen: bool = False,
    ) -> MachineRow:
        """Write down that a machine was seen alive in Windows; see `mark`."""
        return self._state(machine, Statement.CONFIRMED, reason, who, at, new=new, unseen=unseen)

    def unmark(
        self, machine: str, *, reason: str, who: str, at: datetime | None = None, unseen: bool = False
    ) -> tuple[Said, MachineRow | None]:
        """Take a person's last statement back; returns it, and the machine's new row (None: it has none).

        Raises StatementError: no reason, no such machine, several of them, or nothing to take back.
        """
        if not is_seen(reason):
            raise StatementError("say in a few words why", hint="--reason TEXT")
        with self._database.write(act=True) as connection:
            key, said = take_back(connection, machine, reason=reason, who=who, at=at, unseen=unseen)
            return said, machine_with(connection, key)

    def near_misses(self, wanted: str) -> list[str]:
        """The names of machines that are most like `wanted`, the likest first."""
        with self._database.read() as connection:
            return near_misses(connection, wanted)

    def said_of(self, row: MachineRow) -> tuple[Said, ...]:
        """All statements on a machine in their order, also those that were taken back."""
        with self._database.read() as connection:
            return history(connection, row.key)

    def _state(
        self,
        machine: str,
        status: Statement,
        reason: str,
        who: str,
        at: datetime | None,
        *,
        new: bool,
        unseen: bool,
    ) -> MachineRow:
        with self._database.write(act=True) as connection:
            key = state(connection, machine, status, reason=reason, who=who, at=at, new=new, unseen=unseen)
            row = machine_with(connection, key)
            assert row is not None  # else nothing of it is kept
        return row

    def disputes(self, limit: int | None = None, *, settled: bool = True) -> list[Dispute]:
        """The contradictions; those that keep a machine out of the numbers come first."""
        with self._database.read() as connection:
            return disputes.list_disputes(connection, limit, settled=settled)

    def settle(self, code: str, what: What | None, *, reason: str, who: str) -> Dispute:
        """Count or dismiss the contradiction with this code; None takes that back. Raises UsageError."""
        with self._database.write(act=True) as connection:
            return disputes.settle(connection, code, what, reason=reason, who=who)

    def decisions(self) -> list[Decision]:
        """The decisions on machines and stations that are in force, in their order."""
        with self._database.read() as connection:
            return list_decisions(connection)

    def merge(self, one: str, other: str, *, reason: str, who: str) -> list[MachineRow]:
        """Count two machines (by name, serial number or code) as the first; raises UsageError."""
        with self._database.write(act=True) as connection:
            return joining.merge(connection, one, other, reason=reason, who=who)

    def unmerge(self, one: str, *, who: str) -> list[MachineRow]:
        """Undo a merge, by a name of the machine then or now, or by `decision:N`; raises UsageError."""
        with self._database.write(act=True) as connection:
            return joining.unmerge(connection, one, who=who)

    def split(self, one: str, *, by: str, reason: str, who: str) -> list[MachineRow]:
        """Count a machine as several, told apart by `disk`, `serial` or `name`; raises UsageError."""
        with self._database.write(act=True) as connection:
            return joining.split(connection, one, by=by, reason=reason, who=who)

    def unsplit(self, one: str, *, who: str) -> list[MachineRow]:
        """Undo a split, by a name of the machine then or now, or by `decision:N`; raises UsageError."""
        with self._database.write(act=True) as connection:
            return joining.unsplit(connection, one, who=who)

    def discount(self, station: str, *, discounted: bool, reason: str, who: str) -> list[MachineRow]:
        """Take a station's reports out of the count, or in again; returns what `joining.discount` does."""
        with self._database.write(act=True) as connection:
            return joining.discount(connection, station, discounted=discounted, reason=reason, who=who)
