"""A key source, asked for the protectors of one volume, gives passwords worth trying.

It never tries a password itself and never keeps one anywhere but in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from unbrick.keys.password import RecoveryPassword


@dataclass(frozen=True)
class Candidate:
    """A password worth trying, with its protector's GUID (upper case, no braces) where that is known.

    `origin` completes "the password from …": `keys.csv line 7`; it has no digit of the password.
    """

    protector_id: str | None
    password: RecoveryPassword
    origin: str


class KeySource(Protocol):
    """One place that may have the password: a file, a directory, a person."""

    @property
    def name(self) -> str:
        """What a message calls it: `keys.csv`."""

    @property
    def interactive(self) -> bool:
        """Whether asking it asks a person."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for its owner, known once it is open, without secrets."""

    def find(self, protector_ids: Sequence[str]) -> Iterator[Candidate]:
        """The passwords for a volume with these protectors, the likeliest first.

        Those of one of the ids come first, those of unknown ids after. Asking for the next one means that the
        last one was wrong.
        """


@runtime_checkable
class GuessingSource(Protocol):
    """A source that also has passwords which may be right though no id says so."""

    def guesses(self, computer: str | None) -> Iterator[Candidate]:
        """Those beside this computer's name, as `looks.computer_name` gives it; with None all of them."""
