"""What a station logs in with: its key, and of the two certificates it may have the one that is valid longer.

The tally renews a certificate over the session. The new one is kept in the outbox, the one folder of a medium
that is always written to; the station's own file stays as it is, for a site's key may have signed it.
What is there is hostile: only what the tally's authority signed, for this very key and name, is used.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from unbrick.errors import FailedError, UsageError
from unbrick.files import atomic_write, read_small_file
from unbrick.settings.station_file import HINT, Tally
from unbrick.signing.ssh_key import blob_of_line
from unbrick.text import printable

if TYPE_CHECKING:
    from paramiko.pkey import PKey

    from unbrick.signing.certificates import Certificate

RENEWED_NAME = ".renewed-certificate"  # a name that no outbox takes for a report
SOON = timedelta(days=30)
_MOST_CERTIFICATE_BYTES = 4096
_ANY_YEAR = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Login:
    """A name, and the key that was loaded with the certificate."""

    name: str
    key: PKey
    certificate: Certificate

    @property
    def ends(self) -> datetime:
        return end_of(self.certificate)


def with_renewals(tally: Tally, outbox: Path) -> Tally:
    """The tally of a station whose outbox keeps the renewed certificate."""
    return replace(tally, renewed=outbox / RENEWED_NAME)


def end_of(certificate: Certificate) -> datetime:
    """When a certificate ends; the last day of the calendar where it never does."""
    try:
        return datetime.fromtimestamp(certificate.valid_before, UTC)
    except (ValueError, OverflowError, OSError):
        return _ANY_YEAR


def read_login(key_file: Path, certificate_file: Path, renewed: Path | None, authority: bytes) -> Login:
    """The name and the key to log in with; raises UsageError. `authority` is the tally's, as an SSH blob."""
    from paramiko.ed25519key import Ed25519Key
    from paramiko.ssh_exception import SSHException

    from unbrick.signing.certificates import certified_key, is_for_host

    try:
        key = Ed25519Key.from_private_key_file(str(key_file))
    except (OSError, SSHException, ValueError, LookupError, AssertionError) as error:
        raise UsageError(
            f"{key_file.name}: the station's key cannot be read: {printable(str(error))[:300]}"
        ) from error
    certificate = _read(certificate_file)
    if is_for_host(certificate) or not certificate.valid_principals:
        raise UsageError(f"{certificate_file.name}: this is not the certificate of a station")
    if key.asbytes() != certified_key(certificate):
        raise UsageError(f"{certificate_file.name}: this certificate is not that of {key_file.name}")
    certificate = newer_certificate(certificate, renewed, authority) or certificate
    key.load_certificate(certificate.public_bytes().decode())
    return Login(certificate.valid_principals[0].decode(errors="replace"), key, certificate)


def newer_certificate(own: Certificate, renewed: Path | None, authority: bytes) -> Certificate | None:
    """The renewed certificate of a station, where there is one that is to be believed and ends later."""
    if renewed is None:
        return None
    with suppress(UsageError):
        certificate = _read(renewed)
        if _replaces(own, certificate, authority):
            return certificate
    return None


def later_end(tally: Tally, ends: datetime | None) -> datetime | None:
    """When a station's certificate ends, a renewed one included; `ends` is that of its own (None: never)."""
    if ends is None or tally.renewed is None:
        return ends
    try:
        newer = newer_certificate(_read(tally.certificate), tally.renewed, blob_of_line(tally.host_ca))
    except FailedError:
        return ends
    return end_of(newer) if newer is not None else ends


def take_renewed(offered: object, own: Certificate, authority: bytes, renewed: Path) -> Certificate | None:
    """Keep the certificate that a tally offers, where it replaces the present one; gives what is in force.

    Where it cannot be written, the tally offers it again in the next session.
    """
    from unbrick.signing.certificates import CertificateError, read_certificate_line

    if not isinstance(offered, str) or len(offered) > _MOST_CERTIFICATE_BYTES:
        return None
    with suppress(CertificateError, OSError):
        certificate = read_certificate_line(offered)
        if _replaces(own, certificate, authority):
            atomic_write(renewed, certificate.public_bytes() + b"\n", mode=0o644)
            return certificate
    return None


def certificate_notice(ends: datetime, now: datetime) -> str:
    """What a person should know of a certificate that ends soon, or has ended; empty where there is time."""
    if ends - now > SOON:
        return ""
    what = "ended" if ends <= now else "ends"
    return (
        f"the certificate of this station {what} on {ends:%Y-%m-%d}: "
        "ask for a new one (unbrick tally renew), or the tally will not let it in"
    )


def _replaces(own: Certificate, other: Certificate, authority: bytes) -> bool:
    from unbrick.signing.certificates import certified_key, is_authentic, is_for_host

    return (
        not is_for_host(other)
        and certified_key(other) == certified_key(own)
        and other.valid_principals == own.valid_principals
        and not other.critical_options
        and other.valid_before > own.valid_before
        and is_authentic(other, authority)
    )


def _read(path: Path) -> Certificate:
    from unbrick.signing.certificates import CertificateError, read_certificate_line

    try:
        return read_certificate_line(read_small_file(path, hint=HINT).decode("ascii"))
    except (ValueError, CertificateError) as error:
        raise UsageError(f"{path.name}: this is not an Ed25519 certificate") from error
