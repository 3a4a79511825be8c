"""Looks at everything that a tally keeps: is it whole, is it what was signed, are the counts right?

The counts can be made anew from the reports (`Store.rebuild`); the reports cannot.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select

from unbrick.errors import FailedError
from unbrick.events.event import EventError, parse_event
from unbrick.events.wire import SignedEvent
from unbrick.tally.books.acknowledged import Mark, read_mark
from unbrick.tally.books.clock import present
from unbrick.tally.books.database import ReadableDatabase
from unbrick.tally.books.database_files import refuse_second_name
from unbrick.tally.books.ledger import NO_EVENT, blob, next_link, read_head
from unbrick.tally.books.lost_reports import find_loss, mark_path
from unbrick.tally.books.schema import events, ledger
from unbrick.tally.count.recount import ADDED_UP, differences
from unbrick.tally.door.intake import Intake, RefusedEventError, medium_name
from unbrick.tally.folder import read_settings
from unbrick.tally.store.looking import LookingDatabase
from unbrick.tally.store.store import Store
from unbrick.tally.trust.audit import AuditLog
from unbrick.tally.trust.register import Enrolment, StationRegister, lost_trust
from unbrick.text import counted

MOST_COMPLAINTS = 100
_AT_ONCE = 1000

_OF_INDEX = re.compile(r"(?:missing from|entries in|entry in) index (\w+)$")
_ADDED_UP_INDEXES = {str(index.name) for table in ADDED_UP for index in table.indexes}
_ADDED_UP_KEYS = tuple(f"sqlite_autoindex_{table.name}_" for table in ADDED_UP)

Progress = Callable[[str, int, int], None]
"""Is given what is being looked at, how much of it is done, and how much there is (0: unknown)."""


def no_progress(_: str, done: int, of: int) -> None: ...


@dataclass
class Checked:
    """What was found.

    `missing` reports were acknowledged; `differences` are in the counts and can be repaired; `complaints` are
    all other faults, `more` of them beyond a hundred. `signatures` counts the verified ones; None: not asked
    for. With `lacks_mark` it is unknown how many reports are missing; with `lacks_trust` the register of
    stations is an older copy.
    """

    reports: int = 0
    missing: int = 0
    complaints: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    signatures: int | None = None
    more: int = 0
    lacks_mark: bool = False
    lacks_trust: bool = False

    @property
    def is_well(self) -> bool:
        return not (self.missing or self.complaints or self.differences)

    def complain(self, sentence: str) -> None:
        if len(self.complaints) < MOST_COMPLAINTS:
            self.complaints.append(sentence)
        else:
            self.more += 1


def check_tally(directory: Path, *, signatures: bool, progress: Progress = no_progress) -> Checked:
    """Look at the tally in a folder, also while it is served; raises UsageError, StoreError."""
    folder, _ = read_settings(directory)
    register = StationRegister(folder.stations)
    of_register = Checked()
    with _complaining(of_register):
        register.refresh()
    mark = read_mark(mark_path(folder.database))
    with LookingDatabase(folder.database) as database:
        verifying = signatures and not of_register.complaints
        found = check(database, mark, register=register if verifying else None, progress=progress)
        look_for_mark(database, found)
    with _complaining(found):
        refuse_second_name(folder.database)
    for sentence in of_register.complaints:
        found.complain(sentence)
    if (trust := lost_trust(folder)) is not None:
        found.lacks_trust = True
        found.complain(str(trust))
    return found


def look_for_mark(looking: LookingDatabase, found: Checked) -> None:
    with _complaining(found):
        loss = looking.loss()
        if loss is not None and loss.unmarked:
            found.lacks_mark = True
            found.complain(str(loss))
        if loss is not None and loss.strange:
            found.complain(str(loss))


def repair_tally(directory: Path, *, by: str) -> None:
    """Make all counts anew from the reports, and write down who asked; raises StoreError."""
    folder, _ = read_settings(directory)
    with Store.open(folder.database, create=False) as store:
        store.rebuild()
    AuditLog(folder.audit).tell("counted-anew", by=by)


def check(
    database: ReadableDatabase,
    mark: Mark | None,
    *,
    register: StationRegister | None = None,
    counting: bool = True,
    progress: Progress = no_progress,
) -> Checked:
    """Look at everything, the signatures too where a register is given; slow: reads every report.

    `mark` was read before the reports: the tally may be served meanwhile.
    """
    found = Checked(signatures=None if register is None else 0)
    progress("the database's own check", 0, 0)
    with _complaining(found):
        _sort(database.complaints(), found)
    with _complaining(found), database.read() as connection:
        loss = find_loss(connection, mark) if mark else None
        if loss is not None:
            found.complain(str(loss))
            found.missing += loss.events
        _look_at_reports(connection, found, register, progress)
    if counting:
        progress("counting again", 0, 0)
        with _complaining(found), database.read() as connection:
            found.differences.extend(differences(connection))
    return found


def _sort(complaints: Iterable[str], found: Checked) -> None:
    for sentence in complaints:
        # A fault in an index of the counts goes away when they are made anew.
        of_index = _OF_INDEX.search(sentence)
        if of_index and (of_index[1] in _ADDED_UP_INDEXES or of_index[1].startswith(_ADDED_UP_KEYS)):
            found.differences.append(sentence)
        else:
            found.complain(sentence)


@contextmanager
def _complaining(found: Checked) -> Iterator[None]:
    """A part that cannot be read becomes a complaint, and does not hide the others."""
    try:
        yield
    except FailedError as error:
        found.complain(error.message)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        found.complain(f"what is kept cannot be read: {error}")


def _look_at_reports(
    connection: Connection, found: Checked, register: StationRegister | None, progress: Progress
) -> None:
    head = read_head(connection)
    intake = None if register is None else Intake(_AllWhoEverReported(register), present)
    chain, expected, present_rows = NO_EVENT, 1, 0
    for row in _whole_ledger(connection):
        if row.number != expected:
            found.complain(f"the ledger has no number {expected}, and goes on with {row.number}")
        elif next_link(chain, blob(row.event)) != row.chain:
            found.complain(f"the ledger does not fit together at number {row.number}")
        chain, expected = blob(row.chain), row.number + 1
        if row.data is None:
            found.missing += 1
            found.complain(f"report {blob(row.event).hex()} was acknowledged and is missing")
        else:
            present_rows += 1
            _look_at(row, intake, found)
        if row.number % _AT_ONCE == 0:
            progress("reports", row.number, head.events)
    found.reports = connection.execute(select(func.count()).select_from(events)).scalar() or 0
    if found.reports > present_rows:
        beside = found.reports - present_rows
        stand = "stands" if beside == 1 else "stand"
        found.complain(f"{counted(beside, 'report')} {stand} in no ledger")


def ledger_rows(connection: Connection, last: int, most: int) -> Sequence[Any]:
    """The rows of the ledger after the number `last`, each with its report's columns (None: missing)."""
    columns = ("id", "run", "sequence", "station", "at", "data", "signature")
    of_report = [events.c[name] for name in columns]
    found = select(*ledger.c, *of_report).join(events, events.c.id == ledger.c.event, isouter=True)
    return connection.execute(found.where(ledger.c.number > last).order_by(ledger.c.number).limit(most)).all()


