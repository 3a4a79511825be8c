"""The person in front of the machine as a key source: asked in plain words, three times at the most.

What is typed stays visible on the screen, as on BitLocker's own: nobody types 48 digits blind. Nothing
typed is ever written back by us, so it reaches no log.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TextIO

from unbrick.keys.password import PasswordError, RecoveryPassword
from unbrick.keys.sources.source import Candidate

_LONGEST_LINE = 1000
_EMPHASISED = 8
_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"


class PersonKeySource:
    """Asks on `output` and listens on `answers` (stderr and stdin, for a command)."""

    name = "the keyboard"
    interactive = True
    warnings: tuple[str, ...] = ()

    def __init__(
        self,
        answers: TextIO,
        output: TextIO,
        *,
        emphasis: bool | None = None,
    ) -> None:
        self._emphasis = output.isatty() if emphasis is None else emphasis
        self._answers = answers
        self._output = output
        self._gone = False

    def find(self, protector_ids: Sequence[str]) -> Iterator[Candidate]:
        """Ask for the password of one volume until it opens, or an empty line is given.

        Nothing else ends the asking: the next 48 digits that are typed would land in a shell. A mistyped
        group is named at once. The end of input is taken for good: nobody is asked again.
        """
        if self._gone:
            return
        self._explain(protector_ids)
        while True:
            line = self._ask()
            if not line.strip():
                self._say("No recovery password was given. This disk stays locked.")
                return
            try:
                password = RecoveryPassword.parse(line)
            except PasswordError as error:
                self._say(f"That is not right: {error.message}.")
            else:
                yield Candidate(None, password, self.name)
                self._say("That is a recovery password, but not the one for this disk.")
                self._say(f"Compare the Key ID: it must begin with {_beginnings(protector_ids)}.")
            self._say("Please try again, or press only Enter to give up.")

    def _explain(self, protector_ids: Sequence[str]) -> None:
        several = len(protector_ids) > 1
        self._say("")
        self._say("This disk is locked by BitLocker. To open it, its recovery password is needed: 48 digits.")
        self._say("Any of these Key IDs will do:" if several else "Look it up under this Key ID:")
        for protector in protector_ids:
            self._say("    " + self._emphasise(protector.upper()))
        self._say(f"Often the beginning is enough to find it: {_beginnings(protector_ids)}.")
        self._say("Type all 8 groups, with spaces or dashes between them.")
        self._say("Without the password press only Enter: the disk then stays locked.")

    def _emphasise(self, protector: str) -> str:
        if not self._emphasis:
            return protector
        return f"{_BOLD}{protector[:_EMPHASISED]}{_PLAIN}{protector[_EMPHASISED:]}"

    def _ask(self) -> str:
        """One typed line; empty where the input has ended."""
        self._output.write("Recovery password: ")
        self._output.flush()
        try:
            line = self._answers.readline(_LONGEST_LINE)
        except UnicodeDecodeError:
            return "?"
        if not line:
            self._gone = True
            self._say("")
        rest = line
        while len(rest) == _LONGEST_LINE and not rest.endswith("\n"):
            rest = self._answers.readline(_LONGEST_LINE)
        return line

    def _say(self, line: str) -> None:
        self._output.write(line + "\n")
        self._output.flush()


def _beginnings(protector_ids: Sequence[str]) -> str:
    return " or ".join(protector[:_EMPHASISED].upper() for protector in protector_ids)
