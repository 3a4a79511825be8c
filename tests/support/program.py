"""The real program, run from outside: what it prints on each stream, how it ends, and how it takes a person.

Knows nothing of the program's inside: an argument list goes in, two streams and an exit code come out.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.contract_schema import validate

_PROGRAM = (sys.executable, "-m", "unbrick")
_LIMIT_SECONDS = 120.0

Argument = str | Path


@dataclass(frozen=True)
class Ended:
    """How the program ended: its exit code (negative: a signal) and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def documents(self) -> list[dict[str, Any]]:
        """The JSON documents on stdout; every line must be one."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def refusal(self) -> dict[str, Any]:
        """The only document on stdout, of a command line that was refused before anything was touched."""
        assert self.code == 2, self
        assert "disk" not in self.document, self
        return self.document

    @property
    def document(self) -> dict[str, Any]:
        """The only JSON document on stdout."""
        (document,) = self.documents
        return document

    @property
    def said(self) -> str:
        """Both streams together."""
        return self.out + self.err


def run_program(
    *arguments: Argument,
    cwd: Path | None = None,
    temporary: Path | None = None,
    inside: Sequence[str] = (),
    stdin: str | None = None,
) -> Ended:
    """Run to the end with pipes for all three streams; no test ends with a stack trace on a screen."""
    piped = stdin is not None
    return await_end(
        start_program(*arguments, cwd=cwd, temporary=temporary, inside=inside, piped=piped), stdin
    )


def await_end(process: subprocess.Popen[str], stdin: str | None = None) -> Ended:
    """Wait for a program that was started, and look at what it wrote."""
    out, err = process.communicate(stdin, timeout=_LIMIT_SECONDS)
    ended = Ended(process.returncode, out, err)
    assert "Traceback" not in ended.said, ended.said
    assert "internal error" not in ended.said, ended.said
    assert "\x1b" not in ended.said, "colour on a pipe"
    check_documents(out)
    return ended


def check_documents(out: str) -> None:
    """That every document of the contract among these lines is as the schema says."""
    for line in out.splitlines():
        if line.startswith("{") and line.endswith("}"):
            document = json.loads(line)
            if "schema" in document or {"disk", "installations"} <= document.keys():
                validate(document)


def start_program(
    *arguments: Argument,
    cwd: Path | None = None,
    temporary: Path | None = None,
    inside: Sequence[str] = (),
    piped: bool = False,
) -> subprocess.Popen[str]:
    """Start it with pipes (for its standard input where that is `piped`), in a session of its own.

    `inside` is a command that starts it elsewhere.
    """
    return subprocess.Popen(
        [*inside, *_PROGRAM, *map(str, arguments)],
        stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=_environment(temporary),
        start_new_session=True,
    )


def _environment(temporary: Path | None = None) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("UNBRICK_")}
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "PAGER", "LESS"):
        kept.pop(name, None)
    kept["TERM"] = "xterm-256color"
    if temporary is not None:
        kept["TMPDIR"] = str(temporary)
    return kept


class AtTerminal:
    """The program with a person's terminal on all three streams."""

    def __init__(self, process: subprocess.Popen[bytes], screen: int) -> None:
        self._process = process
        self._screen = screen
        self._seen = 0
        self.shown = ""

    @property
    def process(self) -> int:
        """The number of the program's process."""
        return self._process.pid

    def wait_for(self, text: str) -> None:
        """Read until `text` is shown after what was waited for last."""
        deadline = time.monotonic() + _LIMIT_SECONDS
        while text not in self.shown[self._seen :]:
            if not self._read(deadline):
                raise AssertionError(f"{text!r} never came; shown was:\n{self.shown}")
        self._seen = self.shown.index(text, self._seen) + len(text)

    def type(self, line: str) -> None:
        """Type a line and press Enter."""
        self.press(line.encode() + b"\n")

    def press(self, keys: bytes) -> None:
        """Press keys, for instance Ctrl-C (`b"\\x03"`)."""
        os.write(self._screen, keys)

    def send(self, number: signal.Signals) -> None:
        """Send the program a signal."""
        self._process.send_signal(number)

    def resize(self, lines: int, columns: int) -> None:
        """Give the terminal another size."""
        termios.tcsetwinsize(self._screen, (lines, columns))

    def is_line_by_line(self) -> bool:
        """Whether the keyboard waits for Enter and shows what is typed, as a shell expects it."""
        return bool(termios.tcgetattr(self._screen)[3] & termios.ICANON)

    def end(self) -> int:
        """Read to the end and give the exit code."""
        while self._read(time.monotonic() + _LIMIT_SECONDS):
            pass
        code = self._process.wait(_LIMIT_SECONDS)
        assert "Traceback" not in self.shown, self.shown
        assert "internal error" not in self.shown, self.shown
        return code

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._screen], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise AssertionError(f"nothing more came; shown was:\n{self.shown}")
        try:
            part = os.read(self._screen, 65536)
        except OSError:  # EIO: the other end of the terminal is closed
            return False
        self.shown += part.decode(errors="replace").replace("\r\n", "\n")
        return bool(part)


@contextmanager
def at_terminal(
    *arguments: Argument,
    cwd: Path | None = None,
    columns: int = 120,
    environment: Mapping[str, str] | None = None,
) -> Iterator[AtTerminal]:
    """The program started at a terminal; it is ended when the block is left."""
    screen, keyboard = pty.openpty()
    termios.tcsetwinsize(keyboard, (50, columns))

    def take_the_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    try:
        process = subprocess.Popen(
            [*_PROGRAM, *map(str, arguments)],
            stdin=keyboard,
            stdout=keyboard,
            stderr=keyboard,
            cwd=cwd,
            env={**_environment(), **(environment or {})},
            start_new_session=True,
            preexec_fn=take_the_terminal,
        )
        os.close(keyboard)
        with process:
            try:
                yield AtTerminal(process, screen)
            finally:
                with suppress(ProcessLookupError):
                    process.send_signal(signal.SIGKILL)
    finally:
        os.close(screen)
