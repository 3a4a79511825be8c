"""One SSH connection: lets in by certificate only, and opens nothing but the subsystem of `wire`.

asyncssh speaks SSH; this refuses everything else that it offers, and writes each refusal down once.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import asyncssh
from asyncssh.constants import MSG_IGNORE
from asyncssh.public_key import SSHOpenSSHCertificate, decode_ssh_certificate
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from unbrick.signing.certificates import public_line
from unbrick.tally.door.arrivals import SPOKE, Arrivals
from unbrick.tally.door.limits import Sessions, StationPace
from unbrick.tally.door.session import Desk, StationSession
from unbrick.tally.trust.admission import Admission, RefusedLoginError, admit, check_still_admitted
from unbrick.tally.trust.register import RegisterError

_MOST_KEYS_OFFERED = 12
_MOST_CERTIFICATES = 4096
_MOST_CHANNELS = 32
_MOST_READ = 32 * 1024
_PACKET_BYTES = 256
_BROKEN = "broken SSH"
_NO_SSH = "no SSH"


@dataclass
class Gate:
    """What all connections share: who may come in, how many wait, who is inside."""

    desk: Desk
    authority: Ed25519PublicKey
    arrivals: Arrivals
    sessions: Sessions
    inside: set[StationConnection] = field(default_factory=set)

    @cached_property
    def authority_line(self) -> str:
        return public_line(self.authority)


class Door(asyncssh.SSHServer):
    """asyncssh's questions about one connection; every way in but a certificate is closed."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._connection: StationConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        assert isinstance(conn, StationConnection)
        self._connection = conn
        conn.arrived()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection is not None:
            self._connection.left(exc)

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_ca_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        # asyncssh also checks name, time and signature.
        return str(key.export_public_key().decode()).split()[:2] == self._gate.authority_line.split()[:2]

    def auth_completed(self) -> None:
        assert self._connection is not None
        self._connection.logged_in()

    def session_requested(self) -> StationSession | bool:
        assert self._connection is not None
        return self._connection.new_session() or False

    def tun_requested(self, unit: int | None) -> bool:
        return self._forwarding()

    def tap_requested(self, unit: int | None) -> bool:
        return self._forwarding()

    def _forwarding(self) -> bool:
        if self._connection is not None:
            self._connection.refuse("a tunnel was asked for")
        return False


class _StationChannel(asyncssh.SSHServerChannel[bytes]):
    """A session channel that keeps no environment variables."""

    def _process_env_request(self, packet: Any) -> bool:
        return False


