"""The states in which an earlier run leaves a disk: done, cut off by the power, or killed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from support.power_cut import CutState, different, durable_states, lossy_states, states_in_order
from support.repair_worker import RepairWorker
from support.write_log import Write, logged, read_log, replay

from unbrick.recovery.case import Goal


@dataclass(frozen=True)
class Start:
    """A disk, and what was written to it since; `run` is the id of the repair that was done on it.

    `killed`: the verb that is still to be begun there, and killed.
    """

    name: str
    disk: Path
    writes: tuple[Write, ...] = ()
    run: str = ""
    killed: Goal | None = None


class Starts:
    """The starts of a base, each made when it is first asked for; none without a worker."""

    def __init__(self, worker: RepairWorker | None, image: Path, folder: Path) -> None:
        self._worker, self._image, self._folder = worker, image, folder
        self._made: dict[str, tuple[Start, ...]] = {}
        self._run = ""

    def get(self, name: str) -> tuple[Start, ...]:
        """The states of that name; none where there is none."""
        if self._worker is None or not name:
            return ()
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def _make(self, name: str) -> tuple[Start, ...]:
        how, _, verb = name.partition(" ")
        goal = Goal(verb) if verb else None
        if goal is Goal.REPAIR:
            begun = Start("", self._image)
        else:
            repaired = self._folder / "repaired.img"
            if not self._run:
                self._run, _ = self._record(Goal.REPAIR, self._image, repaired)
            begun = Start("after a repair", repaired, run=self._run)
        if goal is None:
            return (begun,)
        if how == "killed":
            return (replace(begun, name=f"{verb} cut by a kill", killed=goal),)
        run = self._run if goal is Goal.PURGE else None
        _, writes = self._record(goal, begun.disk, self._folder / f"{verb}.img", run=run)
        return _cuts(verb, begun, writes)

    def _record(
        self, goal: Goal, disk: Path, copy: Path, *, run: str | None = None
    ) -> tuple[str, tuple[Write, ...]]:
        """Run the program on a copy; the id of its run, and what it wrote there."""
        assert self._worker is not None
        log = self._folder / "log"
        replay(disk, copy, ())
        with logged(copy, log, self._folder / "export.img") as export:
            said = self._worker.work(goal, export, None, run=run)
        assert said["status"] in ("repaired", "undone", "scanned"), said
        return said["run"], read_log(log)


def _cuts(name: str, start: Start, writes: tuple[Write, ...]) -> tuple[Start, ...]:
    """Disks that a cut of the power leaves of a verb."""
    seen: set[int] = set()
    states: list[CutState] = different(durable_states(writes), 20, seen)[1:]
    states += different(states_in_order(writes), 40, seen)
    states += different(lossy_states(writes, "damage", torn=False), 20, seen)
    return tuple(replace(start, name=f"{name} cut {state.name}", writes=state.writes) for state in states)
