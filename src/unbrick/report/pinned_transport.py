"""paramiko's transport, made to believe a host by a certificate of the pinned authority and by nothing else.

paramiko can log in with certificates but knows nothing of host certificates. Here the only host key algorithm
offered is the certificate's, and the certificate is judged in the key exchange, before its end: where
it is refused, the other end has seen our version and two key exchange packets, and no login.

This module imports paramiko, which takes a while: import it late, and never from the story of a repair.
"""

from __future__ import annotations

import logging
import socket
from typing import Any

from paramiko.ed25519key import Ed25519Key
from paramiko.kex_curve25519 import KexCurve25519
from paramiko.ssh_exception import SSHException
from paramiko.transport import Transport

from unbrick.signing.certificates import CERTIFICATE_TYPE, CertificateError
from unbrick.signing.host_certificate import certified_host_key
from unbrick.signing.ssh_key import KEY_TYPE, fingerprint, is_signed_by

_CURVE = "curve25519-sha256"
_KEY_EXCHANGES = ("mlkem768x25519-sha256", _CURVE, "curve25519-sha256@libssh.org")
# RFC 8731's own name of what paramiko knows by its older one.
_KNOWN = {**Transport._kex_info, _CURVE: KexCurve25519}
_LOG = "unbrick.ssh"


class HostRefusedError(SSHException):  # type: ignore[misc]
    """The other end is not the tally we know; the message is that of a CertificateError."""


class PinnedTransport(Transport):  # type: ignore[misc]
    """A client's transport: one host authority, Ed25519, X25519 (with ML-KEM where both have it), AES-GCM."""

    _kex_info = _KNOWN
    _preferred_kex = tuple(name for name in _KEY_EXCHANGES if name in _KNOWN)
    _preferred_ciphers = ("aes256-gcm@openssh.com", "aes128-gcm@openssh.com")
    # Never used with AES-GCM, but paramiko wants one to be agreed on.
    _preferred_macs = ("hmac-sha2-512-etm@openssh.com", "hmac-sha2-256-etm@openssh.com", "hmac-sha2-256")
    _preferred_keys = (KEY_TYPE,)
    _preferred_pubkeys = (KEY_TYPE,)
    _preferred_compression = ("none",)

    def __init__(self, connection: socket.socket, *, authority: bytes, host: str) -> None:
        _keep_quiet()
        super().__init__(connection, strict_kex=True)
        self.set_log_channel(_LOG)
        self._authority = authority
        self._host = host

    @property
    def preferred_keys(self) -> tuple[str, ...]:
        return (CERTIFICATE_TYPE,)

    def get_exception(self) -> Exception | None:
        """What ended the transport; whatever a server makes paramiko stumble over is an SSHException."""
        error: Exception | None = super().get_exception()
        if error is None or isinstance(error, SSHException | EOFError | OSError):
            return error
        strange: Exception = SSHException(f"an answer that makes no sense ({type(error).__name__})")
        return strange

    def _really_parse_kex_init(self, message: Any, ignore_first_byte: bool = False) -> dict[str, Any]:
        parsed: dict[str, Any] = super()._really_parse_kex_init(message, ignore_first_byte)
        if CERTIFICATE_TYPE not in parsed["server_key_algo_list"]:
            raise HostRefusedError(
                f"its host key is not certified by {fingerprint(self._authority)}, nor by anyone"
            )
        return parsed

    def _verify_key(self, host_key: bytes, signature: bytes) -> None:
        """paramiko's hook in the key exchange: nothing that follows is sent where this raises."""
        try:
            certified = certified_host_key(host_key, authority=self._authority, host=self._host)
            if not is_signed_by(certified, signature, self.H):
                raise CertificateError("it does not own the key in its certificate")
        except CertificateError as error:
            raise HostRefusedError(error.message) from error
        self.host_key = Ed25519Key(data=certified)


def _keep_quiet() -> None:
    # paramiko logs stack traces, which would end up on the screen; what counts reaches us as errors.
    logger = logging.getLogger(_LOG)
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
