"""A tally to talk to: in the test's own event loop (with limits of its own), or as the real program."""

from __future__ import annotations

import hashlib
import signal
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from support.program import start_program

from unbrick.tally.door.limits import Limits
from unbrick.tally.door.server import TallyServer
from unbrick.tally.folder import TallyFolder, parse_address
from unbrick.tally.store.store import Store
from unbrick.tally.trust.authority import create_authority


def new_tally(folder: Path) -> Path:
    """A tally's folder at 127.0.0.1."""
    Store.open(create_authority(folder, parse_address("127.0.0.1")).database).close()
    return folder


@asynccontextmanager
async def served_here(folder: Path, limits: Limits | None = None, **options: Any) -> AsyncIterator[int]:
    """Serve it in this event loop; gives the port. `options` are the server's own."""
    server = TallyServer(TallyFolder(folder), limits or Limits(), **options)
    address = await server.start("127.0.0.1", 0)
    try:
        yield address.port
    finally:
        await server.stop()


class ServerProcess:
    """`unbrick tally serve` as a process of its own."""

    def __init__(
        self, folder: Path, *, port: int = 0, inside: Sequence[str] = (), more: Sequence[str] = ()
    ) -> None:
        self._process = start_program("tally", "serve", folder, "--port", str(port), *more, inside=inside)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith("listening on " if inside else "listening on 127.0.0."):
            self.kill()
            raise AssertionError(f"the tally said {line!r} and {self.errors!r}")
        self.port = int(line.rpartition(":")[2])

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def errors(self) -> str:
        """What it wrote to stderr, once it has ended."""
        assert self._process.stderr is not None
        return self._process.stderr.read()

    def kill(self) -> None:
        """kill -9."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        self._process.wait(30)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end; gives its exit code."""
        self._process.send_signal(number)
        return self._process.wait(30)

    def close(self) -> None:
        """Let go of its streams."""
        with suppress(subprocess.TimeoutExpired, OSError):
            self._process.communicate(timeout=5)


@contextmanager
def served_by_program(
    folder: Path, *, port: int = 0, inside: Sequence[str] = (), more: Sequence[str] = ()
) -> Iterator[ServerProcess]:
    """The real program, ended when the block is left."""
    process = ServerProcess(folder, port=port, inside=inside, more=more)
    try:
        yield process
    finally:
        process.kill()
        process.close()


def stored_ids(folder: Path) -> list[str]:
    """The id of each event in the database, from its bytes; sorted, repeated where one is stored twice."""
    with closing(sqlite3.connect(folder / "tally.db")) as database:
        return sorted(
            hashlib.sha256(row[0]).hexdigest() for row in database.execute("select data from events")
        )
