"""The states that a cut of the power can leave a disk in, made from the log of what was written to it.

All that came before a flush is on the disk. Of each sector written since, the disk holds any one of its
versions: a drive writes what it likes first, and tears a write at a sector's border. So a state is a subset
of the writes, some of them in part; their order adds nothing, for where two overlap and the earlier comes
last, it is as if the later had been lost.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from support.write_log import Write

_SECTOR = 512


@dataclass(frozen=True)
class CutState:
    """What is on the disk when the power is gone: these writes, done in their order."""

    name: str
    writes: tuple[Write, ...]

    def changed(self) -> dict[int, bytes]:
        """Each sector that is not as it was before the first write, by its place."""
        sectors: dict[int, bytes] = {}
        for write in self.writes:
            for at in range(0, len(write.data), _SECTOR):
                sectors[write.offset + at] = write.data[at : at + _SECTOR]
        return sectors


def durable_states(writes: Sequence[Write]) -> Iterator[CutState]:
    """The disk as it was, and as it is at each flush; nothing can be lost there."""
    yield CutState("before the first write", ())
    for index, write in enumerate(writes):
        if write.flush:
            yield CutState(f"at the flush {index}", tuple(writes[:index]))


def states_in_order(writes: Sequence[Write]) -> Iterator[CutState]:
    """After each write, for a disk that writes in the order it is told."""
    for index, write in enumerate(writes):
        if not write.flush:
            yield CutState(f"after the write {index}", tuple(writes[: index + 1]))


def lossy_states(writes: Sequence[Write], seed: str, *, torn: bool) -> Iterator[CutState]:
    """Without end: some of the writes since a flush; with `torn`, one of them only in part.

    A disk tears a write only where its own sectors are smaller than the file system's blocks.
    """
    chance = random.Random(f"{seed} {torn}")
    flushes = [0] + [index for index, write in enumerate(writes) if write.flush]
    for number in range(1_000_000_000):
        count = chance.randrange(1, len(writes) + 1)
        durable = max(flush for flush in flushes if flush < count)
        share = chance.choice((0.2, 0.5, 0.8))
        kept = [write for write in writes[durable:count] if write.data and chance.random() < share]
        large = [place for place, write in enumerate(kept) if len(write.data) > _SECTOR]
        if torn and not large:
            continue
        if torn:
            place = chance.choice(large)
            kept[place : place + 1] = _torn(kept[place], chance)
        kind = "torn" if torn else "lost"
        yield CutState(f"{kind}, seed {seed}, {number}: {durable} to {count}", (*writes[:durable], *kept))


def _torn(write: Write, chance: random.Random) -> list[Write]:
    """The sectors of a write that made it: its beginning, or any of them."""
    sectors = range(0, len(write.data), _SECTOR)
    if chance.random() < 0.5:
        done = list(sectors[: chance.randrange(1, len(sectors))])
    else:
        done = [at for at in sectors if chance.random() < 0.5]
    return [Write(write.offset + at, write.data[at : at + _SECTOR], False) for at in done]


def different(states: Iterator[CutState], most: int, seen: set[int]) -> list[CutState]:
    """The next `most` that are not the same disk as one in `seen`, to which they are added."""
    chosen: list[CutState] = []
    for tried, state in enumerate(states):
        if len(chosen) == most or tried > 50 * most:
            break
        disk = hash(frozenset(state.changed().items()))
        if disk not in seen:
            seen.add(disk)
            chosen.append(state)
    return chosen
