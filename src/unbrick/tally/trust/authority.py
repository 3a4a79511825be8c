"""The SSH certificate authority of one tally: makes it, enrols stations, revokes them.

Only enrolling and renewing need its private key. That has a folder of its own, so that another account, or a
stick in a drawer, can keep it; the tally of an older unbrick has it as a file in its own folder.
`register.py` says who is enrolled.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from unbrick.errors import UsageError
from unbrick.events.event import moment
from unbrick.files import atomic_write, folder_owner
from unbrick.signing.certificates import (
    host_certificate,
    new_key,
    private_text,
    public_line,
    read_private,
    read_public_file,
    read_public_line,
    station_certificate,
)
from unbrick.signing.ssh_key import SshKeyError
from unbrick.tally.folder import (
    AUTHORITY_KEY_NAME,
    Address,
    TallyFolder,
    TallySettings,
    read_settings,
    write_settings,
)
from unbrick.tally.new_places import Contents, errors_named, new_folder
from unbrick.tally.trust.register import (
    DEFAULT_DAYS,
    Enrolment,
    StationRegister,
    begin_noting,
    changing,
    checked_name,
    new_serial,
    require_station,
    write_register,
)

FIRST_STATION = "station"
FIRST_SITE = "main"
_HINT = "name the file where it is kept: --authority FILE"
_LISTED = "`unbrick tally stations DIR` lists every station"
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

    Refuses a folder that holds anything else. The authority's private key goes into the folder `authority`
    (a key that is there already is used), or into `authority` in the tally's folder. After a power cut the
    next try takes that key over. The first station may report for every site if `everywhere`, by default
    where no `site` is named.
    """
    if everywhere is None:
        everywhere = site == FIRST_SITE
    now = now or datetime.now(UTC)
    checked_name(site, "site")
    if authority is not None:
        _require_apart(authority, directory)
    folder, settings = TallyFolder(directory), TallySettings(address, tuple(others))
    with new_folder(directory, Contents(_TALLY, keeps=_KEY)):
        with errors_named(authority or directory):
            key = _make_or_take(authority or directory / "authority")
        host = new_key()
        atomic_write(folder.authority_public, _line(public_line(key.public_key())), mode=0o644)
        atomic_write(folder.host_key, private_text(host))
        _certify_host(folder, key, host, settings)
        write_register(folder.stations, ())
        _enrol(folder, settings, key, FIRST_STATION, site, directory, now, everywhere=everywhere, by=by)
        make_database(folder.database)
        begin_noting(folder)
        write_settings(folder, settings)  # last: a folder that is half made is never served
    return folder


def _certify_host(
    folder: TallyFolder, authority: Ed25519PrivateKey, host: Ed25519PrivateKey, settings: TallySettings
) -> None:
    certificate = host_certificate(authority, host.public_key(), settings.hosts)
    owner = folder_owner(folder.path)
    atomic_write(folder.host_certificate, _line(certificate), mode=0o644, owner=owner)


def move(directory: Path, settings: TallySettings, *, authority: Path | None = None) -> None:
    """Give a tally other addresses: its host key gets a certificate for them; raises UsageError.

    A running server keeps the old ones until it is started again.
    """
    folder, _ = read_settings(directory)
    key = signing_key(folder, authority)
    with errors_named(directory):
        _certify_host(folder, key, read_private(folder.host_key), settings)
        write_settings(folder, settings)


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

    `everywhere` lets it report for any site, `by` is who enrols it, `authority` is where the authority's
    private key is, if not in the tally's folder. Where anything fails, nothing stays in `out`.
    """
    checked_name(name, "station")
    checked_name(site, "site")
    folder, settings = read_settings(directory)
    key = signing_key(folder, authority)
    now = now or datetime.now(UTC)
    with new_folder(out, Contents(_STATION)):
        return _enrol(folder, settings, key, name, site, out, now, everywhere=everywhere, days=days, by=by)


def renew(directory: Path, name: str, *, days: int | None = None, authority: Path | None = None) -> Enrolment:
    """Write a new certificate for a station, which fetches it in its next session; raises UsageError.

    It is for the key that the station has, and lasts as long as its enrolment says, or `days` from now.
    """
    folder, _ = read_settings(directory)
    key = signing_key(folder, authority)
    with errors_named(directory):
        return renew_in(folder, name, key, datetime.now(UTC), days=days)


def renew_in(
    folder: TallyFolder, name: str, authority: Ed25519PrivateKey, now: datetime, *, days: int | None = None
) -> Enrolment:
    """`renew` with the authority's key at hand; raises UsageError, OSError."""
    with changing(folder.stations) as stations:
        station = require_station(stations, name)
        if station.accepted:
            raise UsageError(
                f"{name} has no certificate: its key was only accepted for an import",
                hint="enrol a station for it: unbrick tally enrol DIR NAME --site SITE",
            )
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
    return require_station(_stations(directory), name)


def was_revoked(directory: Path, name: str) -> bool:
    named = [one for one in _stations(directory) if one.name == name]
    return bool(named) and all(one.revoked is not None for one in named)


def number_called(directory: Path, name: str) -> int:
    """How many stations have or had the name: more than one only by an earlier unbrick."""
    return sum(one.name == name for one in _stations(directory))


