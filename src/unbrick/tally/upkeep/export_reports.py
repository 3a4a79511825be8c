"""Exports a tally's reports as they were signed: lines for `tally import`, files for OpenSSH to verify.

Of a damaged tally everything readable is exported, and what is missing is said.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError

from unbrick.events.event import NAMESPACE, canonical_json
from unbrick.events.wire import SignedEvent
from unbrick.files import sync_directory
from unbrick.signing.signature import SignatureFormatError, parse_signature
from unbrick.signing.ssh_key import line_of_blob
from unbrick.tally.books.ledger import read_head
from unbrick.tally.books.schema import events, ledger
from unbrick.tally.new_places import Contents, new_file, new_folder
from unbrick.tally.records import StoreError
from unbrick.tally.store.looking import LookingDatabase
from unbrick.tally.trust.register import StationRegister, is_name
from unbrick.tally.upkeep.check import ledger_rows
from unbrick.text import are, counted

_AT_ONCE = 500
_CONTENTS = Contents(r"allowed_signers|[^/]+/|[^/]+/[0-9a-f]{64}\.json(\.sig)?")
_MOST_IN_VAIN = 20


@dataclass
class Exported:
    """How many reports were exported, and what to say of the others."""

    reports: int = 0
    complaints: list[str] = field(default_factory=list)


class _Reader:
    """Reads every report with its station's name, in the order of the ledger."""

    def __init__(self, database: LookingDatabase) -> None:
        self._database = database
        self._missing = 0
        self._unreadable = 0
        self._changed = 0
        self.found = Exported()

    def read(self) -> Iterator[tuple[str, SignedEvent]]:
        """Everything readable; afterwards `found` has the complaints."""
        try:
            loss = self._database.loss()
            if loss is not None:
                self._complain(str(loss))
            with self._database.read() as connection:
                yield from self._read(connection)
        except StoreError as error:
            self._complain(error.message)
        if self._missing:
            self._complain(f"{_reports(self._missing)} acknowledged and missing in tally.db")
        if self._unreadable:
            self._complain(f"tally.db is damaged: {_reports(self._unreadable)} not readable")
        if self._changed:
            self._complain(f"{_reports(self._changed)} not what was signed; given away as they are")

    def _read(self, connection: Connection) -> Iterator[tuple[str, SignedEvent]]:
        here = 0
        for row in self._in_order(connection):
            if row.data is None:
                self._missing += 1
                continue
            here += 1
            yield from self._report(row)
        if (connection.execute(select(func.count()).select_from(events)).scalar() or 0) > here:
            yield from self._strays(connection)

    def _in_order(self, connection: Connection) -> Iterator[Any]:
        last, end, in_vain = 0, read_head(connection).events, 0
        while last < end and in_vain < _MOST_IN_VAIN:
            try:
                rows = ledger_rows(connection, last, _AT_ONCE)
                in_vain = 0
            except DBAPIError:
                rows = self._one_by_one(connection, last, min(last + _AT_ONCE, end))
                in_vain = 0 if rows else in_vain + 1
                last = min(last + _AT_ONCE, end)
                yield from rows
                continue
            if not rows:
                return
            yield from rows
            last = rows[-1].number
        self._unreadable += max(0, end - last)

    def _one_by_one(self, connection: Connection, last: int, until: int) -> Sequence[Any]:
        """The readable rows of a stretch with a damaged page in it."""
        rows: list[Any] = []
        for number in range(last, until):
            try:
                rows += [row for row in ledger_rows(connection, number, 1) if row.number == number + 1]
            except DBAPIError:
                self._unreadable += 1
        return rows

    def _strays(self, connection: Connection) -> Iterator[tuple[str, SignedEvent]]:
        before = self.found.reports
        for row in connection.execute(select(events).where(events.c.id.not_in(select(ledger.c.event)))):
            yield from self._report(row)
        if number := self.found.reports - before:
            self._complain(f"{_reports(number)} in no ledger; given away as well")

    def _report(self, row: Any) -> Iterator[tuple[str, SignedEvent]]:
        try:
            row.data.decode()
            parse_signature(row.signature)
        except (AttributeError, TypeError, UnicodeDecodeError, SignatureFormatError):
            self._unreadable += 1
            return
        self._changed += hashlib.sha256(row.data).digest() != row.id
        self.found.reports += 1
        yield str(row.station), SignedEvent(row.data, row.signature)

    def _complain(self, sentence: str) -> None:
        self.found.complaints.append(sentence)


def _reports(number: int) -> str:
    return f"{counted(number, 'report')} {are(number)}"


def write_lines(database: LookingDatabase, stream: IO[bytes]) -> Exported:
    """Write a line of JSON for each report, as `outbox export` does."""
    reader = _Reader(database)
    for _, signed in reader.read():
        stream.write(canonical_json(signed.to_document()) + b"\n")
    return reader.found


def write_file(database: LookingDatabase, path: Path) -> Exported:
    """Write the lines into a new file, for its owner only; raises UsageError, FailedError."""
    with new_file(path) as stream:
        return write_lines(database, stream)


def write_folder(database: LookingDatabase, register: StationRegister, folder: Path) -> Exported:
    """Fill a new or empty folder for `ssh-keygen -Y verify`.

    `allowed_signers` has a line for each key that a station ever had; `<station>/<id>.json` is a report byte
    for byte as it was signed, `<station>/<id>.json.sig` its signature.
    """
    register.refresh()
    reader = _Reader(database)
    keys = {(one.name, one.public_key): None for one in register.stations}
    with new_folder(folder, _CONTENTS):
        for station, signed in reader.read():
            blob = parse_signature(signed.signature).public_key
            if register.by_key(blob) is None:  # accepted by `import --accept-key`
                keys[station, line_of_blob(blob)] = None
            place = folder / (station if is_name(station) else "unknown")
            place.mkdir(exist_ok=True)
            (place / f"{signed.id}.json").write_bytes(signed.data)
            (place / f"{signed.id}.json.sig").write_text(signed.signature)
        lines = [f'{name} namespaces="{NAMESPACE}" {key}\n' for name, key in keys]
        (folder / "allowed_signers").write_text("".join(lines))
        sync_directory(folder)
    return reader.found
