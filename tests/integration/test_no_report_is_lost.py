"""A station, its sticks and the tally, hurt at every turn: no report is lost, and each is counted once.

Walks of steps taken at random, the same ones each time, and printed. A part may be killed, or find its stick
pulled, full or read-only, or memory full, at any file operation; the tally may fall silent.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random

import pytest
from support.hurt_process import Fate, Harm
from support.rounds import MOODS, STICKS, Rounds

from unbrick.station.stick import keeper
from unbrick.station.stick.partition import Stick

_STEPS = 40


@pytest.fixture
def memory() -> Iterator[Path]:
    """As at a real station, so that nothing waits for a disk."""
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder)


@contextmanager
def _mounted(_: Stick, __: Path) -> Iterator[bool]:
    yield True


def _step(rounds: Rounds, chance: Random) -> Callable[[], None]:
    on_stick = Fate(chance.choice([Harm.NONE, *Harm]), chance.randrange(40))
    at_start = Fate(chance.choice([one for one in Harm if one is not Harm.KILLED]), chance.randrange(40))
    in_memory = Fate(chance.choice([Harm.NONE, Harm.NONE, Harm.KILLED, Harm.FULL]), chance.randrange(20))
    mood, name, perhaps = chance.choice(["takes", *MOODS]), chance.choice(STICKS), chance.random() < 0.5
    happens = partial(rounds.something_happens, chance.randrange(1, 5))
    steps: list[Callable[[], None]] = [
        happens,
        happens,
        partial(rounds.power_goes_and_the_next_machine_starts, at_start, known=perhaps),
        partial(rounds.it_is_signed, in_memory),
        partial(rounds.it_is_signed, Fate()),
        partial(rounds.the_keeper_looks, on_stick),
        partial(rounds.the_keeper_looks, Fate()),
        partial(rounds.a_stick_comes_or_all_are_pulled, name),
        partial(rounds.a_stick_comes_or_all_are_pulled, None if perhaps else name),
        partial(rounds.the_station_sends, mood, in_memory),
        partial(rounds.a_stick_is_sent_from_elsewhere, name, mood, on_stick),
        partial(rounds.a_stick_is_carried_to_the_tally, name, exported=perhaps),
        partial(rounds.another_visit_leaves_a_report, name, known=perhaps),
    ]
    return chance.choice(steps)


@pytest.mark.parametrize("seed", range(24))
def test_no_report_is_lost(seed: int, memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "mounted", _mounted)
    chance, rounds = Random(seed), Rounds(memory)
    for _ in range(_STEPS):
        step = _step(rounds, chance)
        print(step)
        step()
        rounds.check()
    rounds.end_well()
