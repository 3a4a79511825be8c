"""The only door to other programs: an argument list, a clean environment, a time limit, secrets on stdin.

Never a shell, never a secret in an argument list. Every program has a session of its own: Ctrl-C must not
reach a FUSE server that we still write through.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol

from unbrick.errors import FailedError, MissingToolError, Reason
from unbrick.processes.libc import signal_at_parents_death
from unbrick.secret import Secret

_CLEAN_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "HOME": "/",
}
_TIDY_SECONDS = 60.0
_KILL_SECONDS = 3.0
_OUTPUT_LIMIT = 16 * 1024 * 1024


class CommandError(FailedError):
    """A program ended with an unexpected exit code; the hint can be pasted into a shell."""

    def __init__(self, argv: Sequence[str], returncode: int, stderr: bytes) -> None:
        super().__init__(
            f"the program {argv[0]} failed with exit code {returncode}{_last_line(stderr)}",
            hint=f"try it by hand: {shlex.join(argv)}",
            reason=Reason.PROGRAM_FAILED,
        )
        self.returncode = returncode
        self.stderr = stderr


class CommandTimeoutError(FailedError):
    """A program did not end within its time limit and was killed."""

    def __init__(self, argv: Sequence[str], seconds: float) -> None:
        super().__init__(
            f"the program {argv[0]} gave no answer within {seconds:g} s",
            hint=f"run it again; by hand it is: {shlex.join(argv)}",
            reason=Reason.TIMED_OUT,
        )


@dataclass(frozen=True)
class Result:
    """A program that has ended."""

    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes


class Server(Protocol):
    """A program that keeps running beside us (a FUSE server), as `Runner.start` gives it."""

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""

    def read_error(self) -> bytes:
        """What it has written to stderr, once it has ended."""

    def wait(self, timeout: float) -> int:
        """Wait for its own end, in seconds; raises CommandTimeoutError."""

    def stop(self, timeout: float) -> None:
        """Ask it to end, then make it: SIGTERM, and SIGKILL after `timeout` seconds."""


class Runner(Protocol):
    """Runs programs for other rooms; the real one is `SystemRunner`."""

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        stdin: bytes | Secret | None = None,
        ok: Collection[int] | None = (0,),
        pass_fds: Sequence[int] = (),
    ) -> Result:
        """Run to the end. Raises CommandError unless the exit code is in `ok` (None: any)."""

    def start(self, argv: Sequence[str], *, pass_fds: Sequence[int] = ()) -> Server:
        """Start a server in the foreground of its own process; it dies with us."""

    def has(self, program: str) -> bool: ...


def _last_line(stderr: bytes) -> str:
    lines = stderr.decode(errors="replace").strip().splitlines()
    return f": {lines[-1][:300]}" if lines else ""


def _take_keys() -> None:
    # They are ignored where we were started with them ignored, as on the medium.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP):
        signal.signal(number, signal.SIG_DFL)


class _Program(subprocess.Popen[bytes]):
    """Ends again where Ctrl-C or its like comes while it starts: no caller has it to end it then."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        try:
            super().__init__(*arguments, **options)
        except BaseException:
            if self.pid:  # None until the fork
                _kill(self)
            raise


def _kill(program: subprocess.Popen[bytes]) -> None:
    program.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):  # as a disk that fails may hold it
        program.wait(_KILL_SECONDS)


def _start(
    argv: Sequence[str],
    *,
    streams: tuple[IO[bytes] | int | None, IO[bytes] | int, IO[bytes] | int],
    environment: Mapping[str, str] = _CLEAN_ENVIRONMENT,
    pass_fds: Sequence[int] = (),
    apart: bool = True,
    prepare: Callable[[], None] = signal_at_parents_death,
) -> subprocess.Popen[bytes]:
    """The one place where a program starts; `apart`: in a session of its own. Raises MissingToolError."""
    stdin, stdout, stderr = streams
    try:
        return _Program(
            list(argv),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=environment,
            pass_fds=tuple(pass_fds),
            cwd="/",
            start_new_session=apart,
            preexec_fn=prepare,
        )
    except FileNotFoundError as error:
        raise MissingToolError(argv[0]) from error


