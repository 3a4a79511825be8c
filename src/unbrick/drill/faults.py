"""What an incident leaves on a disk: one maker of files for each playbook that a drill can play.

A maker gives the files of the product as well, because a fault lies among its neighbours. Without a fault
the same machine gets the good files only.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from unbrick.drill.planned import PlannedFile, Times, moment, ordinary_times, written_once
from unbrick.drill.programs import stand_in_program
from unbrick.drill.security import (
    ADMINISTRATORS,
    FULL_CONTROL,
    ONLY_SYSTEM,
    READ_AND_EXECUTE,
    SYSTEM,
    USERS,
    Grant,
    Protection,
)
from unbrick.errors import UsageError

CROWDSTRIKE = "\\Windows\\System32\\drivers\\CrowdStrike"
_CHANNEL_FILE_BYTES = 40_960
# The vendor's own tool checks a channel file 291 for this beginning (0x0123 = 291).
_HEADER_291 = bytes.fromhex("AAAAAAAA01002301")
_FAULTY_FROM, _FAULTY_BEFORE = moment("2024-07-19 04:09:00"), moment("2024-07-19 05:27:00")
_GOOD_FROM, _GOOD_BEFORE = moment("2024-07-19 05:27:00"), moment("2024-07-19 23:00:00")
_OLD_FROM, _OLD_BEFORE = moment("2024-02-28 09:00:00"), moment("2024-07-16 12:00:00")
_OWN_RIGHTS = Protection(
    SYSTEM,
    (
        Grant(USERS, FULL_CONTROL & ~READ_AND_EXECUTE, deny=True),
        Grant(SYSTEM, FULL_CONTROL),
        Grant(ADMINISTRATORS, READ_AND_EXECUTE),
    ),
    own=True,
)


@dataclass(frozen=True)
class Victim:
    """What a maker needs to know of a machine. `documents` is a user's folder, for look-alikes."""

    documents: str
    variant: int


FaultMaker = Callable[[random.Random, Victim], Iterator[PlannedFile]]


def _channel_291(rng: random.Random, suffix: str, times: Times, *, zero: bool = False) -> PlannedFile:
    content = _HEADER_291 + rng.randbytes(_CHANNEL_FILE_BYTES - len(_HEADER_291))
    return PlannedFile(
        f"{CROWDSTRIKE}\\C-00000291-00000000-{suffix}.sys",
        bytes(len(content)) if zero else content,
        times,
        ONLY_SYSTEM,
    )


def _marked(file: PlannedFile, variant: int) -> PlannedFile:
    """A faulty file with everything that a move could lose: streams, own rights, a short or a second name.

    Not both names at once: ntfs-3g neither reads nor sets the short name of a file with several long ones.
    """
    linked = variant % 4 == 3
    return PlannedFile(
        file.path,
        file.content,
        file.times,
        _OWN_RIGHTS,
        short_name=None if linked else "C-0000~1.SYS",
        streams=(("Zone.Identifier", b"[ZoneTransfer]\r\nZoneId=3\r\n"), ("origin", b"channel " * 40)),
        links=("\\ProgramData\\CrowdStrike\\channel-291.bin",) if linked else (),
        faulty=True,
    )


def _plain_faulty(file: PlannedFile) -> PlannedFile:
    return PlannedFile(file.path, file.content, file.times, file.protection, faulty=True)


def _faulty_291(rng: random.Random, variant: int) -> Iterator[PlannedFile]:
    """The four shapes: one with its header; one of zeros; one beside a good one; two, of both kinds."""
    when = written_once(rng, _FAULTY_FROM, _FAULTY_BEFORE)
    zero = variant % 4 == 1
    yield _marked(_channel_291(rng, "00000032", when, zero=zero), variant)
    if variant % 4 == 2:
        yield _good_291(rng, "00000044")
    if variant % 4 == 3:
        later = written_once(rng, _FAULTY_FROM, _FAULTY_BEFORE)
        yield _plain_faulty(_channel_291(rng, "00000039", later, zero=True))


def _good_291(rng: random.Random, suffix: str) -> PlannedFile:
    return _channel_291(rng, suffix, written_once(rng, _GOOD_FROM, _GOOD_BEFORE))


def _neighbours(rng: random.Random) -> Iterator[PlannedFile]:
    """The rest of the product: its driver, older 291 files, channel files of other numbers."""
    agent = stand_in_program(rng, 200_000)
    yield PlannedFile(f"{CROWDSTRIKE}\\csagent.sys", agent, ordinary_times(rng), ONLY_SYSTEM)
    yield _channel_291(rng, "00000029", written_once(rng, _OLD_FROM, _OLD_BEFORE))
    for channel in (0, 7, 285, 290, 292, 293, 297):
        content = b"\xaa\xaa\xaa\xaa\x01\x00" + channel.to_bytes(2, "little") + rng.randbytes(6_000)
        # Some of the others were written in the very same hour: the number decides, not the time.
        times = written_once(rng, _FAULTY_FROM, _FAULTY_BEFORE) if channel > 289 else ordinary_times(rng)
        name = f"C-{channel:08d}-00000000-{rng.randrange(1, 99):08d}.sys"
        yield PlannedFile(f"{CROWDSTRIKE}\\{name}", content, times, ONLY_SYSTEM)


def _look_alikes(rng: random.Random, victim: Victim) -> Iterator[PlannedFile]:
    """Everything that reads like the faulty file and must stay: right bytes and time, wrong place or name."""
    name = "C-00000291-00000000-00000032.sys"
    for path in (
        f"{victim.documents}\\{name}",
        f"\\Windows\\Temp\\{name}",
        f"{CROWDSTRIKE}\\Old\\{name}",
        f"{CROWDSTRIKE}\\{name}.bak",
        f"{CROWDSTRIKE}\\X{name}",
    ):
        content = _HEADER_291 + rng.randbytes(5_000)
        yield PlannedFile(path, content, written_once(rng, _FAULTY_FROM, _FAULTY_BEFORE))
    note = b"Channel file 291 was seen here on Friday morning.\r\n"
    yield PlannedFile(
        f"{CROWDSTRIKE}\\C-00000291-note.txt", note, written_once(rng, _FAULTY_FROM, _FAULTY_BEFORE)
    )


def crowdstrike(rng: random.Random, victim: Victim) -> Iterator[PlannedFile]:
    """A machine that got the faulty channel file 291 of 19 July 2024."""
    yield from _faulty_291(rng, victim.variant)
    yield from _neighbours(rng)
    yield from _look_alikes(rng, victim)


def no_fault(rng: random.Random, victim: Victim) -> Iterator[PlannedFile]:
    """The same product on a machine that was switched off in that hour and has the good file only."""
    yield _good_291(rng, "00000032")
    yield from _neighbours(rng)
    yield from _look_alikes(rng, victim)


FAULTS: Mapping[str, FaultMaker] = {"crowdstrike-cf291": crowdstrike}


def fault_maker(playbook: str | None) -> FaultMaker:
    """The maker for a playbook's id; raises UsageError where a drill cannot play that one."""
    if playbook is None:
        return no_fault
    try:
        return FAULTS[playbook]
    except KeyError as error:
        raise UsageError(
            f"a drill cannot play the playbook {playbook}", hint=f"it can play: {', '.join(sorted(FAULTS))}"
        ) from error
