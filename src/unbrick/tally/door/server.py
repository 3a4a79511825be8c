"""The tally's SSH server: one process, one event loop, thousands of sessions, one thread that commits.

Without memory the server ends, so that its service manager starts it again: it could do nothing, and would
keep the lock. `connection.py` decides who is let in, `session.py` holds the conversation, `group_commit.py`
makes events durable.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import logging
import os
import signal
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncssh
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from unbrick.errors import FailedError, UsageError
from unbrick.files import opened_for_owner
from unbrick.signing.certificates import read_public_file
from unbrick.signing.ssh_key import KEY_TYPE
from unbrick.tally.books.clock import present
from unbrick.tally.door.arrivals import Arrivals
from unbrick.tally.door.asks import KINDS, AnswerDesk, Handler
from unbrick.tally.door.budgets import DayBudgets, DayLimits
from unbrick.tally.door.caretaker import Caretaker
from unbrick.tally.door.connection import Door, Gate, StationConnection
from unbrick.tally.door.group_commit import GroupCommit, StoreBusyError
from unbrick.tally.door.intake import Intake
from unbrick.tally.door.limits import FramesInMemory, Limits, Sessions, StationPace, fitted_to_files
from unbrick.tally.door.service_log import VisitLog
from unbrick.tally.door.session import Desk
from unbrick.tally.folder import Address, TallyFolder, read_settings
from unbrick.tally.free_space import room_below
from unbrick.tally.records import ReceivedEvent, StoreError, StoreFullError
from unbrick.tally.store.opening import Opening, open_to_serve
from unbrick.tally.store.store import Store
from unbrick.tally.trust.audit import AuditLog, Log
from unbrick.tally.trust.authority import signing_key
from unbrick.tally.trust.register import StationRegister
from unbrick.tally.trust.renewals import Renewals

_WINDOW = 128 * 1024
_MOST_PACKET = 32 * 1024
_BACKLOG = 1024
_LOOK_SECONDS = 0.2
_FULL = "the disk of the tally is full: make room on it; until then nothing is stored"
_UNUSABLE = "the tally's database cannot be used"
_SPARE_BYTES = 4 * 1024 * 1024
_END_SECONDS = 30
_NO_MEMORY = {sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_IOERR_NOMEM, sqlite3.SQLITE_IOERR_SHMMAP}

# Elliptic curves only: with the old groups one packet of a stranger costs a second of CPU.
KEY_EXCHANGE = ("curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256")
# No chacha20: asyncssh makes three ciphers for each packet of it, a fifth of the cost of a login.
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes256-ctr")
MACS = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512")


class TallyServer:
    """One tally that is being served; `start` it, `stop` it.

    With the private key of its `authority` it also renews the stations' certificates.
    """

    def __init__(
        self,
        folder: TallyFolder,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        clock: Callable[[], datetime] = present,
        opening: Opening = Opening(),  # noqa: B008 - frozen
        log: Log = lambda *_: None,
        authority: Ed25519PrivateKey | None = None,
        day_limits: DayLimits = DayLimits(),  # noqa: B008 - frozen
        kinds: Mapping[str, Handler] = KINDS,
    ) -> None:
        self._folder = folder
        self._opening = opening
        self._day_limits = day_limits
        self._limits = limits = fitted_to_files(limits)
        self._worker = ThreadPoolExecutor(1, "commit")
        self._store: Store | None = None
        self._audit = AuditLog(folder.audit, log=log)
        self._log = log
        self._visits = VisitLog(log)
        register = StationRegister(folder.stations)
        register.refresh()
        self._sites: frozenset[str] = frozenset()
        self._budgets = DayBudgets(
            folder.path / "today.json",
            day_limits,
            clock,
            lambda: self._sites,
            lambda station, what: self._audit.tell("budget-spent", station=station, spent=what),
        )
        self._commit = GroupCommit[ReceivedEvent](
            self._add,
            self._worker,
            most_waiting=limits.events_waiting,
            condition=lambda error: self._caretaker.storing(error),
        )
        desk = Desk(
            register,
            Intake(register, clock),
            self._commit,
            self._audit,
            limits,
            clock,
            defaultdict(lambda: StationPace(limits)),  # only for enrolled stations
            FramesInMemory(limits.frames_bytes),
            self.fail_for_want_of_memory,
            self._budgets,
            Renewals(folder, register, self._audit, clock, authority),
            AnswerDesk(kinds, limits, self._budgets, self._audit, self.fail_for_want_of_memory),
        )
        self._gate = Gate(
            desk,
            read_public_file(folder.authority_public),
            Arrivals(limits.logins_at_once),
            Sessions(limits.sessions, limits.sessions_per_station),
        )
        self._caretaker = Caretaker(folder, self._audit, register, self._gate.inside, self._budgets)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: asyncio.Server | None = None
        self._ticking: asyncio.Task[None] | None = None
        self._spare: bytearray | None = bytearray(_SPARE_BYTES)
        self.out_of_memory = asyncio.Event()

    async def start(self, host: str | Sequence[str] | None, port: int) -> Address:
        """Open the store and listen; gives the first address. Raises StoreError, FailedError."""
        loop = self._loop = asyncio.get_running_loop()
        self._store = await loop.run_in_executor(
            self._worker, open_to_serve, self._folder, self._audit, self._opening
        )
        self._store.new_machines_a_day = self._day_limits.machines
        summary = await loop.run_in_executor(self._worker, self._store.summary)
        self._sites = frozenset((*summary.sites, *(one.site for one in self._gate.desk.register.stations)))
        stored = await loop.run_in_executor(self._worker, self._store.stored_since, self._budgets.day_began)
        if recounted := self._budgets.recount(stored):
            self._audit.tell("budgets-recounted", text=recounted)
        self._caretaker.start()
        try:
            options = self._options()
            self._server = await loop.create_server(
                lambda: StationConnection(self._gate, loop, options),
                host,
                port,
                backlog=self._limits.accepts_at_once,  # asyncio also accepts that many before it looks up
            )
            for listening in self._server.sockets:
                with closing(listening.dup()) as same:
                    same.listen(_BACKLOG)
        except OSError as error:
            raise FailedError(
                f"cannot listen on {host or 'any address'}, port {port}: {os.strerror(error.errno or 0)}",
                hint="name another one with --host and --port",
            ) from error
        self._ticking = asyncio.create_task(self._tick())
        found = self._server.sockets[0].getsockname()
        address = Address(found[0], found[1])
        self._audit.tell("started", address=str(address), sessions=self._limits.sessions)
        return address

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for waiting in self._gate.arrivals.all():
            if isinstance(waiting, StationConnection):
                waiting.abort()
        if self.out_of_memory.is_set():
            for inside in list(self._gate.inside):
                inside.abort()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.stop_seconds):
                await asyncio.gather(*(one.stop() for one in list(self._gate.inside)))
        await self._commit.finish()
        if self._ticking is not None:
            self._ticking.cancel()
        if self._store is not None:
            await asyncio.get_running_loop().run_in_executor(self._worker, _end_well, self._store)
        self._worker.shutdown()
        self._budgets.save()
        self._audit.close()
        self._audit.tell("stopped")

    def fail_for_want_of_memory(self) -> None:
        """End with the memory kept for it. What was acknowledged is durable."""
        self._spare = None
        self.out_of_memory.set()

    def unexpected(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            self.fail_for_want_of_memory()
        else:
            self._log(logging.ERROR, f"unexpected: {context.get('message', '')} {error!r}")

    def _options(self) -> asyncssh.SSHServerConnectionOptions:
        try:
            key = asyncssh.read_private_key(str(self._folder.host_key))
            certificate = asyncssh.read_certificate(str(self._folder.host_certificate))
        except (OSError, asyncssh.KeyImportError) as error:
            raise FailedError(f"the host key of {self._folder.path} cannot be read: {error}") from error
        return asyncssh.SSHServerConnectionOptions(
            config=None,
            server_factory=lambda: Door(self._gate),
            server_host_keys=[(key, certificate)],
            server_version="unbrick",
            send_server_host_keys=False,
            gss_host=None,
            host_based_auth=False,
            password_auth=False,
            kbdint_auth=False,
            allow_pty=False,
            line_editor=False,
            x11_forwarding=False,
            agent_forwarding=False,
            allow_scp=False,
            encoding=None,
            window=_WINDOW,
            max_pktsize=_MOST_PACKET,
            kex_algs=KEY_EXCHANGE,
            encryption_algs=CIPHERS,
            mac_algs=MACS,
            compression_algs=None,
            signature_algs=(KEY_TYPE,),
            login_timeout=self._limits.login_seconds,
            keepalive_interval=self._limits.keepalive_seconds,
        )

    def _add(self, batch: Sequence[ReceivedEvent]) -> None:
        assert self._store is not None
        assert self._loop is not None
        room = room_below(self._folder.path)
        if room is not None and room.is_full:  # the reserve is not for reports
            raise StoreBusyError(_FULL)
        try:
            new = self._store.add(batch)
        except StoreFullError as error:
            raise StoreBusyError(_FULL) from error
        except StoreError as error:
            if _is_want_of_memory(error):
                self._loop.call_soon_threadsafe(self.fail_for_want_of_memory)
            raise StoreBusyError(f"{_UNUSABLE}: {error.message}") from error
        except MemoryError as error:
            self._loop.call_soon_threadsafe(self.fail_for_want_of_memory)
            raise StoreBusyError(_UNUSABLE) from error
        self._visits.stored(batch, new)

    async def _tick(self) -> None:
        logged: set[str] = set()
        while True:
            await asyncio.sleep(1)
            try:
                self._caretaker.tick()
            except MemoryError:
                self.fail_for_want_of_memory()
            except (OSError, FailedError) as error:
                if repr(error) not in logged:
                    logged.add(repr(error))
                    self._log(logging.ERROR, f"unexpected: {error!r}")


def _is_want_of_memory(error: StoreError) -> bool:
    cause = getattr(error.__cause__, "orig", error.__cause__)
    return getattr(cause, "sqlite_errorcode", None) in _NO_MEMORY


def _end_well(store: Store) -> None:
    with store, suppress(StoreError):
        store.end_serving()


@contextmanager
def _only_server(folder: TallyFolder) -> Iterator[None]:
    """Hold the folder against a second server; raises UsageError."""
    with ExitStack() as held:
        real = folder.database.resolve().with_name(folder.lock.name)
        # A linked database may belong to another folder, which another server serves.
        for lock in (folder.lock, *([] if real == folder.lock.resolve() else [real])):
            try:
                _lock(held.enter_context(opened_for_owner(lock, os.O_RDWR)))
            except BlockingIOError as error:
                raise UsageError(
                    f"{lock.parent} is being served already",
                    hint="one server serves one folder; end the other first",
                ) from error
            except OSError as error:
                raise FailedError(f"{lock} cannot be opened: {error.strerror}") from error
        yield


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # `is_served` holds the lock for an instant: try once more
        time.sleep(_LOOK_SECONDS)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def serve(
    directory: Path,
    *,
    host: str | None = None,
    port: int | None = None,
    ready: Callable[[Address], None],
    limits: Limits = Limits(),  # noqa: B008 - frozen
    opening: Opening = Opening(),  # noqa: B008 - frozen
    log: Log = lambda *_: None,
    authority: Path | None = None,
    day_limits: DayLimits = DayLimits(),  # noqa: B008 - frozen
) -> None:
    """Serve a tally's folder until SIGTERM or SIGINT; `ready` is called once it listens.

    With `authority`, the place of its private key, certificates are renewed. Without `host` it listens on the
    loopback where the tally's addresses are there, else on every address. Raises UsageError, StoreError,
    FailedError.
    """
    folder, settings = read_settings(directory)
    where = host or (settings.address.host if settings.is_loopback else None)
    logging.getLogger("asyncssh").setLevel(logging.CRITICAL)
    key = signing_key(folder, authority) if authority is not None else None
    with _only_server(folder):
        server = TallyServer(folder, limits, opening=opening, log=log, authority=key, day_limits=day_limits)
        asyncio.run(_serve(server, where, settings.address.port if port is None else port, ready))
        if server.out_of_memory.is_set():
            raise FailedError(
                "the tally had no memory left and has ended; nothing that was acknowledged is lost",
                hint="start it again (a service manager does: Restart=on-failure) and give it more memory",
            )


async def _serve(server: TallyServer, host: str | None, port: int, ready: Callable[[Address], None]) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(server.unexpected)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    try:
        ready(await server.start(host, port))
        ends = [asyncio.create_task(one.wait()) for one in (ended, server.out_of_memory)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if server.out_of_memory.is_set():
            # Without memory stopping may hang; the kernel's alarm needs none.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(_END_SECONDS)
        await server.stop()
        signal.alarm(0)
