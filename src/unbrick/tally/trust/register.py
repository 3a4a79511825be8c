"""Who is enrolled and who is revoked: one small file, read again when it changed.

The only place that says whom the tally trusts; a file, so that it works while the database is locked or the
disk full. A revoked station's key stays in it: it must never be taken for an unknown one.

From another copy of the register, stations revoked since would be trusted again. So each of its changes has a
link of a chain (a hash of all changes up to it), which is kept in it and, outside it, in `tally.mark`: before
the change as what is to come, after it as what is. Where the mark cannot be written, a revocation is written
all the same, and says so.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from unbrick.errors import FailedError, UsageError
from unbrick.events.event import moment
from unbrick.files import atomic_write, folder_owner, opened_for_owner
from unbrick.settings.strict import parse_json
from unbrick.signing.ssh_key import SshKeyError, blob_of_line, fingerprint
from unbrick.tally.books.acknowledged import MarkFile, Trust, read_mark, read_trust
from unbrick.tally.folder import TallyFolder
from unbrick.tally.free_space import land
from unbrick.tally.records import UNMARKED, Loss

DEFAULT_DAYS = 731
_MARK = "tally.mark"
_NO_LINK = "none"
_VERSION = 1
_MOST_BYTES = 256 * 1024 * 1024
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")  # no event could carry another one


class RegisterError(FailedError):
    """The register of stations cannot be read; nobody is let in until it can."""


@dataclass(frozen=True)
class Enrolment:
    """One station: a name, its place, its key, the serial of its certificates. Times are ISO 8601, UTC.

    Fields added later have a default, so that the register of an older unbrick can be read.
    `everywhere` lets the station report for any site; `by` is who enrolled it, `days` how long each of its
    certificates lasts. `gaps` are the times between a revocation and its end that nobody vouches for.
    `certificate` is the newest one, for the station to fetch; None where it is the one from the enrolment.
    `held` is when the certificate ends that the station is known to have, where that is not the newest.
    `accepted` marks a key that was not enrolled but accepted by a person (`import --accept-key`): its reports
    count only in an import that accepts the key again.
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
        return fingerprint(blob_of_line(self.public_key))

    def in_a_gap(self, at: str) -> bool:
        return any(begin <= at <= end for begin, end in self.gaps)


def is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def checked_name(text: str, what: str) -> str:
    if not is_name(text):
        raise UsageError(
            f"{text!r} is no name for a {what}", hint="use small letters, digits, - and _; at most 64 of them"
        )
    return text


class StationRegister:
    """The register in memory; call `refresh` before looking."""

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
                if self._seen is not None:  # who opens the tally has compared the first one
                    _refuse_other_copy(self._path, trust)
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
        return self._stations

    def current(self, name: str) -> Enrolment | None:
        return self._current.get(name)

    def by_key(self, blob: bytes) -> Enrolment | None:
        return self._by_key.get(blob)  # also a revoked one; `blob` is a public key in SSH wire form

    def is_revoked(self, serial: int) -> bool:
        return serial in self._revoked_serials


def keep_accepted(path: Path, keys: Iterable[Enrolment]) -> None:
    with changing(path) as stations:
        known = {one.public_key for one in stations}
        fresh = tuple(one for one in keys if one.public_key not in known)
        if fresh:
            write_register(path, (*stations, *fresh))


def station_called(path: Path, wanted: str) -> str:
    """The name of the station with this name or key fingerprint; `wanted` itself where there is none."""
    stations, _ = read_register(path)
    bare = wanted.strip().removeprefix("SHA256:")
    by_key = (one.name for one in stations if one.fingerprint.removeprefix("SHA256:") == bare)
    return wanted if is_name(wanted) else next(by_key, wanted)


