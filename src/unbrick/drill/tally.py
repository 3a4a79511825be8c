"""The tally of a drill: on this computer, in the fleet's folder; it ends with the drill."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from unbrick.processes.command import SystemRunner, wait_until
from unbrick.tally.folder import Address, TallyFolder
from unbrick.tally.show.board import Board, Reader
from unbrick.tally.store.store import Store
from unbrick.tally.trust.authority import create_authority

_HERE = "127.0.0.1"
_SITE = "drill"
_START_SECONDS = 60
_STOP_SECONDS = 10


class DrillTally:
    """A tally that is being served; `folder` holds it, `station` ties a repair to it."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder = folder
        self.station = folder / "unbrick.yaml"
        self._store = store
        self._reader = Reader(store)

    def board(self) -> Board:
        return self._reader.read(datetime.now().astimezone())

    def counted(self) -> dict[str, str]:
        return {row.name.upper(): row.status for row in self._store.machines(limit=None)}


@contextmanager
def drill_tally(
    folder: Path, inventory: Path, runner: SystemRunner, *, seen_at: str = _HERE
) -> Iterator[DrillTally]:
    """Make a tally in the new `folder`, with its `inventory`, and serve it on this computer only.

    The server is a process that dies with this one; stations find it at the address `seen_at`. Raises
    FailedError where it does not come up.
    """
    address = Address(seen_at, _free_port())
    made = create_authority(folder, address, site=_SITE, everywhere=True)
    with Store.open(made.database) as store:
        store.import_inventory(inventory)
        server = runner.start(
            [sys.executable, "-m", "unbrick", "tally", "serve", str(folder), "--host", _HERE]
        )
        try:
            wait_until(server, lambda: _is_served(made), timeout=_START_SECONDS, what="the tally")
            yield DrillTally(folder, store)
        finally:
            server.stop(_STOP_SECONDS)


def _free_port() -> int:
    with socket.socket() as tried:
        tried.bind((_HERE, 0))
        port = tried.getsockname()[1]
        assert isinstance(port, int)
        return port


def _is_served(folder: TallyFolder) -> bool:
    # Its own word: a connection that only tries the door would stand in the audit as a refusal.
    with suppress(FileNotFoundError):
        return b'"started"' in folder.audit.read_bytes()
    return False
