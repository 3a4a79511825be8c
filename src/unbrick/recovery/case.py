"""What the story of one disk works with: the order, the kit, and a volume that was found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from unbrick.diagnosis.diagnose import Diagnosis
from unbrick.disks.bitlocker.master_key import KnownKey
from unbrick.disks.change.views import ChangeOptions, View
from unbrick.disks.discover import Opening, Purpose
from unbrick.disks.images.image import ImageFormat
from unbrick.disks.plain import PlainVolume
from unbrick.incidents.playbook import Playbook
from unbrick.keys.chain import KeyChain
from unbrick.model import DiskReport, Volume
from unbrick.processes.command import Runner
from unbrick.recovery.outcome import VolumeCase
from unbrick.report.recorder import Recorder
from unbrick.windows.installation import Installation


class Goal(StrEnum):
    """How far the story goes."""

    SCAN = "scan"
    RUNS = "runs"
    DIAGNOSE = "diagnose"
    REPAIR = "repair"
    UNDO = "undo"
    PURGE = "purge"

    @property
    def judges(self) -> bool:
        """Whether it reports what is wrong with a Windows, and does not only list."""
        return self in {Goal.DIAGNOSE, Goal.REPAIR}

    @property
    def plans(self) -> bool:
        """Whether it makes a plan; a diagnosis does, to foresee what a repair would say."""
        return self.judges or self.changes

    @property
    def changes(self) -> bool:
        """Whether it may write to a disk."""
        return self in {Goal.REPAIR, Goal.UNDO, Goal.PURGE}


@dataclass(frozen=True)
class Order:
    """What was asked for one disk. `run` names the repair to undo or to purge; None undoes the newest.

    `image_format` is for an image whose name says nothing; `ignore_raid`: the disk's RAID signatures are
    stale.
    """

    disk: Path
    goal: Goal
    dry_run: bool = False
    discard_hibernation: bool = False
    reset_log: bool = False
    run: str | None = None
    image_format: ImageFormat | None = None
    ignore_raid: bool = False

    @property
    def opening(self) -> Opening:
        purpose = Purpose.PLAN if self.goal.plans else Purpose.LOOK
        if self.goal.changes and not self.dry_run:
            purpose = Purpose.WRITE
        return Opening(purpose, self.image_format, self.ignore_raid)

    @property
    def change_options(self) -> ChangeOptions:
        return ChangeOptions(discard_hibernation=self.discard_hibernation, reset_log=self.reset_log)


Confirm = Callable[[DiskReport], bool]


@dataclass(frozen=True)
class Kit:
    """What the story works with. `confirm` is shown the plan before anything is written; None agrees.

    `medium` is the id of the boot medium we run from, if any: a repair's journal names it.
    """

    runner: Runner
    recorder: Recorder
    keys: KeyChain
    playbooks: Sequence[Playbook]
    workdir: Path
    confirm: Confirm | None = None
    medium: str | None = None


@dataclass(frozen=True)
class Found:
    """A volume with Windows on it, as it was found; `case` is what is reported of it.

    `plain` stays open at least until all volumes are planned for; `key` opens it again. `view` is mounted
    until `looking` is closed.
    """

    case: VolumeCase
    plain: PlainVolume
    key: KnownKey
    view: View
    looking: ExitStack
    windows: tuple[tuple[Installation, Diagnosis], ...]

    @property
    def folders(self) -> list[str]:
        """The folder of each Windows, from the volume's root."""
        return [installation.folder for installation, _ in self.windows]


def partition_detail(volume: Volume) -> dict[str, int]:
    """The partition as an event's detail; none on a disk without a table."""
    return {} if volume.partition is None else {"partition": volume.partition}
