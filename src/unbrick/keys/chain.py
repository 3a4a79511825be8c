"""Asks key sources in turn for the passwords of one volume, and remembers which were wrong.

Never opens a volume: asking for the next password means that the last one was wrong.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from unbrick.errors import NeedsKeyError, Reason, UsageError
from unbrick.keys.password import RecoveryPassword
from unbrick.keys.reading.looks import computer_name
from unbrick.keys.sources.files import NOT_ON_A_COMMAND_LINE, is_there, looks_like_a_password
from unbrick.keys.sources.kinds import KINDS
from unbrick.keys.sources.source import Candidate, GuessingSource, KeySource

MOST_TRIES = 300
"""The most passwords of all files that are tried on one volume: each costs some 0.3 seconds."""

_MOST_NAMED = 4
_MOST_NOTED = 5
_UNDERSTOOD = "name a file or a folder of exported keys, such as a CSV with the columns KeyID,RecoveryKey"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


@dataclass
class _Attempt:
    """How a volume's unlocking went."""

    tried: int = 0
    cut_off: bool = False


class KeyChain:
    """Key sources for one run; where that is not `interactive`, without those that ask a person."""

    def __init__(self, sources: Sequence[KeySource], *, interactive: bool = True) -> None:
        self._sources = tuple(source for source in sources if interactive or not source.interactive)
        self._notes: list[str] = []
        self._attempts: dict[tuple[str, ...], _Attempt] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the report: what was tried and was wrong, in order, without a digit of a password."""
        return tuple(self._notes)

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(warning for source in self._sources for warning in source.warnings)

    def unlock_candidates(
        self, protector_ids: Sequence[str], *, volume: str = "this volume", computer: str | None = None
    ) -> Iterator[Candidate]:
        """The passwords to try on a volume with these recovery protectors, each once.

        First what any source has under one of the ids, then what may be right though no id says so (that of
        `computer` first), `MOST_TRIES` in all, a person last. Asking for the next one notes that the last one
        was wrong; `volume` is what the note calls it.
        """
        if not protector_ids:
            return
        attempt = self._attempts[tuple(protector_ids)] = _Attempt()
        offered: list[RecoveryPassword] = []
        files = [source for source in self._sources if not source.interactive]
        persons = [source for source in self._sources if source.interactive]
        of_files = _at_most(_new(_of_files(files, protector_ids, computer), offered), attempt)
        of_persons = _new((one for source in persons for one in source.find(protector_ids)), offered)
        for candidate in chain(of_files, of_persons):
            offered.append(candidate.password)
            yield candidate
            self._note(candidate, attempt, volume)

    def _note(self, candidate: Candidate, attempt: _Attempt, volume: str) -> None:
        """Write down that it was wrong; of many, how many."""
        attempt.tried += 1
        more = attempt.tried - _MOST_NOTED
        if more <= 0:
            self._notes.append(f"the password from {candidate.origin} does not open {volume}")
        elif more == 1:
            self._notes.append(f"1 more password does not open {volume}")
        else:
            self._notes[-1] = f"{more} more passwords do not open {volume}"

    def failure(self, protector_ids: Sequence[str], *, volume: str = "this volume") -> NeedsKeyError:
        """The error of a volume that stays locked: key-wrong where all that might open it was tried, else
        key-missing.
        """
        ids = " or ".join(protector_ids[:_MOST_NAMED])
        if len(protector_ids) > _MOST_NAMED:
            ids += f" or {len(protector_ids) - _MOST_NAMED} more"
        attempt = self._attempts.get(tuple(protector_ids), _Attempt())
        asked = ", ".join(source.name for source in self._sources)
        if not protector_ids:
            return NeedsKeyError(
                f"{volume} is locked and has no recovery password protector",
                hint="it opens only with its other protectors",
                reason=Reason.KEY_MISSING,
            )
        hint = f"look up the recovery password of key ID {ids} and put it into a CSV for --keys"
        if attempt.cut_off:
            return NeedsKeyError(
                f"{volume} is locked, and none of the first {MOST_TRIES} passwords that may be its own opens"
                " it; there are more, which were not tried",
                hint=f"{hint}, alone, with its key ID",
                reason=Reason.KEY_MISSING,
            )
        if attempt.tried:
            count = "the only password" if attempt.tried == 1 else f"none of the {attempt.tried} passwords"
            verb = "does not open" if attempt.tried == 1 else "opens"
            return NeedsKeyError(
                f"{count} found for key ID {ids} {verb} {volume}", hint=hint, reason=Reason.KEY_WRONG
            )
        where = f" in {asked}" if asked else ": no key source was given"
        return NeedsKeyError(
            f"{volume} is locked, and there is no recovery password for key ID {ids}{where}",
            hint=hint,
            reason=Reason.KEY_MISSING,
        )


def _new(candidates: Iterable[Candidate], offered: Container[RecoveryPassword]) -> Iterator[Candidate]:
    return (one for one in candidates if one.password not in offered)


def _at_most(candidates: Iterable[Candidate], attempt: _Attempt) -> Iterator[Candidate]:
    for number, candidate in enumerate(candidates):
        if number == MOST_TRIES:
            attempt.cut_off = True
            return
        yield candidate


def _of_files(
    sources: Sequence[KeySource], protector_ids: Sequence[str], computer: str | None
) -> Iterator[Candidate]:
    """What may be the right one, the likeliest first."""
    without_id: list[Candidate] = []
    for candidate in (one for source in sources for one in source.find(protector_ids)):
        if candidate.protector_id is None:
            without_id.append(candidate)
        else:
            yield candidate
    if computer:
        yield from _guesses(sources, computer)
    yield from without_id
    yield from _guesses(sources, None)


def _guesses(sources: Iterable[KeySource], computer: str | None) -> Iterator[Candidate]:
    name = computer_name(computer) if computer else None
    if computer and not name:
        return
    for source in sources:
        if isinstance(source, GuessingSource):
            yield from source.guesses(name)


def open_sources(specs: Sequence[str | Path]) -> tuple[KeySource, ...]:
    """The key sources that `--keys` names; raises UsageError, also for a password in their place."""
    return tuple(_open_source(spec) for spec in specs)


def _open_source(spec: str | Path) -> KeySource:
    text = str(spec)
    if not text:
        raise UsageError("the name of a key source is empty", hint=_UNDERSTOOD)
    if looks_like_a_password(text) and not is_there(text):
        raise UsageError(
            NOT_ON_A_COMMAND_LINE,
            hint="put it into a CSV file, or wait to be asked for it",
        )
    for open_kind in KINDS:
        if (source := open_kind(text)) is not None:
            return source
    if _SCHEME.match(text) or "\0" in text:
        raise UsageError(f"unknown kind of key source: {text!r}", hint=_UNDERSTOOD)
    raise UsageError(f"there is no keys file {text}", hint=_UNDERSTOOD)
