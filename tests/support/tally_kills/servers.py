"""`unbrick tally …` as processes that begin at once: forked off one that has loaded the program already."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PATIENCE_SECONDS = 120.0
_LOADED = [
    "unbrick.cli.main",
    "unbrick.cli.tally",
    "unbrick.tally.door.server",
    "unbrick.tally.upkeep.check",
    __name__,
]
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(_LOADED)


def _be_the_program(arguments: list[str], out: str, err: str) -> None:
    for path, stream in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    sys.argv = ["unbrick", *arguments]
    from unbrick.cli.main import main

    main()


class Program:
    """One run of the program."""

    def __init__(self, *arguments: str | Path) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tally-kills-")
        self._out, self._err = Path(self._folder.name) / "out", Path(self._folder.name) / "err"
        given = ([str(one) for one in arguments], str(self._out), str(self._err))
        self.process = _FORKS.Process(target=_be_the_program, args=given)
        self.process.start()

    @property
    def out(self) -> str:
        """What it has said."""
        return self._out.read_text() if self._out.exists() else ""

    @property
    def err(self) -> str:
        """What it has complained of."""
        return self._err.read_text() if self._err.exists() else ""

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.join()

    def end(self) -> int:
        """SIGTERM; its exit code."""
        self.process.terminate()
        return self.awaited()

    def awaited(self) -> int:
        """Its exit code, once it has ended."""
        self.process.join(_PATIENCE_SECONDS)
        code = self.process.exitcode
        assert code is not None, "it does not end"
        return code

    def port(self) -> int | None:
        """Where it listens, once it does; None where it ended first."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while "\n" not in self.out:
            if self.process.exitcode is not None:
                return None
            assert time.monotonic() < until, "it neither listens nor ends"
            time.sleep(0.005)
        return int(self.out.splitlines()[0].rpartition(":")[2])

    def close(self) -> None:
        """Forget what it said."""
        if self.process.exitcode is None:
            self.kill()
        self._folder.cleanup()


@contextmanager
def program(*arguments: str | Path) -> Iterator[Program]:
    """One run, ended with the block."""
    running = Program(*arguments)
    try:
        yield running
    finally:
        running.close()