def write_register(path: Path, stations: tuple[Enrolment, ...]) -> None:
    """Write the whole register; on a full disk it uses the reserve.

    Raises RegisterError where the one that is there is not the newest: nobody goes on with an older copy.
    """
    before, now = read_register(path) if path.exists() else ((), Trust())
    _refuse_other_copy(path, now)
    more = _changed(before, stations)
    if not more.changes:
        _write(path, stations, now)  # nobody is trusted differently
        return
    then = Trust(now.changes + more.changes, now.revocations + more.revocations)
    if path.with_name(_MARK).exists():
        _write_noted(path, stations, now, then)
    else:
        _write(path, stations, then)  # the tally is just being made


def begin_noting(folder: TallyFolder) -> None:
    """Let the mark of a new tally know its register from the beginning."""
    stations, now = read_register(folder.stations)
    if (folder.path / _MARK).exists():
        _write_noted(folder.stations, stations, now, now)


def _write_noted(path: Path, stations: tuple[Enrolment, ...], now: Trust, then: Trust) -> None:
    then = replace(then, chain=_next_link(now.chain, stations))
    if _note(path, replace(then, previous=now.chain or _NO_LINK)):
        _write(path, stations, then)
        _note(path, then)
    else:  # it says which change the mark knows of, and goes on saying it until one is noted
        _write(path, stations, replace(then, previous=now.previous or now.chain or _NO_LINK))


def _write(path: Path, stations: tuple[Enrolment, ...], trust: Trust) -> None:
    document = {
        "version": _VERSION,
        "changes": trust.changes,
        "revocations": trust.revocations,
        "chain": trust.chain,
        **({"follows": trust.previous} if trust.previous else {}),
        "stations": [asdict(one) for one in stations],
    }
    content = json.dumps(document, indent=1).encode() + b"\n"
    # Root may enrol, and the account that serves must still be able to read it.
    land(path.parent, lambda: atomic_write(path, content, owner=folder_owner(path.parent)))


def _next_link(chain: str, stations: tuple[Enrolment, ...]) -> str:
    trusted = sorted([one.public_key, *map(str, _trusted(one))] for one in stations)
    return hashlib.sha256(f"{chain} {json.dumps(trusted)}".encode()).hexdigest()[:32]


def _note(path: Path, trust: Trust) -> bool:
    """Write into the mark how far the register is; gives whether that is durable."""
    try:
        with closing(MarkFile(path.with_name(_MARK))) as file, file.held():
            file.write_trust(trust)
    except OSError:
        return False
    return True


def _refuse_other_copy(path: Path, now: Trust) -> None:
    loss = _compared(path.with_name(_MARK), now)
    if loss is not None:
        raise RegisterError(
            str(loss), hint="put the newest stations.json back, or see `unbrick help administrator`"
        )


def lost_trust(folder: TallyFolder) -> Loss | None:
    """What the register lacks of what `tally.mark` knows, or that nobody can tell; writes nothing."""
    try:
        now = read_register(folder.stations)[1]
    except (OSError, RegisterError):
        return None  # whoever needs the register says that
    return _compared(folder.path / _MARK, now)


def _compared(mark: Path, now: Trust) -> Loss | None:
    if not mark.exists():
        return None  # what that means says who opens the database
    try:
        noted = read_trust(mark)
    except PermissionError:
        return None  # an account that only looks
    if noted is None:
        if not now.chain:
            return None
        half = "what tally.mark says of stations.json is missing or damaged"
        return Loss(0, 0, register=half if read_mark(mark) else UNMARKED)
    # The last change may have been cut off before the register, or it could not be noted.
    if (now.chain or _NO_LINK) == noted.previous or now.previous == (noted.chain or _NO_LINK):
        return None
    if noted.changes > now.changes:
        revocations = max(noted.revocations - now.revocations, 0)
        return Loss(0, 0, trust=noted.changes - now.changes, revocations=revocations)
    if now.chain == noted.chain:
        return None
    older = now.changes > noted.changes
    what = "tally.mark is an older copy than stations.json" if older else "stations.json is another copy"
    return Loss(0, 0, register=what)


