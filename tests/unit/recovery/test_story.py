"""The order of the story: planned in the step called plan, and written when a person has agreed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from support.recorded_runner import RecordedRunner

from unbrick.disks.bitlocker.master_key import KnownKey
from unbrick.disks.change.views import CutOff, View
from unbrick.disks.disk import Disk
from unbrick.disks.plain import PlainVolume
from unbrick.errors import NeedsHandsError, Reason
from unbrick.events.event import Event
from unbrick.keys.chain import KeyChain
from unbrick.model import (
    DiskReport,
    EarlierRun,
    FilesystemState,
    RunState,
    Status,
    Volume,
    VolumeKind,
    VolumeState,
)
from unbrick.recovery import story
from unbrick.recovery.case import Found, Goal, Kit, Order
from unbrick.recovery.change import Change, CutRun, Ready
from unbrick.recovery.outcome import VolumeCase
from unbrick.report.recorder import Recorder

RUN = "20261124T081500Z-0a1b2c"
PATH = Path("disk.img")
VOLUME = Volume(3, 0, 1, VolumeKind.NTFS, VolumeState.OPEN)


class Telling:
    """A story whose parts only say that they were told, and what was open then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, agrees: bool = True) -> None:
        self.told: list[str] = []
        self.agrees = agrees
        for name in ("plan_change", "rehearse_change", "carry_out", "verify"):
            monkeypatch.setattr(story, name, getattr(self, name))
        monkeypatch.setattr(story, "open_disk", self.open_disk)
        monkeypatch.setattr(story, "look_into", self.look_into)

    def of(self, goal: Goal, *, dry_run: bool = False) -> list[str]:
        kit = Kit(RecordedRunner(), Recorder(RUN, [self.hear]), KeyChain(()), (), PATH, self.confirm)
        story.recover_disk(Order(PATH, goal, dry_run=dry_run), kit)
        return self.told

    def hear(self, event: Event) -> None:
        if event.step is not None:
            self.told.append(f"{event.step} {event.kind.removeprefix('step-')}")

    @contextmanager
    def open_disk(self, *_: object) -> Iterator[Disk]:
        yield Disk(PATH, PATH, 1, 512, None, (VOLUME,))

    def look_into(self, case: VolumeCase, *rest: object) -> Found:
        self.told.append("look")
        held = rest[-1]
        assert isinstance(held, ExitStack)
        looking = held.enter_context(ExitStack())
        looking.callback(self.told.append, "unmounted")
        view = View(PATH, FilesystemState.CLEAN)
        return Found(case, PlainVolume(PATH, 1, lambda: None), KnownKey(), view, looking, ())

    def plan_change(self, found: Found, *_: object) -> Change:
        self.told.append("plan")
        return Change(found, CutRun(), Status.REPAIRED, lambda _: None, RUN, ())

    def rehearse_change(self, change: Change, *_: object) -> Ready:
        self.told.append("rehearse")
        return Ready(change, None, (), ())  # type: ignore[arg-type]

    def confirm(self, report: DiskReport) -> bool:
        self.told.append("agree" if self.agrees else "decline")
        return self.agrees

    def carry_out(self, *_: object) -> None:
        self.told.append("carry out")

    def verify(self, *_: object) -> None:
        self.told.append("verify")


DISCOVERED = ["discover started", "discover ended", "look"]
PLANNED = ["plan started", "plan", "unmounted", "rehearse", "plan ended"]


@pytest.mark.parametrize("goal", [Goal.REPAIR, Goal.UNDO, Goal.PURGE])
def test_every_change_is_told_alike(monkeypatch: pytest.MonkeyPatch, goal: Goal) -> None:
    told = Telling(monkeypatch).of(goal)
    assert told == [*DISCOVERED, *PLANNED, "agree", "carry out", "verify"]


@pytest.mark.parametrize("goal", [Goal.REPAIR, Goal.UNDO, Goal.PURGE])
def test_nothing_follows_a_no_or_a_dry_run(monkeypatch: pytest.MonkeyPatch, goal: Goal) -> None:
    assert Telling(monkeypatch, agrees=False).of(goal) == [*DISCOVERED, *PLANNED, "decline"]
    assert Telling(monkeypatch).of(goal, dry_run=True) == [*DISCOVERED, *PLANNED]


def test_what_only_looks_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Telling(monkeypatch).of(Goal.DIAGNOSE) == [*DISCOVERED, *PLANNED]
    for goal in (Goal.SCAN, Goal.RUNS):
        assert Telling(monkeypatch).of(goal) == [*DISCOVERED, "unmounted"]


NEWER = "20261125T081500Z-0a1b2c"


@pytest.mark.parametrize("cut", [False, True], ids=["recorded", "cut off"])
@pytest.mark.parametrize("named", [None, RUN])
def test_no_older_run_is_taken_back_where_the_newest_cannot_be(
    monkeypatch: pytest.MonkeyPatch, cut: bool, named: str | None
) -> None:
    telling = Telling(monkeypatch)

    @contextmanager
    def open_disk(*_: object) -> Iterator[Disk]:
        yield Disk(PATH, PATH, 1, 512, None, (VOLUME, replace(VOLUME, partition=4)))

    def look_into(case: VolumeCase, *rest: object) -> Found:
        found = telling.look_into(case, *rest)
        if case.volume.partition == 4:
            return found
        state = RunState.UNDONE if cut else RunState.REPAIRED
        case.runs = (EarlierRun(NEWER, "2026-11-25T08:15:00Z", None, state),)
        cut_off = CutOff(NEWER, False, lambda: nullcontext(PATH)) if cut else None
        return replace(found, view=replace(found.view, cut_off=cut_off))

    def plan_change(found: Found, *_: object) -> Change:
        if found.case.volume.partition == 3:
            raise NeedsHandsError("something is in the way", reason=Reason.SOMETHING_IN_THE_WAY)
        return telling.plan_change(found)

    for name, part in (("open_disk", open_disk), ("look_into", look_into), ("plan_change", plan_change)):
        monkeypatch.setattr(story, name, part)
    kit = Kit(RecordedRunner(), Recorder(RUN, [telling.hear]), KeyChain(()), (), PATH)
    report = story.recover_disk(Order(PATH, Goal.UNDO, run=named), kit)
    assert ("carry out" in telling.told) == (named is not None)
    assert report.error is not None
    assert "something is in the way" in report.error
