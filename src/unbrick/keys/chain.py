"""Asks key sources in turn for the passwords of one volume, and remembers which were wrong.

Never opens a volume: asking for the next password means that the last one was wrong.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from unbrick.errors import NeedsKeyError, Reason, UsageError
from unbrick.keys.password import RecoveryPassword
from unbrick.keys.sources.csv_file import is_there, looks_like_a_password
from unbrick.keys.sources.kinds import KINDS
from unbrick.keys.sources.source import Candidate, KeySource

_MOST_NAMED = 4
_UNDERSTOOD = "name a CSV file with the columns KeyID,RecoveryKey"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


class KeyChain:
    """Key sources for one run; where that is not `interactive`, without those that ask a person."""

    def __init__(self, sources: Sequence[KeySource], *, interactive: bool = True) -> None:
        self._sources = tuple(source for source in sources if interactive or not source.interactive)
        self._notes: list[str] = []
        self._wrong: Counter[tuple[str, ...]] = Counter()

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the report: what was tried and was wrong, in order, without a digit of a password."""
        return tuple(self._notes)

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(warning for source in self._sources for warning in source.warnings)

    def unlock_candidates(
        self, protector_ids: Sequence[str], *, volume: str = "this volume"
    ) -> Iterator[Candidate]:
        """The passwords to try on a volume with these recovery protectors, each once.

        First what any source has under one of the ids, then what has no id, a person last. Asking for the
        next one notes that the last one was wrong; `volume` is what the note calls it.
        """
        if not protector_ids:
            return
        offered: list[RecoveryPassword] = []
        for candidate in self._ordered(protector_ids):
            if candidate.password in offered:
                continue
            offered.append(candidate.password)
            yield candidate
            self._wrong[tuple(protector_ids)] += 1
            self._notes.append(f"the password from {candidate.origin} does not open {volume}")

    def failure(self, protector_ids: Sequence[str], *, volume: str = "this volume") -> NeedsKeyError:
        """The error of a volume that stays locked: key-wrong where a password was tried, else key-missing."""
        ids = " or ".join(protector_ids[:_MOST_NAMED])
        if len(protector_ids) > _MOST_NAMED:
            ids += f" or {len(protector_ids) - _MOST_NAMED} more"
        tried = self._wrong[tuple(protector_ids)]
        asked = ", ".join(source.name for source in self._sources)
        if not protector_ids:
            return NeedsKeyError(
                f"{volume} is locked and has no recovery password protector",
                hint="it opens only with its other protectors",
                reason=Reason.KEY_MISSING,
            )
        hint = f"look up the recovery password of key ID {ids} and put it into a CSV for --keys"
        if tried:
            count = "the only password" if tried == 1 else f"none of the {tried} passwords"
            verb = "does not open" if tried == 1 else "opens"
            return NeedsKeyError(
                f"{count} found for key ID {ids} {verb} {volume}", hint=hint, reason=Reason.KEY_WRONG
            )
        where = f" in {asked}" if asked else ": no key source was given"
        return NeedsKeyError(
            f"{volume} is locked, and there is no recovery password for key ID {ids}{where}",
            hint=hint,
            reason=Reason.KEY_MISSING,
        )

    def _ordered(self, protector_ids: Sequence[str]) -> Iterator[Candidate]:
        without_id: list[Candidate] = []
        for source in self._sources:
            if source.interactive:
                continue
            for candidate in source.find(protector_ids):
                if candidate.protector_id is None:
                    without_id.append(candidate)
                else:
                    yield candidate
        yield from without_id
        for source in self._sources:
            if source.interactive:
                yield from source.find(protector_ids)


def open_sources(specs: Sequence[str | Path]) -> tuple[KeySource, ...]:
    """The key sources that `--keys` names; raises UsageError, also for a password in their place."""
    return tuple(_open_source(spec) for spec in specs)


def _open_source(spec: str | Path) -> KeySource:
    text = str(spec)
    if not text:
        raise UsageError("the name of a key source is empty", hint=_UNDERSTOOD)
    if looks_like_a_password(text) and not is_there(text):
        raise UsageError(
            "a recovery password does not belong on the command line, where others can see it",
            hint="put it into a CSV file, or wait to be asked for it",
        )
    for open_kind in KINDS:
        if (source := open_kind(text)) is not None:
            return source
    if _SCHEME.match(text) or text == "-" or "\0" in text:
        raise UsageError(f"unknown kind of key source: {text!r}", hint=_UNDERSTOOD)
    raise UsageError(f"there is no keys file {text}", hint=_UNDERSTOOD)
