"""What a key source is: asked for the protectors of one volume, it gives passwords worth trying.

A source never tries a password itself and never keeps one anywhere but in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from unbrick.keys.password import RecoveryPassword


@dataclass(frozen=True)
class Candidate:
    """A password worth trying, and where it came from, in words that hold no digit of it.

    `protector_id` is the GUID (upper case, no braces) it is kept under, None where the source does not
    know. `origin` completes "the password from …": `keys.csv line 7`.
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
        """What its owner should be told: sentences, known once it is open, free of secrets."""

    def find(self, protector_ids: Sequence[str]) -> Iterator[Candidate]:
        """The passwords for a volume with these protectors, the likeliest first.

        Those kept under one of the ids come first, those whose id is unknown after. Asking for the next
        one tells the source that the last one was wrong.
        """
