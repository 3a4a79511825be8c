"""Who is enrolled and who is revoked: one small file, read again when it changed.

The one place that says whom the tally trusts; a file, so that it holds while the database is locked or the
disk full. A station's key stays in it when it is revoked: it must never be taken for an unknown one.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from unbrick.errors import FailedError, UsageError
from unbrick.events.event import moment
from unbrick.files import atomic_write, folder_owner, open_for_owner
from unbrick.settings.strict import parse_json
from unbrick.signing.ssh_key import SshKeyError, blob_of_line, fingerprint
from unbrick.tally.books.acknowledged import Trust
from unbrick.tally.folder import TallyFolder
from unbrick.tally.free_space import land
from unbrick.tally.records import Loss
from unbrick.tally.trust.kept_trust import missing_trust, note_trust, set_trust

DEFAULT_DAYS = 731
_VERSION = 1
_MOST_BYTES = 256 * 1024 * 1024
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class RegisterError(FailedError):
    """The register of stations cannot be read: nobody is let in until it can."""


@dataclass(frozen=True)
class Enrolment:
    """One station: a name, its place, its key, the serial of its certificates. Times are ISO 8601, UTC.

    Every field that was added later has a default: a register of an older unbrick is read all the same.
    `everywhere` lets the station report for any site. `by` is who enrolled it, `days` how long each of its
    certificates lasts. `gaps` are the times from a revocation to its end that nobody vouches for.
    `certificate` is the one that it was given last, to be fetched; None where that was when it was enrolled.
    `held` is when the certificate ends that it is known to have, where that is not yet the newest.
    `accepted` says that nobody enrolled it and somebody vouched for its key (`import --accept-key`), and why:
    what it signed is taken only where that is said again.
    """

    name: str
    site: str
    serial: int
    public_key: str
    enrolled: str
    expires: str
    revoked: str | None = None
    everywhere: bool = False
    by: str | None = None
    days: int = DEFAULT_DAYS
    revoked_by: str | None = None
    revoked_why: str | None = None
    gaps: tuple[tuple[str, str], ...] = ()
    certificate: str | None = None
    held: str | None = None
    accepted: bool = False
    accepted_why: str | None = None

    @property
    def fingerprint(self) -> str:
        """Its key as OpenSSH names it: `SHA256:…`."""
        return fingerprint(blob_of_line(self.public_key))

    def in_a_gap(self, at: str) -> bool:
        """Whether a time lies where the station was revoked; both ends belong to it."""
        return any(begin <= at <= end for begin, end in self.gaps)


def is_name(text: str) -> bool:
    """Whether a station or a site could be called so."""
    return _NAME.fullmatch(text) is not None


def checked_name(text: str, what: str) -> str:
    """A station's or a site's name; raises UsageError for what no event could carry."""
    if not is_name(text):
        raise UsageError(
            f"{text!r} is no name for a {what}", hint="use small letters, digits, - and _; at most 64 of them"
        )
    return text


class StationRegister:
    """The register as it is now; `refresh` before looking."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._changes = 0
        self._stations: tuple[Enrolment, ...] = ()
        self._current: dict[str, Enrolment] = {}
        self._by_key: dict[bytes, Enrolment] = {}
        self._revoked_serials: frozenset[int] = frozenset()

    def refresh(self) -> None:
        """Read the file again where it changed; raises RegisterError."""
        try:
            found = self._path.stat()
            seen = (found.st_ino, found.st_mtime_ns, found.st_size)
            if seen != self._seen:
                stations, trust = read_register(self._path)
                if trust.changes < self._changes:
                    raise RegisterError(
                        f"{self._path} is an older copy: changes of who may report are missing"
                    )
                self._take(stations)
                self._seen, self._changes = seen, trust.changes
        except OSError as error:
            hint = None
            if isinstance(error, PermissionError):
                hint = "this account may not see who is enrolled: look as the account that serves, or as root"
            raise RegisterError(f"{self._path} cannot be read: {error.strerror}", hint=hint) from error

    def _take(self, stations: tuple[Enrolment, ...]) -> None:
        try:
            by_key = {blob_of_line(one.public_key): one for one in stations}
        except SshKeyError as error:
            raise RegisterError(f"{self._path} holds a key that cannot be read") from error
        self._stations = stations
        self._current = {one.name: one for one in stations if one.revoked is None}
        self._revoked_serials = frozenset(one.serial for one in stations if one.revoked is not None)
        self._by_key = by_key

    @property
    def stations(self) -> tuple[Enrolment, ...]:
        """Every enrolment there ever was, in order."""
        return self._stations

    def current(self, name: str) -> Enrolment | None:
        """The station that bears this name now; None where it is unknown or revoked."""
        return self._current.get(name)

    def by_key(self, blob: bytes) -> Enrolment | None:
        """The station of a public key in SSH wire form, revoked ones too."""
        return self._by_key.get(blob)

    def is_revoked(self, serial: int) -> bool:
        """Whether the certificate with this serial number was revoked."""
        return serial in self._revoked_serials


