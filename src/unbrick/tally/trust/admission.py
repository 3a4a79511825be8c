"""Who may log in: decided here alone, from a certificate, a name, the register and the tally's clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from unbrick.errors import FailedError
from unbrick.signing.certificates import (
    Certificate,
    CertificateError,
    certified_key,
    is_authentic,
    is_for_host,
    public_blob,
    read_certificate,
)
from unbrick.signing.ssh_key import blob_of_line
from unbrick.tally.trust.register import StationRegister

_MOST_REMEMBERED = 4096


class RefusedLoginError(FailedError):
    """A login is refused; the message says why, for the audit and never for the client."""


@dataclass(frozen=True)
class Admission:
    """A station that may log in: its key in SSH wire form, its certificate's end in seconds since 1970."""

    station: str
    serial: int
    key: bytes
    valid_before: int


def admit(
    blob: bytes, username: str, authority: Ed25519PublicKey, register: StationRegister, now: datetime
) -> Admission:
    """Judge the certificate that a client offers, in SSH wire form; raises RefusedLoginError.

    The SSH server checks that the client has the private key.
    """
    certificate = _signed_certificate(blob, public_blob(authority))
    if is_for_host(certificate):
        raise RefusedLoginError("a certificate that is not for a station")
    if certificate.valid_principals != [username.encode()]:
        raise RefusedLoginError("a certificate for another name")
    if certificate.critical_options:
        raise RefusedLoginError("a certificate with conditions that this tally does not know")
    key = certified_key(certificate)
    admission = Admission(username, certificate.serial, key, certificate.valid_before)
    if certificate.valid_after > now.timestamp():
        raise RefusedLoginError("a certificate that is not valid yet")
    check_still_admitted(admission, register, now)
    return admission


def check_still_admitted(admission: Admission, register: StationRegister, now: datetime) -> None:
    """Look again, before every batch of an open session; raises RefusedLoginError."""
    if now.timestamp() >= admission.valid_before:
        raise RefusedLoginError("an expired certificate")
    station = register.current(admission.station)
    if register.is_revoked(admission.serial):
        raise RefusedLoginError("a revoked certificate")
    if station is None:
        known = any(one.name == admission.station for one in register.stations)
        raise RefusedLoginError("a revoked station" if known else "a station that is not enrolled")
    if blob_of_line(station.public_key) != admission.key:
        raise RefusedLoginError("a certificate for a key that is not this station's")


# A medium shows the same certificate at each login. What raises is not kept, so strangers take no room.
@lru_cache(maxsize=_MOST_REMEMBERED)
def _signed_certificate(blob: bytes, authority: bytes) -> Certificate:
    try:
        certificate = read_certificate(blob)
    except CertificateError as error:
        raise RefusedLoginError("a plain key, no Ed25519 certificate") from error
    if not is_authentic(certificate, authority):
        raise RefusedLoginError("a certificate of another authority")
    return certificate
