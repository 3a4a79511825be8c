"""The SSH certificate authority of one tally: makes it, enrols stations, revokes them.

Its private key signs here and nowhere else. Who was enrolled is in `register.py`.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from unbrick.errors import FailedError, Reason, UsageError
from unbrick.event import moment
from unbrick.files import atomic_write, sync_directory
from unbrick.tally.certificates import (
    host_certificate,
    new_key,
    private_text,
    public_line,
    read_private,
    station_certificate,
)
from unbrick.tally.register import (
    Enrolment,
    StationRegister,
    checked_name,
    enrolling,
    require_station,
    revoke_name,
    take_back_revocation,
    write_register,
)
from unbrick.tally.settings import Address, TallyFolder, TallySettings, read_settings, write_settings

FIRST_STATION = "station"
FIRST_SITE = "main"
STATION_VALID = timedelta(days=731)


def create_authority(
    directory: Path, address: Address, *, site: str = FIRST_SITE, now: datetime | None = None
) -> TallyFolder:
    """Make a tally's folder: authority, host key, the first station, settings; raises UsageError.

    Refuses a folder that holds anything. The settings come last, so that a folder that a power cut left
    half made is never served.
    """
    now = now or datetime.now(UTC)
    checked_name(site, "site")
    folder = TallyFolder(directory)
    _empty_folder(directory)
    with _errors_named(directory):
        _fill(folder, address, site, now)
    return folder


def _fill(folder: TallyFolder, address: Address, site: str, now: datetime) -> None:
    authority, host = new_key(), new_key()
    atomic_write(folder.authority, private_text(authority))
    atomic_write(folder.authority_public, _line(public_line(authority.public_key())), mode=0o644)
    atomic_write(folder.host_key, private_text(host))
    certificate = host_certificate(authority, host.public_key(), [address.host])
    atomic_write(folder.host_certificate, _line(certificate), mode=0o644)
    write_register(folder.stations, ())
    _enrol(folder, address, FIRST_STATION, site, folder.path, now)
    write_settings(folder, TallySettings(address))


def enrol(
    directory: Path,
    name: str,
    site: str,
    out: Path,
    *,
    everywhere: bool = False,
    by: str | None = None,
    now: datetime | None = None,
) -> Enrolment:
    """Make a key, a certificate and an `unbrick.yaml` for a new station in the empty folder `out`.

    `everywhere` lets it report for any site, `by` is who enrols it.
    """
    checked_name(name, "station")
    checked_name(site, "site")
    folder, settings = read_settings(directory)
    _empty_folder(out)
    with _errors_named(out):
        return _enrol(
            folder, settings.address, name, site, out, now or datetime.now(UTC), everywhere=everywhere, by=by
        )


def find_station(directory: Path, name: str) -> Enrolment:
    """The station that bears this name now; raises UsageError."""
    register = StationRegister(read_settings(directory)[0].stations)
    register.refresh()
    return require_station(register.stations, name)


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
    with _errors_named(directory):
        return revoke_name(folder.stations, name, now or datetime.now(UTC), by=by, why=why)


def unrevoke(
    directory: Path, name: str, *, trust_gap: bool = False, now: datetime | None = None
) -> Enrolment:
    """Trust a revoked station again; raises UsageError where none of that name is revoked.

    What arrived meanwhile was refused for ever, and what is dated in that time stays refused: unless
    `trust_gap` says that the station was in good hands all the time.
    """
    folder, _ = read_settings(directory)
    with _errors_named(directory):
        return take_back_revocation(folder.stations, name, now or datetime.now(UTC), trust_gap=trust_gap)


def _enrol(
    folder: TallyFolder,
    address: Address,
    name: str,
    site: str,
    out: Path,
    now: datetime,
    *,
    everywhere: bool = False,
    by: str | None = None,
) -> Enrolment:
    authority, key = read_private(folder.authority), new_key()
    public = public_line(key.public_key())
    expires = now + STATION_VALID
    with enrolling(folder.stations, name) as (stations, serial):
        station = Enrolment(
            name, site, serial, public, moment(now), moment(expires), everywhere=everywhere, by=by
        )
        certificate = station_certificate(
            authority, key.public_key(), name, serial=serial, valid_before=int(expires.timestamp())
        )
        atomic_write(out / "station", private_text(key))
        atomic_write(out / "station-cert.pub", _line(certificate), mode=0o644)
        authority_line = public_line(authority.public_key())
        atomic_write(out / "unbrick.yaml", _station_file(address, authority_line, site), mode=0o644)
        write_register(folder.stations, (*stations, station))
    return station


def _station_file(address: Address, authority: str, site: str) -> bytes:
    """`unbrick.yaml` as the contract has it; every text is quoted as JSON is, which YAML reads the same."""
    return "\n".join(
        [
            f"tally: {{address: {json.dumps(str(address))}, host_ca: {json.dumps(authority)}}}",
            "identity: {key: station, certificate: station-cert.pub}    # paths beside this file",
            f"site: {json.dumps(site)}",
            "technician: null",
            "mode: unattended            # or guided",
            "finish: restart             # or power-off, wait",
            "keys: []                    # optional sources, paths beside this file",
            "",
        ]
    ).encode()


@contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = Reason.DISK_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else None
        raise FailedError(f"cannot write in {path}: {error.strerror or error}", reason=reason) from error


def _empty_folder(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise UsageError(f"{path} is not empty", hint="name a new or empty folder")
        path.chmod(0o700)
        sync_directory(path.parent)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"{path} is no folder", hint="name a new or empty folder") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be made: {os.strerror(error.errno or 0)}") from error


def _line(text: str) -> bytes:
    return text.encode() + b"\n"
