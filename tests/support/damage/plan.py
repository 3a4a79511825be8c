"""What the run of one seed is: its volume, how Windows left it, what is damaged, what is asked of unbrick."""

from __future__ import annotations

import random
from dataclasses import dataclass

from support.damage.bases import SHAPES
from support.damage.kinds import KINDS
from support.damage.states import STATES

from unbrick.recovery.case import Goal

_BASES = tuple(name for name, shape in SHAPES.items() if not shape.pending)
_STATES = tuple(name for name, (weight, _) in STATES.items() for _ in range(weight))
_STARTS = (
    *("",) * 12,
    *("repaired",) * 5,
    *("cut repair", "cut repair", "cut undo", "cut undo", "cut purge"),
    *("killed repair", "killed undo", "killed purge"),
)
_FIRST = {
    "repaired": (Goal.UNDO, Goal.UNDO, Goal.UNDO, Goal.PURGE, Goal.PURGE),
    "cut undo": (Goal.UNDO, Goal.UNDO, Goal.REPAIR, Goal.PURGE),
    "cut purge": (Goal.PURGE, Goal.PURGE, Goal.UNDO, Goal.REPAIR),
}
"""What is asked first of a volume on which a run was done, or cut off; else a repair."""
_COUNTS = (1, 1, 1, 1, 1, 1, 2, 2, 2, 3)
_MOST_TRIES = 40


@dataclass(frozen=True)
class RunPlan:
    """One run. `damages` are tried in their order until `count` of them found something to hurt.

    `start` is an earlier run on the volume, if any, and `moment` a number that chooses the moment at which
    that was cut off. `first` is the verb that is then run first.
    """

    seed: int
    base: str
    state: str
    damages: tuple[str, ...]
    count: int
    reset_log: bool = False
    discard_hibernation: bool = False
    start: str = ""
    moment: int = 0
    first: Goal = Goal.REPAIR
    looking: bool = False

    def dice(self, what: object) -> random.Random:
        """A generator for one part of the run."""
        return random.Random(f"{self.seed} {what}")


def plan_run(seed: int, *, base: str | None = None, only: str = "") -> RunPlan:
    """The run of a seed; `base` and `only` (the beginning of a kind's name) narrow what it may be."""
    rng = random.Random(f"damage {seed}")
    chosen = base or rng.choice(_BASES)
    kinds = [name for name in KINDS if name.startswith(only)]
    start = rng.choice(_STARTS)
    first = rng.choice(_FIRST.get(start.replace("killed", "cut"), (Goal.REPAIR,)))
    return RunPlan(
        seed,
        chosen,
        "clean" if start or SHAPES[chosen].pending else rng.choice(_STATES),
        tuple(rng.choice(kinds) for _ in range(_MOST_TRIES)),
        rng.choice(_COUNTS),
        rng.random() < 0.25,
        rng.random() < 0.8,
        start,
        rng.randrange(1 << 30),
        first,
        rng.random() < 0.25,
    )
