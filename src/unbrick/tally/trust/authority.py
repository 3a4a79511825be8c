"""The SSH certificate authority of one tally: makes it, enrols stations, revokes them.

Its private key is found by `authority_key.py`, and needed here only. Who was enrolled is in `register.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from unbrick.events.event import moment
from unbrick.files import atomic_write, folder_owner
from unbrick.signing.certificates import (
    host_certificate,
    new_key,
    private_text,
    public_line,
    read_private,
    read_public_line,
    station_certificate,
)
from unbrick.tally.folder import (
    AUTHORITY_KEY_NAME,
    Address,
    TallyFolder,
    TallySettings,
    read_settings,
    write_settings,
)
from unbrick.tally.new_folder import Contents, errors_named, new_folder
from unbrick.tally.trust.authority_key import make_or_take, require_apart, signing_key
from unbrick.tally.trust.register import (
    DEFAULT_DAYS,
    Enrolment,
    StationRegister,
    checked_name,
    enrolling,
    renewing,
    require_station,
    revoke_name,
    take_back_revocation,
    write_register,
)

FIRST_STATION = "station"
FIRST_SITE = "main"
_STATION = r"station|station-cert\.pub|unbrick\.yaml"
_KEY = rf"authority/|authority/{AUTHORITY_KEY_NAME}"
_TALLY = (
    rf"{_STATION}|{_KEY}|authority\.pub|host_key|host_key-cert\.pub|stations\.json|\.stations\.json\.lock"
    r"|settings\.json|tally\.db(-wal|-shm|-journal)?|tally\.mark"
)


def create_authority(
    directory: Path,
    address: Address,
    *,
    site: str = FIRST_SITE,
    everywhere: bool | None = None,
    others: Sequence[Address] = (),
    authority: Path | None = None,
    by: str | None = None,
    now: datetime | None = None,
    make_database: Callable[[Path], None] = lambda _: None,
) -> TallyFolder:
    """Make a tally's folder: authority, host key, the first station, settings; raises UsageError.

    Refuses a folder that holds anything else. The authority's private key goes into a folder of its own: that
    named, where one that lies there already is taken, or `authority` in the tally's. The settings come last,
    so that a folder that a power cut left half made is never served; the next try takes its key over. The
    first station counts at every site if `everywhere`, or where nobody named a site for it.
    """
    if everywhere is None:
        everywhere = site == FIRST_SITE
    now = now or datetime.now(UTC)
    checked_name(site, "site")
    if authority is not None:
        require_apart(authority, directory)
    folder, settings = TallyFolder(directory), TallySettings(address, tuple(others))
    with new_folder(directory, Contents(_TALLY, keeps=_KEY)):
        with errors_named(authority or directory):
            key = make_or_take(authority or directory / "authority")
        _fill(
            folder,
            key,
            settings,
            _Wanted(FIRST_STATION, site, everywhere, by=by),
            now,
        )
        make_database(folder.database)
        write_settings(folder, settings)
    return folder


def _fill(
    folder: TallyFolder,
    key: Ed25519PrivateKey,
    settings: TallySettings,
    first: _Wanted,
    now: datetime,
) -> None:
    host = new_key()
    atomic_write(folder.authority_public, line(public_line(key.public_key())), mode=0o644)
    atomic_write(folder.host_key, private_text(host))
    _certify_host(folder, key, host, settings)
    write_register(folder.stations, ())
    _enrol(folder, settings, key, first, folder.path, now)


def _certify_host(
    folder: TallyFolder, authority: Ed25519PrivateKey, host: Ed25519PrivateKey, settings: TallySettings
) -> None:
    certificate = host_certificate(authority, host.public_key(), settings.hosts)
    owner = folder_owner(folder.path)
    atomic_write(folder.host_certificate, line(certificate), mode=0o644, owner=owner)


def move(directory: Path, settings: TallySettings, *, authority: Path | None = None) -> None:
    """Give a tally other addresses: a certificate for its own key under these names; raises UsageError.

    A server that runs goes on under the old ones until it is started again.
    """
    folder, _ = read_settings(directory)
    key = signing_key(folder, authority)
    with errors_named(directory):
        _certify_host(folder, key, read_private(folder.host_key), settings)
        write_settings(folder, settings)


@dataclass(frozen=True)
class _Wanted:
    """What a new station shall be."""

    name: str
    site: str
    everywhere: bool = False
    days: int = DEFAULT_DAYS
    by: str | None = None


def enrol(
    directory: Path,
    name: str,
    site: str,
    out: Path,
    *,
    everywhere: bool = False,
    days: int = DEFAULT_DAYS,
    authority: Path | None = None,
    by: str | None = None,
    now: datetime | None = None,
) -> Enrolment:
    """Make a key, a certificate and an `unbrick.yaml` for a new station in the empty folder `out`.

    `everywhere` lets it report for any site, `by` is who enrols it, `authority` where the authority's private
    key is, where that is not in the tally's folder. Where anything fails, nothing stays in `out`.
    """
    checked_name(name, "station")
    checked_name(site, "site")
    folder, settings = read_settings(directory)
    key = signing_key(folder, authority)
    wanted = _Wanted(name, site, everywhere, days, by)
    with new_folder(out, Contents(_STATION)):
        return _enrol(folder, settings, key, wanted, out, now or datetime.now(UTC))


def renew(
    directory: Path,
    name: str,
    *,
    days: int | None = None,
    authority: Path | None = None,
    now: datetime | None = None,
) -> Enrolment:
    """Write a new certificate for a station, which fetches it in its next session; raises UsageError.

    It is for the key that the station has, and as long as it was enrolled for, or `days` from now on.
    """
    folder, _ = read_settings(directory)
    key = signing_key(folder, authority)
    with errors_named(directory):
        return renew_in(folder, name, key, now or datetime.now(UTC), days=days)


def renew_in(
    folder: TallyFolder, name: str, authority: Ed25519PrivateKey, now: datetime, *, days: int | None = None
) -> Enrolment:
    """The same for whoever has the authority's key in hand; raises UsageError, OSError."""
    with renewing(folder.stations, name) as (stations, station):
        days = days or station.days
        expires = now + timedelta(days=days)
        certificate = station_certificate(
            authority,
            read_public_line(station.public_key),
            name,
            serial=station.serial,
            valid_before=int(expires.timestamp()),
        )
        held = station.held or station.expires
        renewed = replace(station, expires=moment(expires), days=days, certificate=certificate, held=held)
        write_register(folder.stations, tuple(renewed if one is station else one for one in stations))
    return renewed


