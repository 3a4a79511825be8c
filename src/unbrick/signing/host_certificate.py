"""Judges a host by its certificate: is this the tally that the stick was made for?

Everything here comes from whoever answered the call and is hostile. The validity dates are ignored **on
purpose**: the clock of a machine that was dead for years may show 2009, and it must still be able to report.
What ends a stolen host key is a new authority.
"""

from __future__ import annotations

import ipaddress

from unbrick.signing.certificates import (
    CertificateError,
    authority_of,
    certified_key,
    is_authentic,
    is_for_host,
    read_certificate,
)
from unbrick.signing.ssh_key import fingerprint


def certified_host_key(blob: bytes, *, authority: bytes, host: str) -> bytes:
    """The blob of the key that `authority` certifies for `host`; raises CertificateError.

    `blob` is the host key as it came in the key exchange, `authority` the pinned key as a blob. Whether the
    other end owns that key is for the key exchange's signature to say.
    """
    certificate = read_certificate(blob)
    if authority_of(certificate) != authority:
        raise CertificateError(f"its host key is not certified by {fingerprint(authority)}")
    if not is_authentic(certificate, authority):
        raise CertificateError(f"the signature of {fingerprint(authority)} in its certificate is wrong")
    if not is_for_host(certificate):
        raise CertificateError("its certificate is not one for a host")
    if certificate.critical_options:
        raise CertificateError("its certificate has conditions that unbrick does not know")
    names = {_same_form(name.decode(errors="replace")) for name in certificate.valid_principals}
    if _same_form(host) not in names:
        raise CertificateError(f"its certificate is not for {host}")
    return certified_key(certificate)


def _same_form(host: str) -> str:
    """A host's name or address in the one form that can be compared."""
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return host.rstrip(".").lower()