def keep_accepted(path: Path, keys: Iterable[Enrolment]) -> None:
    """Write down keys that nobody enrolled and somebody vouched for, those that are not known yet."""
    with _changing(path) as stations:
        known = {one.public_key for one in stations}
        fresh = tuple(one for one in keys if one.public_key not in known)
        if fresh:
            write_register(path, (*stations, *fresh))


def station_called(path: Path, wanted: str) -> str:
    """The name of the station that has this name, or whose key has this fingerprint; else what was asked."""
    stations, _ = read_register(path)
    bare = wanted.strip().removeprefix("SHA256:")
    by_key = (one.name for one in stations if one.fingerprint.removeprefix("SHA256:") == bare)
    return wanted if is_name(wanted) else next(by_key, wanted)


def write_register(path: Path, stations: tuple[Enrolment, ...]) -> None:
    """Write the register whole; on a full disk the room that is kept gives way to it."""
    before, done = read_register(path) if path.exists() else ((), Trust())
    more = _changed(before, stations)
    now = Trust(done.changes + more.changes, done.revocations + more.revocations)
    document = {
        "version": _VERSION,
        "changes": now.changes,
        "revocations": now.revocations,
        "stations": [asdict(one) for one in stations],
    }
    content = json.dumps(document, indent=1).encode() + b"\n"
    # Whoever enrols may be root, and the account that serves must still be able to read it.
    land(path.parent, lambda: atomic_write(path, content, owner=folder_owner(path.parent)))
    note_trust(path, now, more)


def lost_trust(folder: TallyFolder) -> Loss | None:
    """What the register of a tally lacks of what was written down outside it; only looks."""
    try:
        missing = missing_trust(folder.stations, read_register(folder.stations)[1])
    except (OSError, RegisterError):
        return None  # that is said by whoever needs it
    return Loss(0, 0, trust=missing.changes, revocations=missing.revocations) if missing else None


def accept_register(folder: TallyFolder) -> None:
    """Vouch for the register as it is now; raises RegisterError, OSError."""
    set_trust(folder.stations, read_register(folder.stations)[1])


def _changed(before: tuple[Enrolment, ...], after: tuple[Enrolment, ...]) -> Trust:
    """In how many stations two registers differ about whom to trust, and how many are revoked by that."""
    old, new = ({one.public_key: _trusted(one) for one in stations} for stations in (before, after))
    changed = [key for key in old.keys() | new.keys() if old.get(key) != new.get(key)]
    revoked = {one.public_key for one in after if one.revoked is not None}
    revoked -= {one.public_key for one in before if one.revoked is not None}
    return Trust(len(changed), len(revoked))


def _trusted(station: Enrolment) -> tuple[object, ...]:
    return (station.name, station.site, station.everywhere, station.revoked, station.gaps)


def read_register(path: Path) -> tuple[tuple[Enrolment, ...], Trust]:
    """The stations of a register, and how often it was changed; raises RegisterError, OSError."""
    try:
        document = parse_json(path.read_bytes(), _MOST_BYTES)
        if document["version"] != _VERSION:
            raise RegisterError(f"{path} is of another version")
        done = Trust(int(document.get("changes", 0)), int(document.get("revocations", 0)))
        return tuple(_enrolment(one) for one in document["stations"]), done
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RegisterError(f"{path} is damaged: {error}") from error


