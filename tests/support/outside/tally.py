"""The real program from outside: `unbrick tally …` as a person and a service manager start it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.outside.client import OutsideStation

_PROGRAM = (sys.executable, "-m", "unbrick", "tally")
_LIMIT_SECONDS = 120.0


@dataclass
class RunningTally:
    """A server that runs; `stderr` grows as it speaks."""

    process: subprocess.Popen[str]
    port: int = 0
    stderr: list[str] = field(default_factory=list)
    reading: threading.Thread | None = None

    @property
    def log(self) -> str:
        """What it wrote to stderr until now."""
        return "".join(self.stderr)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; gives the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.awaited()

    def awaited(self) -> int:
        """Its exit code, once it has ended by itself."""
        code = self.process.wait(_LIMIT_SECONDS)
        if self.reading is not None:
            self.reading.join(_LIMIT_SECONDS)
        return code


@dataclass(frozen=True)
class OutsideTally:
    """A tally's folder."""

    folder: Path

    @classmethod
    def new(cls, folder: Path, *options: str | Path) -> OutsideTally:
        """`tally init`."""
        tally = cls(folder)
        tally.run("init", *options)
        return tally

    @property
    def station(self) -> OutsideStation:
        """The first station."""
        return OutsideStation(self.folder)

    def run(
        self, verb: str, *options: str | Path, code: int = 0, inside: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """`tally VERB FOLDER options`; it ends with that exit code."""
        done = subprocess.run(
            [*inside, *_PROGRAM, verb, self.folder, *options],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=_LIMIT_SECONDS,
            check=False,
        )
        assert done.returncode == code, done
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def enrol(self, name: str, out: Path, site: str = "main") -> OutsideStation:
        """`tally enrol`; its files are in `out`."""
        self.run("enrol", name, "--site", site, "--out", out)
        return OutsideStation(out, name)

    def revoke(self, name: str, *options: str) -> None:
        """`tally revoke`, without the question."""
        self.run("revoke", name, "--yes", *options)

    def status(self) -> dict[str, Any]:
        """`tally status --json`."""
        document: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return document

    def audit(self) -> list[dict[str, Any]]:
        """Every line of its audit."""
        return self._lines("audit.log")

    def refusals(self) -> list[dict[str, Any]]:
        """Every line about somebody who was refused something."""
        return self._lines("refusals.log")

    def _lines(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @contextmanager
    def served(
        self,
        *options: str,
        inside: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        before: Callable[[], None] | None = None,
    ) -> Iterator[RunningTally]:
        """`tally serve` on a free port, ended with the block; `before` runs in the child, as for limits."""
        process = subprocess.Popen(
            [*inside, *_PROGRAM, "serve", self.folder, "--port", "0", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
            preexec_fn=before,
        )
        running = RunningTally(process)
        running.reading = threading.Thread(target=_drain, args=(process, running.stderr), daemon=True)
        running.reading.start()
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("listening on "), (line, running.log)
            running.port = int(line.rpartition(":")[2])
            yield running
        finally:
            running.end(signal.SIGKILL)
            assert process.stdout is not None
            process.stdout.close()


def _drain(process: subprocess.Popen[str], into: list[str]) -> None:
    assert process.stderr is not None
    with process.stderr:
        for line in process.stderr:
            into.append(line)
