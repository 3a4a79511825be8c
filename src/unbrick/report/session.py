"""One SSH session to the tally: pinned host authority, login by certificate, our own request, nothing else.

No known_hosts, no agent, no other keys, no passwords, no forwarding. Every wait has a limit that no
machine's clock can stretch. paramiko is imported when a session is opened, not before.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unbrick import __version__
from unbrick.errors import FailedError, Reason
from unbrick.events.wire import (
    FIRST_PROTOCOL,
    PROTOCOL,
    SUBSYSTEM,
    Answer,
    Ask,
    FrameReader,
    SignedEvent,
    WireError,
    answer_of,
    encode_frame,
    ids_of,
)
from unbrick.report.station_login import Login, certificate_notice, end_of, read_login, take_renewed
from unbrick.signing.ssh_key import blob_of_line
from unbrick.text import printable

if TYPE_CHECKING:
    from paramiko.channel import Channel

    from unbrick.report.pinned_transport import PinnedTransport
    from unbrick.settings.station_file import Tally

_KEEPALIVE_SECONDS = 15
_LONGEST_TEXT = 300
_READ_BYTES = 65536
_MOST_READ_AT_ONCE = 16


class TallyRefusedError(FailedError):
    """It makes no sense to try again: the other end is not our tally, or our tally refuses us."""


class TallyUnreachableError(FailedError):
    """No session, or one that broke off: what was not acknowledged is kept and sent later."""


@dataclass(frozen=True)
class Limits:
    """The longest waits, in seconds: TCP connect; key exchange, login and welcome; one answer."""

    connect: float = 10.0
    handshake: float = 30.0
    answer: float = 60.0


@dataclass(frozen=True)
class Refusal:
    """Events that the tally will never take, and why."""

    ids: tuple[str, ...]
    reason: str
    text: str


@dataclass(frozen=True)
class Receipt:
    """What the tally said to one sending.

    `acknowledged` are durable there. `busy` is why the rest was not stored, to be sent again later; None
    where every event was answered.
    """

    acknowledged: tuple[str, ...]
    refused: tuple[Refusal, ...] = ()
    busy: str | None = None


class TallySession:
    """An open session, over which events are sent and the tally is asked; `open` makes one. One thread's."""

    def __init__(self, address: str, transport: PinnedTransport, limits: Limits) -> None:
        self.address = address  # HOST:PORT
        self._transport = transport
        self._limits = limits
        self._channel: Channel | None = None
        self._reader = FrameReader()
        self._messages: list[dict[str, Any]] = []
        self._asked: set[int] = set()
        self._answers: list[tuple[int, Answer]] = []
        self.protocol = FIRST_PROTOCOL
        """What both ends speak; asking needs `wire.ASKING_PROTOCOL`."""
        self.tally_time: datetime | None = None
        """What time it was at the tally when the session was opened; None where it did not say."""
        self.notice = ""
        """What a person should know of the station's certificate; empty where there is nothing."""

    @classmethod
    def open(cls, tally: Tally, *, limits: Limits | None = None) -> TallySession:
        """Dial, check the host, log in, open our subsystem and exchange greetings.

        Of several addresses the first that leads to our tally is taken. Raises TallyRefusedError,
        TallyUnreachableError, and UsageError where the station's own key or certificate cannot be read.
        """
        authority = blob_of_line(tally.host_ca)
        login = read_login(tally.key, tally.certificate, tally.renewed, authority)
        errors: list[TallyUnreachableError | TallyRefusedError] = []
        for host, port in ((tally.host, tally.port), *tally.others):
            try:
                return cls._open_at(host, port, login, authority, tally.renewed, limits or Limits())
            except (TallyUnreachableError, TallyRefusedError) as error:
                errors.append(error)
        raise _worst(errors)

    @classmethod
    def _open_at(
        cls, host: str, port: int, login: Login, authority: bytes, renewed: Path | None, limits: Limits
    ) -> TallySession:
        from unbrick.report.pinned_transport import PinnedTransport

        connection = _dial(host, port, limits.connect)
        transport = PinnedTransport(connection, authority=authority, host=host)
        session = cls(f"{host}:{port}", transport, limits)
        try:
            with session._limited(limits.handshake):
                session._log_in(login)
                offered = session._greet(renews=renewed is not None)
        except BaseException:
            session._transport.close()
            connection.close()
            raise
        ends = login.ends
        if renewed is not None and offered is not None:
            taken = take_renewed(offered, login.certificate, authority, renewed)
            ends = end_of(taken) if taken is not None else ends
        session.notice = certificate_notice(ends, session.tally_time or datetime.now(UTC))
        return session

    @property
    def is_open(self) -> bool:
        """Whether the session still stands, as far as is known without asking."""
        return self._transport.is_active() and self._channel is not None and not self._channel.closed

    def send(self, events: Sequence[SignedEvent]) -> Receipt:
        """Send up to `MOST_EVENTS_IN_A_FRAME` events and wait until each is answered.

        Raises TallyUnreachableError where the session breaks off: any of them may or may not be stored then.
        """
        waiting = {event.id for event in events}
        acknowledged: list[str] = []
        refused: list[Refusal] = []
        busy: str | None = None
        with self._limited(self._limits.answer):
            self._write({"type": "send", "events": [event.to_document() for event in events]})
            while waiting and busy is None:
                message = self._read()
                if message["type"] == "acknowledge":
                    acknowledged += _answered(message, waiting)
                elif message["type"] == "refuse":
                    ids = _answered(message, waiting)
                    refused.append(Refusal(ids, _text(message, "reason"), _text(message, "text")))
                elif message["type"] == "busy":
                    busy = _text(message, "text") or "the tally is busy"
        return Receipt(tuple(acknowledged), tuple(refused), busy)

    def ask(self, ask: Ask) -> None:
        """Put a question, whose answer comes by `answers`; raises TallyUnreachableError."""
        self._asked.add(ask.number)
        with self._limited(self._limits.answer):
            self._write(ask.to_message())

    def answers(self) -> list[tuple[int, Answer]]:
        """What was answered meanwhile, with the asks' numbers; never waits. Raises TallyUnreachableError."""
        for _ in range(_MOST_READ_AT_ONCE):
            if self._channel is None or not self._channel.recv_ready():
                break
            with self._limited(self._limits.answer):
                self._receive()
        if self._channel is not None and self._channel.recv_stderr_ready():
            self._channel.recv_stderr(_READ_BYTES)  # not the protocol's; unread, `fileno` stays readable
        while self._messages:  # only a goodbye counts
            self._next_message()
        if not self._answers and (self._channel is None or self._channel.eof_received or not self.is_open):
            raise TallyUnreachableError(f"the tally at {self.address} hung up")
        found, self._answers = self._answers, []
        return found

    def fileno(self) -> int:
        """Becomes readable when `answers` has something to look at."""
        number: int = self._channel.fileno() if self._channel is not None else -1
        return number

    def close(self) -> None:
        """Say goodbye and hang up; raises nothing."""
        with contextlib.suppress(TallyUnreachableError):
            if self.is_open:
                with self._limited(2.0):
                    self._write({"type": "bye", "text": "done"})
        self._transport.close()

    def __enter__(self) -> TallySession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _log_in(self, login: Login) -> None:
        from paramiko.ssh_exception import AuthenticationException

        from unbrick.report.pinned_transport import HostRefusedError

        try:
            self._transport.start_client()
        except HostRefusedError as error:
            raise TallyRefusedError(
                f"the tally at {self.address} is not the one this stick was made for: {error}; "
                "nothing was sent",
                hint="somebody else answers there, or the tally was set up anew: ask for a new unbrick.yaml",
            ) from error
        # Only a checked key exchange sets it; without one nothing may be sent.
        self._transport.get_remote_server_key()
        self._transport.set_keepalive(_KEEPALIVE_SECONDS)
        try:
            more = self._transport.auth_publickey(login.name, login.key)
        except AuthenticationException as error:
            # paramiko also says this where the line broke or no answer came in time.
            if "shut down" in str(error) or "timeout" in str(error):
                raise
            raise self._not_let_in(login) from error
        if more:
            raise self._not_let_in(login)
        self._channel = self._transport.open_session()
        self._channel.invoke_subsystem(SUBSYSTEM)

    def _not_let_in(self, login: Login) -> TallyRefusedError:
        message = f"the tally at {self.address} does not let this station ({login.name}) in"
        if login.ends <= datetime.now(UTC):
            return TallyRefusedError(
                f"{message}: its certificate ended on {login.ends:%Y-%m-%d}",
                hint="have a new one written, and put it in the place of the old: unbrick tally renew --out",
            )
        return TallyRefusedError(
            message,
            hint="its certificate has run out or was revoked: ask for a new one (unbrick tally enrol)",
        )

    def _greet(self, *, renews: bool) -> object:
        """Exchange greetings; gives the new certificate that the tally offers, or whatever it says there."""
        # A tally that does not know of renewals ignores this.
        more = {"renew": True} if renews else {}
        hello = {"type": "hello", "protocol": FIRST_PROTOCOL, "highest": PROTOCOL}
        self._write({**hello, "version": __version__, **more})
        message = self._read()
        protocol: Any = message.get("protocol")
        if message["type"] != "welcome" or protocol not in (FIRST_PROTOCOL, PROTOCOL):
            raise TallyRefusedError(
                f"the tally at {self.address} speaks another version of unbrick's protocol",
                hint="bring stick and tally to the same version of unbrick",
            )
        self.protocol = protocol
        self.tally_time = _time(message)
        return message.get("certificate")

    def _write(self, message: dict[str, Any]) -> None:
        if self._channel is None:
            raise TallyUnreachableError(f"no session with the tally at {self.address}")
        self._channel.sendall(encode_frame(message))

    def _read(self) -> dict[str, Any]:
        """The next message that is no answer to an ask; goodbyes and broken lines are errors."""
        while not self._messages:
            self._receive()
        return self._next_message()

    def _receive(self) -> None:
        data = self._channel.recv(_READ_BYTES) if self._channel is not None else b""
        if not data:
            error = self._transport.get_exception()
            if error is not None and not isinstance(error, EOFError):
                raise error
            raise TallyUnreachableError(f"the tally at {self.address} hung up")
        for message in self._reader.feed(data):
            if message["type"] != "answer":
                self._messages.append(message)
                continue
            number, answer = answer_of(message)
            if number in self._asked:  # once; so that no tally can fill our memory
                self._asked.discard(number)
                self._answers.append((number, replace(answer, text=_plain(answer.text))))

    def _next_message(self) -> dict[str, Any]:
        message = self._messages.pop(0)
        if message["type"] == "bye":
            raise TallyUnreachableError(f"the tally at {self.address} hung up: {_text(message, 'text')}")
        return message

    @contextlib.contextmanager
    def _limited(self, seconds: float) -> Iterator[None]:
        """Hang up when the time is over, which ends every wait; raises what went wrong as our own errors."""
        # paramiko measures its waits with the wall clock, which jumps on the machines we are made for; and a
        # limit on each read lets a host that says one byte a second go on for ever.
        from paramiko.ssh_exception import SSHException

        over = threading.Event()

        def hang_up() -> None:
            over.set()
            self._transport.close()

        timer = threading.Timer(seconds, hang_up)
        timer.daemon = True
        timer.start()
        try:
            yield
        except (SSHException, EOFError, OSError, WireError, TallyUnreachableError) as error:
            self._transport.close()
            if over.is_set():
                raise TallyUnreachableError(
                    f"the tally at {self.address} did not answer within {seconds:g} s",
                    reason=Reason.TIMED_OUT,
                ) from error
            if isinstance(error, TallyUnreachableError):
                raise
            said = _plain(str(error) or "end of data")
            raise TallyUnreachableError(
                f"the session with the tally at {self.address} broke off: {said}"
            ) from error
        finally:
            timer.cancel()