def _whole_ledger(connection: Connection) -> Iterator[Any]:
    last = 0
    while rows := ledger_rows(connection, last, _AT_ONCE):
        yield from rows
        last = rows[-1].number


def _look_at(row: Any, intake: Intake | None, found: Checked) -> None:
    name, data = blob(row.event).hex(), row.data
    if not isinstance(data, bytes) or hashlib.sha256(data).digest() != row.event:
        found.complain(f"report {name} is not what was signed")
        return
    try:
        event = parse_event(data)
    except EventError as error:
        found.complain(f"report {name} cannot be read: {error.message}")
        return
    if (event.run, event.sequence, event.at) != (row.run, row.sequence, row.at):
        found.complain(f"report {name} is filed under another run, number or time")
    if intake is not None:
        found.signatures = (found.signatures or 0) + 1
        try:
            signer = intake.station_of(SignedEvent(data, str(row.signature)))
        except RefusedEventError as error:
            found.complain(f"report {name}: {error.text}")
        else:
            if signer.name != row.station:
                found.complain(f"report {name}: signed by {signer.name}, and filed under {row.station}")


class _AllWhoEverReported(StationRegister):
    """Knows every key: a report that was accepted stays good when its station is revoked or unknown later."""

    def __init__(self, register: StationRegister) -> None:
        self._register = register

    def by_key(self, blob: bytes) -> Enrolment | None:
        known = self._register.by_key(blob)
        return (
            replace(known, revoked=None, accepted=False)
            if known
            else Enrolment(medium_name(blob), "", 0, "", "", "")
        )
