"""Who may log in: decided here alone, on a certificate, a name, the register and the tally's clock. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import SSHCertificate, SSHCertificateType

from unbrick.errors import FailedError
from unbrick.signing.certificates import public_blob, public_line, read_certificate
from unbrick.tally.register import StationRegister


class RefusedLoginError(FailedError):
    """A login that is refused; the message says why, for the audit and never for the client."""


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
    """Judge what a client offers (in SSH wire form); raises RefusedLoginError.

    Whether the client holds the private key is not judged here: the SSH server does that.
    """
    certificate = read_certificate(blob)
    if certificate is None:
        raise RefusedLoginError("a plain key, no Ed25519 certificate")
    if not _signed_by(certificate, authority):
        raise RefusedLoginError("a certificate of another authority")
    if certificate.type is not SSHCertificateType.USER:
        raise RefusedLoginError("a certificate that is not for a station")
    if certificate.valid_principals != [username.encode()]:
        raise RefusedLoginError("a certificate for another name")
    if certificate.critical_options:
        raise RefusedLoginError("a certificate with conditions that this tally does not know")
    key = certificate.public_key()
    if not isinstance(key, Ed25519PublicKey):
        raise RefusedLoginError("a certificate for a key of another kind")
    admission = Admission(
        username, certificate.serial, public_blob(public_line(key)), certificate.valid_before
    )
    if certificate.valid_after > now.timestamp():
        raise RefusedLoginError("a certificate that is not valid yet")
    check_still_admitted(admission, register, now)
    return admission


def check_still_admitted(admission: Admission, register: StationRegister, now: datetime) -> None:
    """Look again, as before every batch of an open session; raises RefusedLoginError."""
    if now.timestamp() >= admission.valid_before:
        raise RefusedLoginError("an expired certificate")
    station = register.current(admission.station)
    if register.is_revoked(admission.serial):
        raise RefusedLoginError("a revoked certificate")
    if station is None:
        known = any(one.name == admission.station for one in register.stations)
        raise RefusedLoginError("a revoked station" if known else "a station that is not enrolled")
    if public_blob(station.public_key) != admission.key:
        raise RefusedLoginError("a certificate for a key that is not this station's")


def _signed_by(certificate: SSHCertificate, authority: Ed25519PublicKey) -> bool:
    signer = certificate.signature_key()
    if not isinstance(signer, Ed25519PublicKey) or signer.public_bytes_raw() != authority.public_bytes_raw():
        return False
    try:
        certificate.verify_cert_signature()
    except InvalidSignature:
        return False
    return True