class StationConnection(asyncssh.SSHServerConnection):
    """A connection from its first byte to its last, with one line in the audit for each refusal.

    It leaves out what asyncssh does for each connection and the tally does not need: a report's connection is
    short, and most of its cost is the login. Only ciphers without CBC may be offered.
    """

    def __init__(
        self, gate: Gate, loop: asyncio.AbstractEventLoop, options: asyncssh.SSHServerConnectionOptions
    ) -> None:
        super().__init__(loop, options)
        self._gate = gate
        self._where = ""
        self._why = ""
        self._judged: Admission | None = None
        self._admission: Admission | None = None
        self._counted = False
        self._keys_offered = 0
        self._channels_opened = 0
        self._refusals = 0
        self._dropped = False
        self._session: StationSession | None = None
        self._converses = False
        self._stored = 0
        self._since = loop.time()
        self._bytes_read = 0
        self._packets_read = 0
        self._pace: StationPace | None = None
        self._held_back: asyncio.Transport | None = None

    def arrived(self) -> None:
        peer = self.get_extra_info("peername")
        self._where = f"{peer[0]}:{peer[1]}" if peer else ""
        if self._transport is not None:  # what one connection sends must not keep the others waiting
            self._transport.max_size = _MOST_READ  # type: ignore[attr-defined]
        pushed = self._gate.arrivals.enter(self, peer[0] if peer else "")
        if isinstance(pushed, StationConnection):
            pushed.drop("too many connections that had not logged in")

    def data_received(self, data: bytes, datatype: asyncssh.DataType = None) -> None:
        """Take bytes: few before the login, and afterwards no more than the station's pace allows."""
        if self._admission is None:
            if not self._bytes_read:
                self._gate.arrivals.step(self, SPOKE)
            self._bytes_read += len(data)
            if self._bytes_read > self._gate.desk.limits.login_bytes:
                self.drop("too many bytes before a login")
                return
        packets = self._packets_read
        super().data_received(data, datatype)
        if self._pace is not None:
            self._hold_back(len(data) + _PACKET_BYTES * (self._packets_read - packets))

    def _finish_recv_packet(self, pkttype: int, seq: int, *rest: Any, **options: Any) -> None:
        self._packets_read += 1
        if self._admission is None:
            self._gate.arrivals.step(self, pkttype)
        super()._finish_recv_packet(pkttype, seq, *rest, **options)

    async def reload_config(self) -> None:
        """Do nothing: asyncssh would read every option again, and none depends on who connects."""

    def send_packet(self, pkttype: int, *args: bytes, **options: Any) -> None:
        """Leave out the empty packet that asyncssh puts before each against attacks on CBC."""
        if pkttype != MSG_IGNORE:
            super().send_packet(pkttype, *args, **options)

    async def _validate_client_certificate(self, username: str, key_data: bytes) -> asyncssh.SSHKey | None:
        """Asked twice a login, after `admit`; the name and the time are checked each time."""
        try:
            certificate = _decoded(key_data)
        except asyncssh.KeyImportError:
            return None
        return await self._validate_openssh_certificate(username, certificate)

    def _hold_back(self, count: int) -> None:
        """Count what was read, also what only asyncssh saw; pause reading as the station's pace demands."""
        assert self._pace is not None
        wait = self._pace.bytes.take(count)
        transport = self._transport
        if wait <= 0 or transport is None or self._held_back is not None:
            return
        self._held_back = transport
        transport.pause_reading()
        asyncio.get_running_loop().call_later(min(wait, self._gate.desk.limits.pace_seconds), self._read_on)

    def _read_on(self) -> None:
        transport, self._held_back = self._held_back, None
        if transport is not None and not transport.is_closing():
            transport.resume_reading()

    def internal_error(self, exc_info: Any = None, error_logger: Any = None) -> None:
        error = exc_info[1] if exc_info else sys.exc_info()[1]
        if isinstance(error, MemoryError):
            self._gate.desk.out_of_memory()
        super().internal_error(exc_info, error_logger)

    def drop(self, why: str) -> None:
        self._why = why
        self._dropped = True
        self.abort()

    def refuse(self, why: str, detail: str = "") -> None:
        who = self._admission.station if self._admission else ""
        self._gate.desk.audit.refused(why, detail=detail, where=self._where, who=who)
        self._refusals += 1
        if not self._converses:  # the client may try another channel before this one is closed
            self._session = None
        if self._refusals == self._gate.desk.limits.refusals_per_session:
            self.drop("too many refusals in one session")

    def left(self, exc: Exception | None) -> None:
        self._gate.arrivals.leave(self)
        self._gate.inside.discard(self)
        who = (
            self._admission.station if self._admission else self.get_extra_info("username") or self._username
        )
        if self._admission is not None and self._counted:
            self._gate.sessions.leave(self._admission.station)
            seconds = int(self._loop.time() - self._since)
            self._gate.desk.audit.session(
                who, where=self._where, seconds=seconds, events=self._stored, refused=self._refusals
            )
        why = self._why if self._dropped else self._reason(exc)
        if why:
            detail = str(exc) if why in (_BROKEN, _NO_SSH) else ""
            self._gate.desk.audit.refused(why, detail=detail, where=self._where, who=who)

    def _reason(self, exc: Exception | None) -> str:
        broken = isinstance(exc, asyncssh.DisconnectError) and not isinstance(exc, asyncssh.ConnectionLost)
        if self._admission is not None:
            return _BROKEN if broken else ""
        if self._why:
            return self._why
        if isinstance(exc, asyncssh.ConnectionLost) and "timeout" in str(exc):
            return "no login in time"
        if self._username:
            return "no certificate was offered"
        return _NO_SSH if exc is not None and not isinstance(exc, OSError) else ""

    def pause_writing(self) -> None:
        if self._session is not None:
            self._session.pause_writing()

    def resume_writing(self) -> None:
        if self._session is not None:
            self._session.resume_writing()

    async def validate_public_key(self, username: str, key_data: bytes, msg: bytes, signature: bytes) -> bool:
        """Admit by the tally's rules first, then by asyncssh's, which checks the signature."""
        self._keys_offered += 1
        if self._keys_offered > _MOST_KEYS_OFFERED:
            self.drop("too many keys were offered")
            return False
        desk = self._gate.desk
        try:
            desk.register.refresh()
            admission = admit(key_data, username, self._gate.authority, desk.register, desk.clock())
        except (RefusedLoginError, RegisterError) as error:
            self._why = self._why if self._why and "plain key" in error.message else error.message
            return False
        if not await super().validate_public_key(username, key_data, msg, signature):
            self._why = "a login that was not signed with the certificate's key"
            return False
        if not msg:
            self._judged = None
            return True
        if not await self._login_paced(admission.station):
            self._why = "too many logins of one station at once"
            return False
        self._judged = admission
        return True

    async def _login_paced(self, station: str) -> bool:
        # Only the owner of a station's key gets here, so strangers cannot slow it down.
        limits, pace = self._gate.desk.limits, self._gate.desk.paces[station].logins
        wait = pace.take(1)
        if wait > limits.pace_seconds:
            pace.give_back(1)
            return False
        await asyncio.sleep(wait)
        return True

    def logged_in(self) -> None:
        self._gate.arrivals.leave(self)
        if self._judged is None:
            self.drop("a login without a certificate")
            return
        self._admission, self._why = self._judged, ""
        too_many = self._gate.sessions.enter(self._admission.station)
        if too_many is not None:
            self.drop(too_many)
            return
        self._counted = True
        self._pace = self._gate.desk.paces[self._admission.station]
        self._gate.inside.add(self)

    def new_session(self) -> StationSession | None:
        if self._admission is None:
            return None
        self._channels_opened += 1
        if self._session is not None or self._channels_opened > _MOST_CHANNELS:
            self.refuse("too many channels in one connection")
            return None
        self._session = StationSession(self._gate.desk, self._admission, self)
        return self._session

    def count_stored(self, events: int) -> None:
        self._stored += events

    def begins(self, session: StationSession) -> bool:
        """Whether this session may converse: one may, also where another channel was refused before."""
        if self._session not in (None, session) or self._converses:
            self.refuse("too many channels in one connection")
            return False
        self._session, self._converses = session, True
        return True

    def session_ended(self, session: StationSession) -> None:
        if session is self._session:
            self._session, self._converses = None, False

    def look_again(self) -> None:
        """End the connection where its station is no longer trusted, whatever it is doing."""
        if self._admission is None:
            return
        desk = self._gate.desk
        try:
            check_still_admitted(self._admission, desk.register, desk.clock())
        except RefusedLoginError as error:
            if self._session is not None:
                self._session.say_goodbye(f"no longer let in: {error.message}")
            self._why = error.message
            self._dropped = True
            self.close()

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.stop()
        self.close()
        await self.wait_closed()

    def create_server_channel(
        self, encoding: str | None = "", errors: str = "", window: int = 0, max_pktsize: int = 0
    ) -> asyncssh.SSHServerChannel[Any]:
        # Of bytes, without a terminal, a line editor or its history.
        return _StationChannel(
            self, self._loop, True, False, False, 0, 0, None, "strict", window, max_pktsize
        )

    def check_certificate_permission(self, permission: str) -> bool:
        self.refuse(f"not permitted: {permission}")
        return False

    async def create_agent_listener(self) -> bool:
        self.refuse("not permitted: agent-forwarding")
        return False

    async def attach_x11_listener(self, *_: object, **__: object) -> None:
        self.refuse("not permitted: X11-forwarding")


@lru_cache(maxsize=_MOST_CERTIFICATES)  # what raises is not kept
def _decoded(blob: bytes) -> SSHOpenSSHCertificate:
    certificate = decode_ssh_certificate(blob)
    if not isinstance(certificate, SSHOpenSSHCertificate):
        raise asyncssh.KeyImportError("a chain of X.509 certificates")
    return certificate
