"""A tally on this computer that virtual machines reach, and what it has counted."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from support.program import run_program, start_program

from unbrick.drill.machine.boot import HOST
from unbrick.tally.folder import Address
from unbrick.tally.store.store import Store
from unbrick.tally.trust.authority import create_authority

_HERE = "127.0.0.1"
_MOST_KNOCKS, _KNOCK_SECONDS = 8, 0.5


class HostTally:
    """A tally's folder, and the settings of its first station."""

    def __init__(self, folder: Path, host: str = HOST) -> None:
        with socket.socket() as tried:
            tried.bind((_HERE, 0))
            self.port = int(tried.getsockname()[1])
        self.folder = folder
        create_authority(folder, Address(host, self.port), site="st-marys")
        Store.open(folder / "tally.db").close()

    def settings(self, folder: Path, *, keys: Path | None = None, **more: str) -> Path:
        """A new folder with `unbrick.yaml` and what it names; `more` are further settings. Gives the file."""
        folder.mkdir(parents=True)
        for name in ("station", "station-cert.pub"):
            shutil.copy(self.folder / name, folder / name)
        chosen = {"mode": "unattended", "finish": "restart", **more}
        if keys is not None:
            shutil.copy(keys, folder / "keys.csv")
            chosen["keys"] = "[keys.csv]"
        lines = (self.folder / "unbrick.yaml").read_text().splitlines()
        kept = [line for line in lines if line.split(":")[0] not in chosen]
        kept += [f"{name}: {value}" for name, value in chosen.items()]
        (folder / "unbrick.yaml").write_text("\n".join(kept) + "\n")
        return folder / "unbrick.yaml"

    @contextmanager
    def served(self, host: str = _HERE, inside: Sequence[str] = ()) -> Iterator[None]:
        """Serve it while the block lasts; `inside` is a command that starts it elsewhere."""
        options = ["--host", host, "--port", str(self.port)]
        process = start_program("tally", "serve", self.folder, *options, inside=inside)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("listening on "), line
            yield
        finally:
            process.terminate()
            process.communicate(timeout=60)

    @contextmanager
    def silent(self) -> Iterator[None]:
        """In its place, while the block lasts, is a port that answers nothing, as behind a firewall.

        Linux drops what knocks at a listening socket whose queue is full (tcp(7), listen(2)).
        """
        with ExitStack() as stack:
            port = stack.enter_context(socket.socket())
            port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            port.bind((_HERE, self.port))
            port.listen(0)
            for _ in range(_MOST_KNOCKS):
                knock = stack.enter_context(socket.socket())
                knock.settimeout(_KNOCK_SECONDS)
                try:
                    knock.connect((_HERE, self.port))
                except TimeoutError:
                    break
            else:
                raise AssertionError("the port still answers")
            yield

    def counted(self) -> dict[str, Any]:
        """Each machine's status by its name, as `unbrick tally status` says it."""
        document = run_program("tally", "status", self.folder, "--json").document
        return {one["name"]: one["status"] for one in document["machines"]}
