"""A playbook as frozen types: YAML is read into them, the JSON Schema is made from them.

A field's annotation says how its value is written (`Shape`), its metadata what it is for and its key in
the file. `faults()` yields the combinations that mean nothing. A class's docstring is its description in the
schema.
"""

# ruff: noqa: RUF009 - `_optional` makes a field, no shared default
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated, Any

from unbrick.incidents.deny import why_too_wide
from unbrick.incidents.pattern import PathPattern, parse_pattern
from unbrick.model import Verdict
from unbrick.settings.strict import ScalarKind, Shape, number

FIRST_BYTES_SEEN = 64  # model.ObservedFile keeps as many
MOST_FILES = 1000
MOST_BYTES = 1024**3

Fault = tuple[str, str]
"""A key of a mapping, and what was expected of it."""


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


Sentence = Annotated[str, Shape("a text of 1 to 2000 characters", r"\S", longest=2000, read=_one_line)]
Name = Annotated[str, Shape("a name of 1 to 200 characters", r"^\S(.*\S)?$", longest=200)]
Identifier = Annotated[
    str,
    Shape(
        "3 to 64 small letters, digits and dashes, for example 'crowdstrike-cf291'",
        r"^[a-z0-9][a-z0-9-]{1,62}[a-z0-9]$",
    ),
]
Address = Annotated[str, Shape("an address that begins with https://", r"^https://[!-~]+$", longest=500)]
Day = Annotated[
    date,
    Shape("a day such as 2024-07-19", r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", read=date.fromisoformat, bare=True),
]
Moment = Annotated[
    datetime,
    Shape(
        "a time in UTC that ends in Z, such as 2024-07-19T04:09:00Z",
        r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z$",
        read=_moment,
        bare=True,
    ),
]
HexBytes = Annotated[
    bytes,
    Shape(
        f'1 to {FIRST_BYTES_SEEN} bytes as pairs of hex digits, such as "4D 5A"',
        r"^[0-9A-Fa-f]{2}( ?[0-9A-Fa-f]{2}){0,63}$",
        read=bytes.fromhex,
        bare=True,
    ),
]
Digest = Annotated[str, Shape("a SHA-256 of 64 hex digits", r"^[0-9A-Fa-f]{64}$", read=str.lower, bare=True)]
WindowsPattern = Annotated[
    PathPattern,
    Shape(
        "a path that begins with %SystemRoot%\\ or \\, without a drive letter",
        r"^(%[Ss][Yy][Ss][Tt][Ee][Mm][Rr][Oo][Oo][Tt]%)?\\",
        longest=1024,
        read=parse_pattern,
    ),
]
Size = Annotated[int, number("a whole number of bytes", 0, 2**63 - 1)]
FileCap = Annotated[int, number(f"a number from 1 to {MOST_FILES}", 1, MOST_FILES)]
ByteCap = Annotated[int, number(f"a number of bytes from 1 to {MOST_BYTES}", 1, MOST_BYTES)]
Hours = Annotated[int, number("a number of hours from 1 to 14", 1, 14)]
Flag = Annotated[bool, Shape("true or false", kind=ScalarKind.FLAG)]


class Remedy(StrEnum):
    """What may be done to a faulty file: nothing is ever deleted."""

    QUARANTINE = "quarantine"


def about(purpose: str, *, named: str | None = None) -> dict[str, str | None]:
    """What a key of the file is for, and its name there where Python's would differ."""
    return {"about": purpose, "named": named}


def _optional(purpose: str, *, named: str | None = None) -> Any:
    return field(default=None, metadata=about(purpose, named=named))


@dataclass(frozen=True)
class SizeCondition:
    """How large a file must be, in bytes."""

    exact: Size | None = _optional("This many bytes.")
    at_least: Size | None = _optional("This many bytes or more.")
    at_most: Size | None = _optional("This many bytes or fewer.")

    @property
    def largest(self) -> int | None:
        """The most bytes that such a file can have; None where there is no limit."""
        return self.exact if self.exact is not None else self.at_most

    def faults(self) -> Iterator[Fault]:
        if self.exact is None and self.at_least is None and self.at_most is None:
            yield "", "exact, at_least or at_most"
        if self.exact is not None and (self.at_least is not None or self.at_most is not None):
            yield "exact", "either exact, or at_least and at_most"
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            yield "at_least", "at_least no larger than at_most"


@dataclass(frozen=True)
class TimeCondition:
    """When a file must have been written last."""

    since: Moment | None = _optional("At this time or later.", named="from")
    before: Moment | None = _optional("Before this time.")
    whole_hours_off: Hours | None = _optional(
        "Or that span moved by up to this many whole hours either way, as by a clock in local time."
    )

    def faults(self) -> Iterator[Fault]:
        if self.since is None and self.before is None:
            yield "", "from or before"
        if self.whole_hours_off is not None and (self.since is None or self.before is None):
            yield "whole_hours_off", "both from and before beside whole_hours_off"
        if self.since is not None and self.before is not None and self.since >= self.before:
            yield "from", "from earlier than before"


@dataclass(frozen=True)
class Match:
    """What a file must be like; every condition given must hold, and none given is any file."""

    first_bytes: HexBytes | None = _optional("The file begins with these bytes.")
    size: SizeCondition | None = _optional("How large it is.")
    sha256: tuple[Digest, ...] | None = _optional("Its SHA-256 is one of these.")
    modified: TimeCondition | None = _optional("When it was written last, in UTC.")
    all_zero: Flag | None = _optional("Whether it holds zero bytes only (an empty file does not).")

    def faults(self) -> Iterator[Fault]:
        if self == Match():
            yield "", "first_bytes, size, sha256, modified or all_zero"
        largest = None if self.size is None else self.size.largest
        if self.first_bytes is not None and largest is not None and largest < len(self.first_bytes):
            yield "size", "room for the first_bytes (no file of this size begins with them)"
        if self.all_zero and any(self.first_bytes or b""):
            yield "first_bytes", "zero bytes only, beside all_zero: true"
        if self.all_zero and largest == 0:
            yield "size", "more than 0, beside all_zero: true (an empty file holds no zero bytes)"


@dataclass(frozen=True)
class Rule:
    """One rule: a file at `path` that is like `when` gets `verdict`. The first rule that fits decides."""

    path: WindowsPattern = field(metadata=about("Where the file lies: %SystemRoot%\\… or \\…, with * and ?."))
    verdict: Verdict = field(metadata=about("faulty, good, note, or person (somebody has to look)."))
    explanation: Sentence = field(
        metadata=about("Plain sentences to read aloud, said of one file or of many: 'This is …'.")
    )
    when: Match | None = _optional("What the file must be like; without it, any file at the path.")
    action: Remedy | None = _optional("What to do with a faulty file.")
    only_alone: Flag | None = _optional(
        "With the verdict person: asks only where no file at the path is surely good or faulty."
    )

    def faults(self) -> Iterator[Fault]:
        if self.only_alone is not None and self.verdict is not Verdict.PERSON:
            yield "only_alone", "no only_alone: only a rule that asks for a person has it"
        if self.verdict is not Verdict.FAULTY:
            if self.action is not None:
                yield "action", "no action: only a faulty file is moved"
            return
        if self.action is None:
            yield "verdict", "action: quarantine beside the verdict faulty"
        if self.when is None:
            yield "verdict", "conditions under when: a name alone does not make a file faulty"
        why = why_too_wide(self.path)
        if why:
            yield "path", f"a path that reaches no protected file ({why})"


@dataclass(frozen=True)
class Requirement:
    """What must be present for the playbook to apply; what is unknown counts as present."""

    services: tuple[Name, ...] | None = _optional("One of these services is in the registry.")
    products: tuple[Name, ...] | None = _optional("Windows' product name fits one of these, with * and ?.")

    def faults(self) -> Iterator[Fault]:
        if self.services is None and self.products is None:
            yield "", "services or products"


@dataclass(frozen=True)
class Dates:
    """When the incident was."""

    published: Day = field(metadata=about("The day on which this playbook's facts were published."))
    begins: Moment | None = _optional("When the fault was first sent out.", named="from")
    ends: Moment | None = _optional("When it was taken back.", named="to")

    def faults(self) -> Iterator[Fault]:
        if self.begins is not None and self.ends is not None and self.begins >= self.ends:
            yield "from", "from earlier than to"


@dataclass(frozen=True)
class Limits:
    """The most that may be moved on one installation; above that a person has to look."""

    files: FileCap = field(metadata=about("The most files."))
    bytes: ByteCap = field(metadata=about("The most bytes, all files together."))


@dataclass(frozen=True)
class Playbook:
    """One incident: how its files are recognised and what may be done about them."""

    id: Identifier = field(metadata=about("The playbook's name, as findings and scripts carry it."))
    title: Name = field(metadata=about("The incident in one line."))
    dates: Dates = field(metadata=about("When the incident was."))
    references: tuple[Address, ...] = field(metadata=about("Where the facts were published."))
    limits: Limits = field(metadata=about("The most that may be moved on one installation."))
    rules: tuple[Rule, ...] = field(
        metadata=about("The rules in order: for each file the first one that fits decides.")
    )
    requires: Requirement | None = _optional("What must be present for the playbook to apply.")
    doubt_times_before: Moment | None = _optional(
        "Earlier file times make no sense; a rule that asks for the time leaves such a file to a person."
    )

    def faults(self) -> Iterator[Fault]:
        if all(rule.verdict is Verdict.GOOD for rule in self.rules):
            yield "rules", "a rule with another verdict than good"
