"""Every screen of the station: progress, a question, the recovery password, a message, the end.

Draws words that others chose and hands back what a person answered; decides nothing about a disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unbrick.keys.password import RecoveryPassword
from unbrick.station.ending import Ending
from unbrick.station.terminal import Terminal


@dataclass(frozen=True)
class Question:
    """One question: a title of few words, sentences, and up to nine answers of which one is chosen."""

    title: str
    lines: tuple[str, ...]
    choices: tuple[str, ...]
    machine: str | None = None


class Screens:
    """The screens on one terminal."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def progress(self, words: str, machine: str | None = None) -> None:
        """Show what is being done now; `machine` once its name is known. Returns at once."""
        raise NotImplementedError

    def ask(self, question: Question) -> int:
        """Ask, wait as long as it takes, and return the number of the chosen answer, from 0."""
        raise NotImplementedError

    def ask_password(
        self, protector_ids: Sequence[str], volume: str, *, tried_wrong: bool = False
    ) -> RecoveryPassword | None:
        """The recovery password for one of these protectors as a person types it; None: they have none."""
        raise NotImplementedError

    def show(self, ending: Ending) -> None:
        """Show how it ended. Returns at once; `wait_for_key` then turns its pages."""
        raise NotImplementedError

    def message(self, lines: Sequence[str], *, title: str = "unbrick") -> None:
        """Show some sentences. Returns at once."""
        raise NotImplementedError

    def wait_for_key(self, seconds: float | None) -> bool:
        """Whether Enter was pressed within so many seconds (None: wait for ever)."""
        raise NotImplementedError