def _enrolment(fields: dict[str, Any]) -> Enrolment:
    gaps = tuple((str(begin), str(end)) for begin, end in fields.get("gaps", ()))
    return Enrolment(**(fields | {"gaps": gaps}))


@contextmanager
def _changing(path: Path) -> Iterator[tuple[Enrolment, ...]]:
    """The stations, held against every other process that would change them at the same time."""
    with lock_file(path.with_name(f".{path.name}.lock")) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield read_register(path)[0]


@contextmanager
def lock_file(path: Path) -> Iterator[int]:
    """A file to hold a lock on, for its owner only; the kernel lets go however we end."""
    descriptor = open_for_owner(path, os.O_RDWR)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def enrolling(path: Path, name: str) -> Iterator[tuple[tuple[Enrolment, ...], int]]:
    """The stations and a new serial, held until the block ends; raises UsageError for a name in use."""
    with _changing(path) as stations:
        if any(one.name == name and one.revoked is None for one in stations):
            raise UsageError(
                f"a station {name} is enrolled already", hint="choose another name, or revoke that one first"
            )
        yield stations, max((one.serial for one in stations), default=0) + 1


def require_station(stations: tuple[Enrolment, ...], name: str) -> Enrolment:
    """The station that bears a name now; raises UsageError where none does."""
    for one in stations:
        if one.name == name and one.revoked is None:
            return one
    known = any(one.name == name for one in stations)
    raise UsageError(
        f"the station {name} is revoked already" if known else f"no station {name} is enrolled",
        hint="`unbrick tally stations DIR` lists every station",
    )


@contextmanager
def renewing(path: Path, name: str) -> Iterator[tuple[tuple[Enrolment, ...], Enrolment]]:
    """The stations and the one of that name, held until the block ends; raises UsageError."""
    with _changing(path) as stations:
        station = require_station(stations, name)
        if station.accepted:
            raise UsageError(
                f"{name} has no certificate: its key was only accepted for an import",
                hint="enrol a station for it: unbrick tally enrol DIR NAME --site SITE",
            )
        yield stations, station


def note_held(path: Path, serial: int, ends: datetime) -> None:
    """A station showed a certificate that ends then, later than any that it was known to have.

    Of a medium's copies, the one that got furthest counts.
    """
    with _changing(path) as stations:
        write_register(path, tuple(_holding(one, ends) if one.serial == serial else one for one in stations))


def _holding(station: Enrolment, ends: datetime) -> Enrolment:
    shown, newest = moment(ends), moment(datetime.fromisoformat(station.expires).replace(microsecond=0))
    return replace(station, held=shown if shown < newest else None)


def revoke_name(
    path: Path, name: str, now: datetime, *, by: str | None = None, why: str | None = None
) -> tuple[Enrolment, ...]:
    """Revoke whatever bears this name; raises UsageError where nothing does."""
    with _changing(path) as stations:
        require_station(stations, name)
        ended = tuple(one for one in stations if one.name == name and one.revoked is None)
        write_register(
            path,
            tuple(
                replace(one, revoked=moment(now), revoked_by=by, revoked_why=why) if one in ended else one
                for one in stations
            ),
        )
        return ended


def take_back_revocation(path: Path, name: str, now: datetime, *, trust_gap: bool = False) -> Enrolment:
    """Trust the station again that bore this name last; raises UsageError.

    The time in between is kept as a gap. With `trust_gap` somebody vouches for it, and for every earlier one.
    """
    with _changing(path) as stations:
        named = [one for one in stations if one.name == name]
        if not named:
            raise UsageError(
                f"no station {name} was ever enrolled",
                hint="`unbrick tally stations DIR` lists every station",
            )
        last = max(named, key=lambda one: one.serial)
        if last.revoked is None and not (trust_gap and last.gaps):
            raise UsageError(
                f"the station {name} is not revoked", hint="`unbrick tally stations DIR` lists every station"
            )
        gaps = () if trust_gap else (*last.gaps, (last.revoked or "", moment(now)))
        again = replace(last, revoked=None, revoked_by=None, revoked_why=None, gaps=gaps)
        write_register(path, tuple(again if one is last else one for one in stations))
        return again
