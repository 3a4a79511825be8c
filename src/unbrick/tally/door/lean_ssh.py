"""asyncssh's server connection without what it does for each and we have no use for.

A report's connection is short: most of what it costs is the login.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import asyncssh
from asyncssh.constants import MSG_IGNORE
from asyncssh.public_key import SSHOpenSSHCertificate, decode_ssh_certificate

_MOST_CERTIFICATES = 4096


class LeanConnection(asyncssh.SSHServerConnection):
    """Speaks as asyncssh does; only ciphers that need no packets between packets may be offered (no CBC)."""

    async def reload_config(self) -> None:
        """Nothing here depends on who connects; asyncssh would read every option again."""

    def send_packet(self, pkttype: int, *args: bytes, **options: Any) -> None:
        """Send a packet, without the empty one that asyncssh puts before each against attacks on CBC."""
        if pkttype != MSG_IGNORE:
            super().send_packet(pkttype, *args, **options)

    async def _validate_client_certificate(self, username: str, key_data: bytes) -> asyncssh.SSHKey | None:
        """Asked twice a login, of what our own rules have let pass; name and time are looked at each time."""
        try:
            certificate = _decoded(key_data)
        except asyncssh.KeyImportError:
            return None
        return await self._validate_openssh_certificate(username, certificate)


@lru_cache(maxsize=_MOST_CERTIFICATES)  # what raises is not kept
def _decoded(blob: bytes) -> SSHOpenSSHCertificate:
    """A certificate whose signature fits; raises KeyImportError."""
    certificate = decode_ssh_certificate(blob)
    if not isinstance(certificate, SSHOpenSSHCertificate):
        raise asyncssh.KeyImportError("a chain of X.509 certificates")
    return certificate
