"""Gives a tally's reports away as they were signed: lines for `tally import`, files for OpenSSH to verify."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from sqlalchemy import select

from unbrick.errors import UsageError
from unbrick.event import NAMESPACE, canonical_json
from unbrick.files import sync_directory
from unbrick.signing.signature import parse_signature
from unbrick.signing.ssh_key import line_of_blob
from unbrick.tally.database import ReadableDatabase
from unbrick.tally.new_folder import errors_named, new_folder
from unbrick.tally.register import StationRegister, is_name
from unbrick.tally.schema import events, ledger
from unbrick.wire import SignedEvent

_AT_ONCE = 500


def signed_events(database: ReadableDatabase) -> Iterator[tuple[str, SignedEvent]]:
    """Every report with its station's name, in the order in which they were committed."""
    columns = (ledger.c.number, events.c.station, events.c.data, events.c.signature)
    found = select(*columns).join(events, events.c.id == ledger.c.event).order_by(ledger.c.number)
    last = 0
    with database.read() as connection:
        while rows := connection.execute(found.where(ledger.c.number > last).limit(_AT_ONCE)).all():
            for _, station, data, signature in rows:
                yield station, SignedEvent(bytes(data), signature)
            last = rows[-1][0]


def write_lines(database: ReadableDatabase, stream: IO[bytes]) -> int:
    """Write a line of JSON a report, as `outbox export` does; how many."""
    number = 0
    for _, signed in signed_events(database):
        stream.write(canonical_json(signed.to_document()) + b"\n")
        number += 1
    return number


def write_file(database: ReadableDatabase, path: Path) -> int:
    """The same into a new file, for its owner only; how many. Raises UsageError, FailedError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise UsageError(f"{path} is there already", hint="name a new file") from None
    with errors_named(path), os.fdopen(descriptor, "wb") as stream:
        number = write_lines(database, stream)
        stream.flush()
        os.fsync(descriptor)
    return number


def write_folder(database: ReadableDatabase, register: StationRegister, folder: Path) -> int:
    """Fill a new or empty folder for `ssh-keygen -Y verify`; how many reports.

    `allowed_signers` has a line for each key that a station ever had; `<station>/<id>.json` is a report byte
    for byte as it was signed, and its signature lies beside it with `.sig` at the end.
    """
    register.refresh()
    number = 0
    keys = {(one.name, one.public_key): None for one in register.stations}
    with new_folder(folder):
        for station, signed in signed_events(database):
            number += 1
            blob = parse_signature(signed.signature).public_key
            if register.by_key(blob) is None:  # somebody vouched for it (`import --accept-key`)
                keys[station, line_of_blob(blob)] = None
            place = folder / (station if is_name(station) else "unknown")
            place.mkdir(exist_ok=True)
            (place / f"{signed.id}.json").write_bytes(signed.data)
            (place / f"{signed.id}.json.sig").write_text(signed.signature)
        lines = [f'{name} namespaces="{NAMESPACE}" {key}\n' for name, key in keys]
        (folder / "allowed_signers").write_text("".join(lines))
        sync_directory(folder)
    return number
