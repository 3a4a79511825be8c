"""One run of the campaign: a volume is made, damaged, looked at, repaired and undone, and judged."""

from __future__ import annotations

import mmap
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.damage.bases import Base, Bases, unlocked
from support.damage.claims import Claims, read_claims
from support.damage.judge import Done, changed_sectors, is_changed, judge
from support.damage.kinds import KINDS
from support.damage.ntfs_bytes import DATA, LOG, VOLUME, NotHereError, NtfsBytes
from support.damage.paths import FAULTY
from support.damage.plan import RunPlan
from support.damage.reader import ReadVolume, read_volume
from support.damage.starts import Start
from support.damage.states import STATES
from support.repair_worker import RepairWorker
from support.write_log import replay

from unbrick.recovery.case import Goal

_MOST_WRITES = 24
_UNDONE_BY_NOBODY = ("needs-hands", "failed", "needs-key", "found", "healthy", "scanned")


@dataclass
class Outcome:
    """What became of a run: what was damaged, what each command said, and what is wrong with that."""

    plan: RunPlan
    begun: str = ""
    damages: list[str] = field(default_factory=list)
    used: list[str] = field(default_factory=list)
    said: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def kind(self) -> str:
        """In a word, for the count."""
        if not self.wrong:
            verb = self.plan.first.value
            return f"{verb}: {self.said.get(verb, 'nothing was damaged')}"
        return max((one.split(":")[0] for one in self.wrong), key=_RANK.index)


_RANK = [
    *("stuck", "contradicts itself", "unfinished", "contradicts", "looking writes"),
    *("unproved", "touched", "broken", "destroyed"),
]


class Campaign:
    """Runs one seed after another, on bases that are made once, in a folder of its own."""

    def __init__(self, folder: Path, worker: RepairWorker) -> None:
        self._folder, self._worker = folder, worker
        self._bases = Bases(folder / "bases", worker)
        self._truths: dict[str, tuple[Claims, ReadVolume]] = {}

    def run(self, plan: RunPlan) -> Outcome:
        """All of one run."""
        started = time.monotonic()
        base = self._bases.get(plan.base)
        folder = self._folder / "run"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        outcome = Outcome(plan)
        disk = self._damaged(plan, base, folder, outcome)
        if outcome.damages or not plan.count:
            truth, sound = self._truth(plan.base, base)
            start = _start(plan, base)
            _Run(plan, base, truth, sound, start.run, disk, folder, self._worker, outcome).go()
        outcome.seconds = time.monotonic() - started
        return outcome

    def base(self, name: str) -> Base:
        """A base as it was made."""
        return self._bases.get(name)

    def _truth(self, name: str, base: Base) -> tuple[Claims, ReadVolume]:
        if name not in self._truths:
            with base.plain.open("rb") as stream:
                data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            sound = read_volume(base.plain)
            assert sound is not None
            self._truths[name] = read_claims(data, NtfsBytes(data)), sound
        return self._truths[name]

    def _damaged(self, plan: RunPlan, base: Base, folder: Path, outcome: Outcome) -> Path:
        """The disk, hurt; where it is locked, what BitLocker shows was hurt, through dislocker."""
        disk = folder / "disk.img"
        start = _start(plan, base)
        replay(start.disk, disk, start.writes)
        outcome.begun = start.name
        if start.killed is not None:
            moment = 1 + plan.moment % _MOST_WRITES
            run = start.run if start.killed is Goal.PURGE else None
            said = self._worker.work(start.killed, disk, None, run=run, dies_at=moment)
            outcome.begun = f"{start.name} in write {moment}: {said['status']}"
        with _plain_of(disk, base, folder, read_only=False) as plain, plain.open("r+b") as stream:
            shape = self._truth(plan.base, base)[0].volume
            if base.locked is None:
                with mmap.mmap(stream.fileno(), 0) as data:
                    _hurt(NtfsBytes.like(shape, data), plan, outcome)
            else:
                shown = bytearray(stream.read())
                former = bytes(shown)
                _hurt(NtfsBytes.like(shape, shown), plan, outcome)
                for at in range(0, len(shown), 4096):
                    if shown[at : at + 4096] != former[at : at + 4096]:
                        with suppress(OSError):  # BitLocker's own bytes
                            os.pwrite(stream.fileno(), shown[at : at + 4096], at)
        return disk


def _start(plan: RunPlan, base: Base) -> Start:
    starts = base.starts.get(plan.start)
    return starts[plan.moment % len(starts)] if starts else Start("", base.locked or base.plain)


def _hurt(volume: NtfsBytes, plan: RunPlan, outcome: Outcome) -> None:
    STATES[plan.state][1](volume, plan.dice("state"))
    for name in plan.damages:
        if len(outcome.damages) == plan.count:
            break
        try:
            said = KINDS[name](volume, plan.dice(f"{name} {len(outcome.damages)}"))
        except NotHereError:
            continue
        outcome.used.append(name)
        outcome.damages.append(f"{name}: {said}")


@contextmanager
def _plain_of(disk: Path, base: Base, folder: Path, *, read_only: bool = True) -> Iterator[Path]:
    if base.key is None:
        yield disk
        return
    with unlocked(disk, base.key, folder / "dislocker", read_only=read_only) as shown:
        yield shown


