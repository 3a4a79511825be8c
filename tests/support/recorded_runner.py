"""A runner for tests: it starts nothing."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from unbrick.processes.command import CommandError, Result, Server
from unbrick.secret import Secret


@dataclass
class RecordedRunner:
    """Answers from a table of `argv -> Result`, and keeps what was asked."""

    answers: dict[tuple[str, ...], Result] = field(default_factory=dict)
    asked: list[tuple[str, ...]] = field(default_factory=list)
    programs: frozenset[str] = frozenset()

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        stdin: bytes | Secret | None = None,
        ok: Collection[int] | None = (0,),
        pass_fds: Sequence[int] = (),
    ) -> Result:
        """Give the recorded answer; an unrecorded call fails the test that made it."""
        self.asked.append(tuple(argv))
        try:
            result = self.answers[tuple(argv)]
        except KeyError as error:
            raise AssertionError(f"no answer recorded for {shlex.join(argv)}") from error
        if ok is not None and result.returncode not in ok:
            raise CommandError(argv, result.returncode, result.stderr)
        return result

    def start(self, argv: Sequence[str], *, pass_fds: Sequence[int] = ()) -> Server:
        """Servers cannot be recorded."""
        raise AssertionError(f"a recorded runner starts no server: {shlex.join(argv)}")

    def has(self, program: str) -> bool:
        """Whether the recording says so."""
        return program in self.programs
