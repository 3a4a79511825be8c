"""The security product of every simulated machine: a fault lies among the neighbours that it had in 2024."""

from __future__ import annotations

import random
from collections.abc import Iterator

from unbrick.drill.contents.planned import PlannedFile, moment, ordinary_times, written_once
from unbrick.drill.contents.programs import stand_in_program
from unbrick.drill.contents.security import ONLY_SYSTEM

FOLDER = "\\Windows\\System32\\drivers\\CrowdStrike"
_CHANNELS = (0, 7, 285, 290, 292, 293, 297)
_THAT_HOUR = moment("2024-07-19 04:09:00"), moment("2024-07-19 05:27:00")


def driver(rng: random.Random) -> PlannedFile:
    """What Windows loads of it at each start."""
    return PlannedFile(
        f"{FOLDER}\\csagent.sys", stand_in_program(rng, 200_000), ordinary_times(rng), ONLY_SYSTEM
    )


def channel_files(rng: random.Random) -> Iterator[PlannedFile]:
    """What the driver reads, of every number but the one that went wrong."""
    for channel in _CHANNELS:
        content = b"\xaa\xaa\xaa\xaa\x01\x00" + channel.to_bytes(2, "little") + rng.randbytes(6_000)
        # Some of the others were written in the very same hour: the number decides, not the time.
        times = written_once(rng, *_THAT_HOUR) if channel > 289 else ordinary_times(rng)
        name = f"C-{channel:08d}-00000000-{rng.randrange(1, 99):08d}.sys"
        yield PlannedFile(f"{FOLDER}\\{name}", content, times, ONLY_SYSTEM)