def _dial(host: str, port: int, seconds: float) -> socket.socket:
    try:
        connection = socket.create_connection((host, port), timeout=seconds)
    except OSError as error:
        said = error.strerror or str(error)
        raise TallyUnreachableError(f"the tally at {host}:{port} cannot be reached: {said}") from error
    # Frames are small and each is waited for; a dead line is noticed within a minute.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 45_000)
    return connection


def _worst(errors: Sequence[TallyUnreachableError | TallyRefusedError]) -> FailedError:
    """The error where no address led anywhere: unreachable where any was, as another try may help."""
    if len(errors) == 1:
        return errors[0]
    said = "; ".join(error.message for error in errors)
    hint = next((error.hint for error in errors if error.hint), None)
    if all(isinstance(error, TallyRefusedError) for error in errors):
        return TallyRefusedError(said, hint=hint)
    return TallyUnreachableError(said, hint=hint)


def _answered(message: dict[str, Any], waiting: set[str]) -> tuple[str, ...]:
    """The ids of an answer that were in `waiting`, each once; takes them out of it."""
    ids = tuple(dict.fromkeys(one for one in ids_of(message) if one in waiting))
    waiting.difference_update(ids)
    return ids


def _time(message: dict[str, Any]) -> datetime | None:
    text = _text(message, "time")
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def _text(message: dict[str, Any], name: str) -> str:
    value = message.get(name)
    return _plain(value) if isinstance(value, str) else ""


def _plain(text: str) -> str:
    """What another program said, fit for one line on a terminal."""
    return printable(text, " ")[:_LONGEST_TEXT].strip()