def accept_register(folder: TallyFolder) -> None:
    """Accept the register as it is, whatever it lacks; raises RegisterError, OSError."""
    now = replace(read_register(folder.stations)[1], previous="")
    with closing(MarkFile(folder.path / _MARK)) as file, file.held():
        noted = file.read_trust()
        if noted is None or replace(noted, generation=0) != now:
            file.write_trust(now)


def _changed(before: tuple[Enrolment, ...], after: tuple[Enrolment, ...]) -> Trust:
    """For how many stations the trust changed, and how many of them are revoked now."""
    old, new = ({one.public_key: _trusted(one) for one in stations} for stations in (before, after))
    changed = [key for key in old.keys() | new.keys() if old.get(key) != new.get(key)]
    revoked = {one.public_key for one in after if one.revoked is not None}
    revoked -= {one.public_key for one in before if one.revoked is not None}
    return Trust(len(changed), len(revoked))


def _trusted(station: Enrolment) -> tuple[object, ...]:
    return (station.name, station.site, station.everywhere, station.revoked, station.gaps)


def read_register(path: Path) -> tuple[tuple[Enrolment, ...], Trust]:
    try:
        document = parse_json(path.read_bytes(), _MOST_BYTES)
        if document["version"] != _VERSION:
            raise RegisterError(f"{path} is of another version")
        done = Trust(
            int(document.get("changes", 0)),
            int(document.get("revocations", 0)),
            chain=str(document.get("chain", "")),
            previous=str(document.get("follows", "")),
        )
        return tuple(_enrolment(one) for one in document["stations"]), done
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RegisterError(f"{path} is damaged: {error}") from error


def _enrolment(fields: dict[str, Any]) -> Enrolment:
    gaps = tuple((str(begin), str(end)) for begin, end in fields.get("gaps", ()))
    return Enrolment(**(fields | {"gaps": gaps}))


@contextmanager
def changing(path: Path) -> Iterator[tuple[Enrolment, ...]]:
    """The stations; until the block ends no other process can change them."""
    with opened_for_owner(path.with_name(f".{path.name}.lock"), os.O_RDWR) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield read_register(path)[0]


def new_serial(stations: tuple[Enrolment, ...], name: str) -> int:
    """The serial for a new station; raises UsageError where its name is, or was, another one's.

    Reports are kept by the name: of two keys with one name, one could not be discounted without the other.
    """
    names = {one.name for one in stations}
    if any(one.name == name and one.revoked is None for one in stations):
        raise UsageError(f"a station {name} is enrolled already", hint="choose another name")
    if name in names:
        free = next(f"{name[:60]}-{number}" for number in count(2) if f"{name[:60]}-{number}" not in names)
        raise UsageError(
            f"{name} is the name of a station that was revoked, and its reports keep that name",
            hint=f"choose another name, such as {free}; or trust that one again: unbrick tally unrevoke",
        )
    return max((one.serial for one in stations), default=0) + 1


def require_station(stations: tuple[Enrolment, ...], name: str) -> Enrolment:
    for one in stations:
        if one.name == name and one.revoked is None:
            return one
    known = any(one.name == name for one in stations)
    raise UsageError(
        f"the station {name} is revoked already" if known else f"no station {name} is enrolled",
        hint="`unbrick tally stations DIR` lists every station",
    )


def note_held(path: Path, serial: int, ends: datetime) -> None:
    """Note that a station showed a certificate with this end, the latest so far.

    A medium may be copied: of its copies, the one with the newest certificate counts.
    """
    with changing(path) as stations:
        write_register(path, tuple(_holding(one, ends) if one.serial == serial else one for one in stations))


def _holding(station: Enrolment, ends: datetime) -> Enrolment:
    shown, newest = moment(ends), moment(datetime.fromisoformat(station.expires).replace(microsecond=0))
    return replace(station, held=shown if shown < newest else None)