@dataclass
class _Run:
    plan: RunPlan
    base: Base
    truth: Claims
    sound: ReadVolume
    run: str
    disk: Path
    folder: Path
    worker: RepairWorker
    outcome: Outcome

    def go(self) -> None:
        """Look, foresee, repair, and undo what was repaired."""
        before = self._kept("before")
        if self.plan.looking:
            for goal in (Goal.SCAN, Goal.DIAGNOSE):
                self._look(goal, before)
        first = self.plan.first
        if first is not Goal.REPAIR and self.outcome.begun:
            self._change(first, self._look(first, before, dry_run=True), before)
            return
        repaired = self._change(Goal.REPAIR, self._look(Goal.REPAIR, before, dry_run=True), before)
        if repaired["status"] != "repaired":
            return
        before = self._kept("repaired")
        undone = self._change(Goal.UNDO, self._look(Goal.UNDO, before, dry_run=True), before)
        if undone["status"] not in ("undone", "needs-hands"):
            self.outcome.wrong.append(f"stuck: a repair that cannot be undone: {undone['error']}")

    def _look(self, goal: Goal, before: Path, **options: bool) -> dict[str, Any]:
        name = f"{goal.value}{' --dry-run' if options else ''}"
        said = self._ask(name, goal, **options)
        if is_changed(before, self.disk):
            self.outcome.wrong.append(f"looking writes: {name} has changed the disk")
            replay(before, self.disk, ())
        return said

    def _change(self, goal: Goal, foreseen: dict[str, Any], before: Path) -> dict[str, Any]:
        said = self._ask(goal.value, goal)
        moved = [action for one in said["installations"] for action in one["actions"]]
        written = any(action["state"] in ("done", "undone") for action in moved)
        changed = is_changed(before, self.disk)
        if (
            said["status"] in _UNDONE_BY_NOBODY
            and not written
            and changed
            and not self._finished(said, before)
        ):
            self.outcome.wrong.append(
                f"touched: {said['status']} ({said['reason']}), and the disk is another"
            )
        if changed:
            # Of what was cut off and is completed, not all is told of.
            known = [FAULTY] if self.outcome.begun else []
            done = Done(
                (*known, *(action["path"] for action in moved)),
                self.base.shape.hibernated and self.plan.discard_hibernation,
                self.base.shape.pending,
                bool(self.outcome.begun),
                goal is Goal.PURGE or "purge" in self.outcome.begun,
            )
            with self._plain("before", before) as old, self._plain("after", self.disk) as new:
                self.outcome.wrong += judge(old, new, self.truth, done, self.sound)
            self.outcome.wrong += self._judge_areas(before)
        self._compare(goal, foreseen, said, moved)
        return said

    def _judge_areas(self, before: Path) -> Iterator[str]:
        """Of what BitLocker keeps for itself; in the last area lies the boot sector of the NTFS."""
        with before.open("rb") as old, self.disk.open("rb") as new:
            for start, end in self.base.areas[:-1]:
                if os.pread(old.fileno(), end - start, start) != os.pread(new.fileno(), end - start, start):
                    yield f"destroyed: BitLocker's own bytes at {start:#x} were written"

    def _finished(self, said: dict[str, Any], before: Path) -> bool:
        """A cut-off run that was completed is a change, though nothing was left to do."""
        told = any("was finished" in note for note in said["notes"]) or self._only_closes(before)
        return "cut" in self.outcome.begun and (told or said["status"] in ("healthy", "scanned"))

    def _only_closes(self, before: Path) -> bool:
        """Whether all that was written is in the journal, where a record was, or the dirty flag."""
        shape = self.truth.volume
        flag = VOLUME * shape.record
        places = [
            (shape.place(VOLUME), shape.record),
            (shape.mirror_cluster * shape.cluster + flag, shape.record),
            *(
                (start * shape.cluster, count * shape.cluster)
                for start, count in shape.runs(LOG, DATA)
                if start
            ),
        ]
        with self._plain("before", before) as old, self._plain("after", self.disk) as new:
            return all(
                any(start <= at < start + length for start, length in places)
                for at in changed_sectors(old, new)
            )

    def _compare(self, goal: Goal, foreseen: dict[str, Any], said: dict[str, Any], moved: list[Any]) -> None:
        wanted = {"found": ("repaired", "undone", "scanned")}.get(foreseen["status"], (foreseen["status"],))
        sure = said["status"] == "needs-hands" and any(action["state"] == "done" for action in moved)
        if said["status"] not in wanted and not sure:
            self.outcome.wrong.append(
                f"contradicts: {goal.value} --dry-run says {foreseen['status']} ({foreseen['reason']}), "
                f"then {said['status']} ({said['reason']}): {said['error']}"
            )

    def _ask(self, name: str, goal: Goal, **options: bool) -> dict[str, Any]:
        if goal in (Goal.REPAIR, Goal.UNDO):
            options["reset_log"] = self.plan.reset_log
            options["discard_hibernation"] = self.plan.discard_hibernation
        run = self.run if goal is Goal.PURGE else None
        said = self.worker.work(goal, self.disk, None, run=run, **options)
        reason = f" ({said['reason']})" if said["reason"] else ""
        self.outcome.said[name] = f"{said['status']}{reason}"
        self.outcome.errors[name] = said["error"] or ""
        if said["status"] == "failed" and (not said["reason"] or "internal error" in said["error"]):
            self.outcome.wrong.append(f"broken: {name} fails without a reason: {said['error']}")
        return said

    def _kept(self, name: str) -> Path:
        copy = self.folder / f"{name}.img"
        subprocess.run(["cp", "--sparse=always", self.disk, copy], check=True)
        return copy

    @contextmanager
    def _plain(self, name: str, disk: Path) -> Iterator[Path]:
        """A plain copy of a locked disk; any other disk itself."""
        if self.base.key is None:
            yield disk
            return
        copy = self.folder / f"plain-{name}.img"
        with _plain_of(disk, self.base, self.folder) as shown:
            shutil.copyfile(shown, copy)
        yield copy