def _end_session(leader: subprocess.Popen[bytes]) -> None:
    """SIGTERM to all programs of a session, wait for its leader, then SIGKILL."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader.pid, signal.SIGTERM)
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            leader.communicate(timeout=_TIDY_SECONDS)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(leader.pid, signal.SIGKILL)


class _SystemServer:
    def __init__(self, argv: Sequence[str], process: subprocess.Popen[bytes], stderr: IO[bytes]) -> None:
        self._argv = tuple(argv)
        self._process = process
        self._stderr = stderr
        self._said = b""

    def poll(self) -> int | None:
        return self._process.poll()

    def read_error(self) -> bytes:
        if not self._stderr.closed:
            ended = self._process.poll() is not None  # asked first: it may still write
            # Not `seek` and `read`: the program shares this file's position, and writes there.
            self._said = os.pread(self._stderr.fileno(), _OUTPUT_LIMIT, 0)
            if ended:
                self._stderr.close()
        return self._said

    def wait(self, timeout: float) -> int:
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise CommandTimeoutError(self._argv, timeout) from error
        self.read_error()
        return code

    def stop(self, timeout: float) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.read_error()


class SystemRunner:
    """Runs real programs."""

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        stdin: bytes | Secret | None = None,
        ok: Collection[int] | None = (0,),
        pass_fds: Sequence[int] = (),
        keep: Collection[str] = (),
        at_terminal: bool = False,
        tidies_up: bool = False,
    ) -> Result:
        """See `Runner.run`.

        `keep` names the variables of our environment that it needs besides the clean ones. `at_terminal`: it
        may ask the person there (for a key's passphrase, which we never see). `tidies_up`: it is not killed
        but asked to end, with all programs of its session (mmdebstrap hangs up its whole process group when
        it fails), and waited for.
        """
        given = stdin.reveal() if isinstance(stdin, Secret) else (stdin or b"")
        process = _start(
            argv,
            streams=(None if at_terminal else subprocess.PIPE, subprocess.PIPE, subprocess.PIPE),
            environment=_CLEAN_ENVIRONMENT | {name: os.environ[name] for name in keep if name in os.environ},
            pass_fds=pass_fds,
            apart=not at_terminal,
            prepare=partial(signal_at_parents_death, signal.SIGTERM if tidies_up else signal.SIGKILL),
        )
        with process:
            try:
                stdout, stderr = process.communicate(given or None, timeout=timeout)
            except BaseException as error:  # its time is over, or Ctrl-C or its like ends us
                if tidies_up:
                    _end_session(process)
                _kill(process)
                if isinstance(error, subprocess.TimeoutExpired):
                    raise CommandTimeoutError(argv, timeout) from error
                raise
        if ok is not None and process.returncode not in ok:
            raise CommandError(argv, process.returncode, stderr)
        return Result(tuple(argv), process.returncode, stdout, stderr)

    def start(
        self, argv: Sequence[str], *, pass_fds: Sequence[int] = (), stdout: IO[bytes] | None = None
    ) -> Server:
        """See `Runner.start`. `stdout` is the file for its standard output."""
        import tempfile

        stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the server
        try:
            streams = (subprocess.DEVNULL, stdout or subprocess.DEVNULL, stderr)
            return _SystemServer(argv, _start(argv, streams=streams, pass_fds=pass_fds), stderr)
        except MissingToolError:
            stderr.close()
            raise

    def lend_terminal(self, argv: Sequence[str], terminal: Path) -> int:
        """Leave a terminal to a program until it ends, with no time limit; its exit code.

        Nothing that is typed or shown there is seen here. Raises MissingToolError, OSError.
        """
        with terminal.open("r+b", buffering=0) as lent:
            # In our own session, whose terminal it is: a shell without one has no Ctrl-C.
            environment = _CLEAN_ENVIRONMENT | {"TERM": "linux"}
            streams = (lent, lent, lent)
            with _start(
                argv, streams=streams, environment=environment, apart=False, prepare=_take_keys
            ) as program:
                try:
                    return program.wait()
                finally:
                    program.kill()  # where we are ended first

    def has(self, program: str) -> bool:
        return shutil.which(program, path=_CLEAN_ENVIRONMENT["PATH"]) is not None


def wait_until(server: Server, condition: Callable[[], bool], *, timeout: float, what: str) -> None:
    """Poll `condition()` until true while `server` runs; raises FailedError when the server ends first.

    `timeout` is in seconds; `what` is how the message names the server.
    """
    deadline = time.monotonic() + timeout
    pause = 0.002
    hint = "run it again; if it fails again, the disk may be failing: copy it first"
    while not condition():
        if server.poll() is not None:
            why = _last_line(server.read_error())
            raise FailedError(f"{what} ended early{why}", hint=hint, reason=Reason.PROGRAM_FAILED)
        if time.monotonic() > deadline:
            why = f"{what} was not ready within {timeout:g} s"
            raise FailedError(why, hint=hint, reason=Reason.TIMED_OUT)
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
