"""Whether the machine's clock can be believed, and what is put in its place.

A machine with an empty battery says 2009, one with a broken clock 2038. The clock is believed between the
medium's build and its expiry; else the system runs from the build time on, until the tally gives the time.
The hardware clock is left alone: only Windows sets it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from unbrick.station.machine.medium_facts import MediumFacts


def set_system_clock(moment: datetime) -> None:
    """Set the system's clock, not the hardware's; raises OSError."""
    time.clock_settime(time.CLOCK_REALTIME, moment.timestamp())


def correct_clock(
    medium: MediumFacts,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    set_clock: Callable[[datetime], None] = set_system_clock,
) -> str | None:
    """Start from the build time where the clock cannot be right, and say so in a sentence; raises OSError."""
    now = clock()
    if medium.built <= now <= medium.expires:
        return None
    set_clock(medium.built)
    if now > medium.expires:
        return (
            f"the clock of this machine says {now:%Y-%m-%d}, and is not relied on, as this medium expired on "
            f"{medium.expires:%Y-%m-%d}; where the clock is right, make a new medium"
        )
    return f"the clock of this machine says {now:%Y-%m-%d}, which cannot be; it is not relied on"


def take_tally_time(
    moment: datetime | None,
    medium: MediumFacts,
    *,
    was_wrong: bool,
    set_clock: Callable[[datetime], None] = set_system_clock,
) -> bool:
    """Take over the tally's time where the machine's own was not believed; whether that was done."""
    # Before the medium was built it is no better than ours. After its expiry it is: the medium is old then.
    if not was_wrong or moment is None or moment < medium.built:
        return False
    set_clock(moment)
    return True