def find_station(directory: Path, name: str) -> Enrolment:
    """The station that bears this name now; raises UsageError."""
    register = StationRegister(read_settings(directory)[0].stations)
    register.refresh()
    return require_station(register.stations, name)


def was_revoked(directory: Path, name: str) -> bool:
    """Whether every station of this name was revoked, and there is one."""
    register = StationRegister(read_settings(directory)[0].stations)
    register.refresh()
    named = [one for one in register.stations if one.name == name]
    return bool(named) and all(one.revoked is not None for one in named)


def revoke(
    directory: Path,
    name: str,
    *,
    by: str | None = None,
    why: str | None = None,
    now: datetime | None = None,
) -> tuple[Enrolment, ...]:
    """End the trust in a station, at once, also in sessions that are open; raises UsageError."""
    folder, _ = read_settings(directory)
    with errors_named(directory):
        return revoke_name(folder.stations, name, now or datetime.now(UTC), by=by, why=why)


def unrevoke(
    directory: Path, name: str, *, trust_gap: bool = False, now: datetime | None = None
) -> Enrolment:
    """Trust a revoked station again; raises UsageError where none of that name is revoked.

    What arrived meanwhile was refused for ever, and what is dated in that time stays refused: unless
    `trust_gap` says that the station was in good hands all the time.
    """
    folder, _ = read_settings(directory)
    with errors_named(directory):
        return take_back_revocation(folder.stations, name, now or datetime.now(UTC), trust_gap=trust_gap)


def _enrol(
    folder: TallyFolder,
    settings: TallySettings,
    authority: Ed25519PrivateKey,
    wanted: _Wanted,
    out: Path,
    now: datetime,
) -> Enrolment:
    key, expires = new_key(), now + timedelta(days=wanted.days)
    with errors_named(folder.path), enrolling(folder.stations, wanted.name) as (stations, serial):
        station = Enrolment(
            wanted.name,
            wanted.site,
            serial,
            public_line(key.public_key()),
            moment(now),
            moment(expires),
            everywhere=wanted.everywhere,
            by=wanted.by,
            days=wanted.days,
        )
        certificate = station_certificate(
            authority, key.public_key(), wanted.name, serial=serial, valid_before=int(expires.timestamp())
        )
        with errors_named(out):
            authority_line = public_line(authority.public_key())
            atomic_write(out / "station", private_text(key))
            atomic_write(out / "station-cert.pub", line(certificate), mode=0o644)
            content = station_file(settings, authority_line, wanted.site)
            atomic_write(out / "unbrick.yaml", content, mode=0o644)
        write_register(folder.stations, (*stations, station))
    return station


def station_file(settings: TallySettings, authority: str, site: str) -> bytes:
    """`unbrick.yaml` as the contract has it; every text is quoted as JSON is, which YAML reads the same."""
    listed = [str(one) for one in settings.addresses]
    address = json.dumps(listed if settings.others else listed[0])
    return "\n".join(
        [
            f"tally: {{address: {address}, host_ca: {json.dumps(authority)}}}",
            "identity: {key: station, certificate: station-cert.pub}    # paths beside this file",
            f"site: {json.dumps(site)}",
            "technician: null",
            "mode: unattended            # or guided",
            "finish: restart             # or power-off, wait",
            "keys: []                    # optional sources, paths beside this file",
            "",
        ]
    ).encode()


def line(text: str) -> bytes:
    """A line as a file has it."""
    return text.encode() + b"\n"
