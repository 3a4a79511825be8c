"""What an incident leaves on a disk, played from its playbook's own data.

Beside the faulty files: what must stay, namely good and older editions, and files that only look alike.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from unbrick.drill.contents.planned import PlannedFile
from unbrick.drill.contents.samples import (
    LARGEST,
    NoSampleError,
    is_named,
    judgement_of,
    make_older,
    make_sample,
)
from unbrick.drill.contents.security import (
    ADMINISTRATORS,
    FULL_CONTROL,
    PROGRAM_FILES,
    READ_AND_EXECUTE,
    SYSTEM,
    USERS,
    Grant,
    Protection,
)
from unbrick.errors import UsageError
from unbrick.incidents.pattern import fold
from unbrick.incidents.playbook import Playbook, Rule
from unbrick.model import Verdict

_MOST_BYTES = 24 * 1024 * 1024  # of all faulty files of one Windows
_LINKS = "\\ProgramData\\Package Cache"
_OWN_RIGHTS = Protection(
    SYSTEM,
    (
        Grant(USERS, FULL_CONTROL & ~READ_AND_EXECUTE, deny=True),
        Grant(SYSTEM, FULL_CONTROL),
        Grant(ADMINISTRATORS, READ_AND_EXECUTE),
    ),
    own=True,
)
_FITS_8_3 = re.compile(r"[^.]{1,8}(\.[^.]{1,3})?")


class UnplayableError(UsageError):
    """A playbook that no drill can play."""

    def __init__(self, playbook: Playbook, why: str) -> None:
        super().__init__(
            f"a drill cannot play the playbook {playbook.id}: {why}",
            hint="a drill makes its files up from a playbook's paths, first bytes, sizes and times",
        )


@dataclass(frozen=True)
class Victim:
    """A machine. `documents` is a user's folder, for look-alikes; a `spared` one has no faulty file.

    `variant` picks the shape of the fault, by fours: each faulty path once; the same in another of its
    shapes; beside good files; every shape of every path at once.
    """

    documents: str
    variant: int
    spared: bool = False


def play(playbook: Playbook, rng: random.Random, victim: Victim) -> tuple[PlannedFile, ...]:
    """The files of an incident on one Windows, each path once; raises UnplayableError."""
    shapes = _shapes(playbook, rng)
    files: dict[str, PlannedFile] = {}

    def keep(file: PlannedFile | None) -> None:
        if file is not None:
            files.setdefault(fold(file.path), file)

    if not victim.spared:
        for file in _faulty(playbook, shapes, rng, victim.variant):
            keep(file)
        if not files:
            raise UnplayableError(playbook, "its limits leave no room for what its rules ask for")
    if victim.spared or victim.variant % 4 == 2:
        good = (rule for rule in playbook.rules if rule.verdict is Verdict.GOOD)
        for file in _tried(playbook, good, rng):
            keep(file)
    samples = [sample for rules in shapes for sample in _tried(playbook, rules[:1], rng)]
    for sample in samples:
        keep(make_older(playbook, sample, rng))
    for sample in samples[:1]:
        for file in _look_alikes(playbook, sample, victim):
            keep(file)
    return tuple(files.values())


def unplayed_rules(playbook: Playbook, rng: random.Random) -> Mapping[int, str]:
    """The faulty rules (by number, from 1) that no file can be made up for, and why."""
    found = {}
    for number, rule in enumerate(playbook.rules, 1):
        if rule.verdict is Verdict.FAULTY:
            try:
                make_sample(playbook, rule, rng, _most_bytes(playbook))
            except NoSampleError as error:
                found[number] = str(error)
    return found


def _shapes(playbook: Playbook, rng: random.Random) -> list[list[Rule]]:
    """The faulty rules that can be played, grouped by path.

    What a crash leaves of a file (zero bytes) comes after the file's other shapes.
    """
    unplayed = unplayed_rules(playbook, rng)
    found: dict[str, list[Rule]] = {}
    for number, rule in enumerate(playbook.rules, 1):
        if rule.verdict is Verdict.FAULTY and number not in unplayed:
            found.setdefault(fold(rule.path.text), []).append(rule)
    if not found and not unplayed:
        raise UnplayableError(playbook, "none of its rules has the verdict faulty")
    if not found:
        number, why = next(iter(unplayed.items()))
        raise UnplayableError(playbook, f"rule {number}: {why}")
    return [
        sorted(rules, key=lambda rule: bool(rule.when and rule.when.all_zero)) for rules in found.values()
    ]


def _most_bytes(playbook: Playbook) -> int:
    return min(playbook.limits.bytes, LARGEST)


def _faulty(
    playbook: Playbook, shapes: list[list[Rule]], rng: random.Random, variant: int
) -> Iterator[PlannedFile]:
    """The faulty files, within the playbook's limits; the first has all that a move could lose."""
    if variant % 4 == 3:
        rules = [rule for same_path in shapes for rule in same_path]
    else:
        rules = [same_path[variant % 4 % 2 % len(same_path)] for same_path in shapes]
    left = min(playbook.limits.bytes, _MOST_BYTES)
    rules = rules[: playbook.limits.files]
    taken: set[str] = set()
    for number, rule in enumerate(rules):
        # A share for each that is still to come, as far as its own conditions allow.
        share = max(1, left // (len(rules) - number))
        try:
            file = _make_within(playbook, rule, rng, share, min(left, LARGEST))
        except NoSampleError:
            continue
        if fold(file.path) in taken:  # a path without wildcards has room for one shape
            continue
        yield replace(file, faulty=True) if taken else _marked(playbook, file, rng, linked=variant % 4 == 3)
        taken.add(fold(file.path))
        left -= len(file.content)


def _make_within(playbook: Playbook, rule: Rule, rng: random.Random, share: int, left: int) -> PlannedFile:
    try:
        return make_sample(playbook, rule, rng, min(share, left))
    except NoSampleError:
        return make_sample(playbook, rule, rng, left)


def _tried(playbook: Playbook, rules: Iterable[Rule], rng: random.Random) -> Iterator[PlannedFile]:
    """A file for each rule, as far as one can be made up."""
    for rule in rules:
        with suppress(NoSampleError):
            yield make_sample(playbook, rule, rng)


def _marked(playbook: Playbook, file: PlannedFile, rng: random.Random, *, linked: bool) -> PlannedFile:
    """A faulty file with all that a move could lose: streams, own rights, a short or a second name."""
    # Not both names: ntfs-3g neither reads nor sets the short name of a file with several long ones.
    link = f"{_LINKS}\\{rng.randrange(10**8):08d}.bin"
    linked = linked and not is_named(playbook, link)
    return replace(
        file,
        protection=_OWN_RIGHTS,
        short_name=None if linked else _short_name(file.path.rpartition("\\")[2]),
        streams=(("Zone.Identifier", b"[ZoneTransfer]\r\nZoneId=3\r\n"), ("origin", b"channel " * 40)),
        links=(link,) if linked else (),
        faulty=True,
    )


def _short_name(name: str) -> str | None:
    """The 8.3 name that Windows would give a file; None where its own name is one."""
    if _FITS_8_3.fullmatch(name) and name.isascii() and " " not in name:
        return None
    stem, _, ending = name.upper().rpartition(".") if "." in name else (name.upper(), "", "")
    stem, ending = (re.sub(r"[^A-Z0-9_-]", "", part) for part in (stem, ending))
    return f"{stem[:6] or 'FILE'}~1" + (f".{ending[:3]}" if ending else "")


def _look_alikes(playbook: Playbook, sample: PlannedFile, victim: Victim) -> Iterator[PlannedFile]:
    """What must stay: the faulty file's bytes and time under another name or in another place."""
    folder, _, name = sample.path.rpartition("\\")
    for path in (
        f"{victim.documents}\\{name}",
        f"\\Windows\\Temp\\{name}",
        f"{folder}\\Old\\{name}",
        f"{folder}\\{name}.bak",
        f"{folder}\\X{name}",
    ):
        file = PlannedFile(path, sample.content[:6_000], sample.times, PROGRAM_FILES)
        if judgement_of(playbook, file) is None:
            yield file
    note = PlannedFile(f"{folder}\\{name.partition('.')[0]}-note.txt", b"Seen on Friday.\r\n", sample.times)
    if judgement_of(playbook, note) is None:
        yield note