def _stations(directory: Path) -> tuple[Enrolment, ...]:
    register = StationRegister(read_settings(directory)[0].stations)
    register.refresh()
    return register.stations


def revoke(
    directory: Path, name: str, *, by: str | None = None, why: str | None = None
) -> tuple[Enrolment, ...]:
    """End the trust in every station of this name, also in open sessions; raises UsageError."""
    folder, _ = read_settings(directory)
    at = moment(datetime.now(UTC))
    with errors_named(directory), changing(folder.stations) as stations:
        require_station(stations, name)
        ended = tuple(one for one in stations if one.name == name and one.revoked is None)
        after = tuple(
            replace(one, revoked=at, revoked_by=by, revoked_why=why) if one in ended else one
            for one in stations
        )
        write_register(folder.stations, after)
    return ended


def unrevoke(directory: Path, name: str, *, trust_gap: bool = False) -> Enrolment:
    """Trust again the station that had this name last; raises UsageError where it is not revoked.

    What arrived meanwhile was refused for ever. What is dated in that time stays refused too, unless
    `trust_gap` says that the station was in good hands then, and in every earlier such time.
    """
    folder, _ = read_settings(directory)
    with errors_named(directory), changing(folder.stations) as stations:
        named = [one for one in stations if one.name == name]
        if not named:
            raise UsageError(f"no station {name} was ever enrolled", hint=_LISTED)
        last = max(named, key=lambda one: one.serial)
        if last.revoked is None and not (trust_gap and last.gaps):
            raise UsageError(f"the station {name} is not revoked", hint=_LISTED)
        gaps = () if trust_gap else (*last.gaps, (last.revoked or "", moment(datetime.now(UTC))))
        again = replace(last, revoked=None, revoked_by=None, revoked_why=None, gaps=gaps)
        write_register(folder.stations, tuple(again if one is last else one for one in stations))
    return again


def _enrol(
    folder: TallyFolder,
    settings: TallySettings,
    authority: Ed25519PrivateKey,
    name: str,
    site: str,
    out: Path,
    now: datetime,
    *,
    everywhere: bool,
    by: str | None,
    days: int = DEFAULT_DAYS,
) -> Enrolment:
    key, expires = new_key(), now + timedelta(days=days)
    own_line = public_line(key.public_key())
    with errors_named(folder.path), changing(folder.stations) as stations:
        serial = new_serial(stations, name)
        station = Enrolment(
            name,
            site,
            serial,
            own_line,
            moment(now),
            moment(expires),
            everywhere=everywhere,
            by=by,
            days=days,
        )
        certificate = station_certificate(
            authority, key.public_key(), name, serial=serial, valid_before=int(expires.timestamp())
        )
        with errors_named(out):
            authority_line = public_line(authority.public_key())
            atomic_write(out / "station", private_text(key))
            atomic_write(out / "station-cert.pub", _line(certificate), mode=0o644)
            content = station_file(settings, authority_line, site)
            atomic_write(out / "unbrick.yaml", content, mode=0o644)
        write_register(folder.stations, (*stations, station))
    return station


def station_file(settings: TallySettings, authority: str, site: str) -> bytes:
    """`unbrick.yaml` for a station; every text is quoted as in JSON, which YAML reads the same."""
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


def _line(text: str) -> bytes:
    return text.encode() + b"\n"


def _make_or_take(folder: Path) -> Ed25519PrivateKey:
    """The key in a folder, or a new one where there is none; raises UsageError, OSError."""
    path = folder / AUTHORITY_KEY_NAME
    if path.exists():
        return _read_key(path)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = new_key()
    atomic_write(path, private_text(key))
    return key


def _require_apart(place: Path, tally: Path) -> None:
    """Raise UsageError where the key would be inside a tally's folder, also through links."""
    real, home = Path(os.path.realpath(place)), Path(os.path.realpath(tally))
    inside = real.is_relative_to(home)
    with suppress(OSError):  # one folder may be mounted at two places
        inside = inside or any(above.exists() and above.samefile(home) for above in (real, *real.parents))
    if inside:
        raise UsageError(
            f"the authority's folder {place} lies in the tally's folder {tally}",
            hint=f"name one outside of it; without --authority the key goes to {tally / 'authority'}",
        )


def signing_key(folder: TallyFolder, given: Path | None = None) -> Ed25519PrivateKey:
    """The private key of a tally's authority, from its own folder or the file or folder `given`.

    Raises UsageError where it cannot be read or belongs to another tally.
    """
    path = key_file(given or folder.authority)
    key = _read_key(path)
    if public_line(key.public_key()) != public_line(read_public_file(folder.authority_public)):
        raise UsageError(f"{path} is not the key of this tally's authority", hint=_HINT)
    return key


def key_file(path: Path) -> Path:
    # Path.is_dir raises where a folder above is closed to us.
    return path / AUTHORITY_KEY_NAME if os.path.isdir(path) else path  # noqa: PTH112


def _read_key(path: Path) -> Ed25519PrivateKey:
    try:
        return read_private(path)
    except SshKeyError as error:
        raise UsageError(
            f"the authority's private key cannot be used: {error.message}", hint=_HINT
        ) from error
