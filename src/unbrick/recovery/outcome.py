"""A disk's status and reason, as the contract has them, concluded from those of its parts. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from unbrick.errors import NeedsHandsError, NeedsKeyError, Reason, UnbrickError
from unbrick.events.run_id import order_of
from unbrick.model import (
    Action,
    ActionState,
    DiskReport,
    EarlierRun,
    InstallationReport,
    Machine,
    ProtectorKind,
    RunState,
    Status,
    Verdict,
    Volume,
    VolumeKind,
    worst_status,
)

TRY_AGAIN = "run it again; if it fails again, the disk may be failing: copy it first"
CUT_OFF = (
    "a repair or an undo was cut off here: run unbrick repair or unbrick undo, which finishes it, "
    "before Windows is started"
)
_DESCRIBED_COMPUTER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]{0,62})\s")
_NEVER_WINDOWS = {f"{Reason.FOREIGN_ENCRYPTION}:luks", f"{Reason.FOREIGN_ENCRYPTION}:filevault"}


@dataclass
class VolumeCase:
    """One volume as the story goes on: what it is, the Windows on it, and what stood in the way."""

    volume: Volume
    installations: tuple[InstallationReport, ...] = ()
    trouble: UnbrickError | None = None
    notes: list[str] = field(default_factory=list)
    passing_notes: tuple[str, ...] = ()  # true of the volume until it is changed
    runs: tuple[EarlierRun, ...] = ()  # the newest first
    on_disk: bool = False  # the change has reached the disk: a later error takes nothing back

    def show(self, folders: Sequence[str], actions: Sequence[Action], status: Status) -> None:
        """Put actions into the reports of their installations, with a new status."""
        reports = []
        for folder, report in zip(folders, self.installations, strict=True):
            own = tuple(action for action in actions if self._belongs(action.path, folder, report, folders))
            reports.append(_with_actions(report, own, status) if own else report)
        self.installations = tuple(reports)

    def _belongs(self, path: str, folder: str, report: InstallationReport, folders: Sequence[str]) -> bool:
        """Whether a file is an installation's: in its folder, or outside them all and named in its findings.

        What no finding names (an undo has none) belongs to every installation of the volume.
        """
        if any(_is_below(path, one) for one in folders):
            return _is_below(path, folder)
        if any(_is_named(path, one) for one in self.installations):
            return _is_named(path, report)
        return True

    def forget_plan(self) -> None:
        """After a diagnosis: note what a repair would do, and drop the actions."""
        faulty = [
            fact
            for report in self.installations
            for finding in report.findings
            if finding.verdict is Verdict.FAULTY
            for fact in finding.files
        ]
        files = "the faulty file" if len(faulty) == 1 else f"the {len(faulty)} faulty files"
        if faulty and self.trouble is not None:
            self.notes.append(f"as things stand, a repair would not take {files} away")
        elif any(one.status is Status.NEEDS_HANDS and one.actions for one in self.installations):
            self.notes.append(f"a repair would take {files} away and leave the rest to a person")
        self.installations = tuple(replace(report, actions=()) for report in self.installations)

    def blame(self, error: UnbrickError) -> None:
        """Give an error of this volume to the installations that something was planned for."""
        self.trouble = error
        self.installations = tuple(
            _struck(report, error, on_disk=self.on_disk) if report.actions else report
            for report in self.installations
        )


def _is_below(path: str, folder: str) -> bool:
    return path.casefold().startswith(folder.casefold() + "\\")


def _is_named(path: str, report: InstallationReport) -> bool:
    return any(path == fact.path for finding in report.findings for fact in finding.files)


def _with_actions(
    report: InstallationReport, actions: tuple[Action, ...], status: Status
) -> InstallationReport:
    """A report with its actions; what a person has to look at besides stays in it."""
    if report.status is not Status.NEEDS_HANDS or status is Status.UNDONE:
        return replace(report, status=status, reason=None, actions=actions)
    left = " ".join(one.explanation for one in report.findings if one.verdict is Verdict.PERSON)
    sure = "What is sure was taken away" if status is Status.REPAIRED else "What is sure can be taken away"
    explanation = f"{sure}; the rest needs a person. {left}" if left else report.explanation
    return replace(report, explanation=explanation, actions=actions)


def _struck(report: InstallationReport, error: UnbrickError, *, on_disk: bool) -> InstallationReport:
    actions = tuple(
        one if on_disk or one.state is ActionState.PLANNED else replace(one, state=ActionState.FAILED)
        for one in report.actions
    )
    return replace(
        report, status=status_of_error(error), reason=error.reason, explanation=error.message, actions=actions
    )


def place_of(volume: Volume) -> str:
    return "the disk" if volume.partition is None else f"partition {volume.partition}"


_REFUSALS: dict[str, tuple[str, str | None]] = {
    Reason.CONVERTING: (
        "BitLocker has not finished encrypting or decrypting it",
        "let Windows finish (manage-bde -status), then try again",
    ),
    Reason.DAMAGED_METADATA: (
        "its BitLocker metadata is damaged, or contradicts itself",
        "copy the disk first, then try repair-bde from Windows on the copy",
    ),
    Reason.DAMAGED_VOLUME: (
        "its file system is damaged at the very beginning",
        "copy the disk first, then run chkdsk from Windows' recovery environment",
    ),
    Reason.DYNAMIC_DISK: ("it belongs to a dynamic disk (LDM)", "attach all its disks to a Windows machine"),
    Reason.FOREIGN_ENCRYPTION: ("another product has encrypted it", "use that product's own recovery"),
    Reason.RAID_MEMBER: ("it is a member of a RAID", "work on the assembled array, not on one member"),
    Reason.REFS: ("it is a ReFS volume", "use Windows' own tools for it"),
    Reason.UNSUPPORTED_BITLOCKER: (
        "it has a format of BitLocker that unbrick does not open (that of Windows Vista, or a newer one)",
        "attach the disk to a Windows, which opens it",
    ),
    Reason.STORAGE_SPACES: ("it belongs to Storage Spaces", "attach the whole pool to a Windows machine"),
    Reason.TRUNCATED: (
        "its file system is larger than the partition: the copy or the partition table was cut",
        "copy the disk again from its source, or have testdisk find the partition's true end on a copy",
    ),
    Reason.UNREADABLE_DISK: (
        "it cannot be read",
        "the disk may be failing: copy it with ddrescue before anything else, and work on the copy",
    ),
    Reason.PROGRAM_FAILED: ("a program that looks at it failed", TRY_AGAIN),
    Reason.TIMED_OUT: ("a program that looks at it gave no answer", TRY_AGAIN),
    Reason.MISSING_TOOL: (
        "a program that unbrick needs is not installed",
        "run scripts/setup again, or install it with apt",
    ),
}


def refused_volume(volume: Volume) -> NeedsHandsError:
    """The error for a volume that must never be written; its reason is the volume's `refusal`."""
    refusal = volume.refusal or ""
    word, _, detail = refusal.partition(":")
    sentence, hint = _REFUSALS.get(word, (refusal, None))
    named = f" ({detail})" if detail else ""
    said = f"{place_of(volume)} must not be written: {sentence}{named}"
    return NeedsHandsError(said, hint=hint, reason=refusal)


_WAYS_IN = {
    ProtectorKind.TPM: "in its own computer (TPM)",
    ProtectorKind.TPM_PIN: "in its own computer, with its PIN",
    ProtectorKind.STARTUP_KEY: "with the USB stick that has its startup key",
    ProtectorKind.PASSPHRASE: "with its own password",
    ProtectorKind.SMART_CARD: "with a smart card or a certificate",
}


def no_recovery_password(volume: Volume) -> NeedsKeyError:
    """The error for a locked volume without a recovery password; it names what opens it, where known."""
    ways = dict.fromkeys(_WAYS_IN[p.kind] for p in volume.protectors if p.kind in _WAYS_IN)
    opens = f"it opens only {' or '.join(ways)}" if ways else "nothing that unbrick knows opens it"
    return NeedsKeyError(
        f"{place_of(volume)} is locked, and BitLocker keeps no recovery password for it: {opens}",
        hint="unlock it in Windows and add one: manage-bde -protectors -add C: -RecoveryPassword",
        reason=Reason.KEY_MISSING,
    )


def is_excused(volume: Volume, found: Sequence[InstallationReport]) -> bool:
    """Whether a volume that could not be looked into is no trouble beside the Windows that were found.

    Only a proof that no Windows starts from it excuses it.
    """
    if not found:
        return False
    if volume.kind is VolumeKind.BITLOCKER:
        # A Windows keeps the keys of data volumes only.
        kept = any(volume.guid in one.auto_unlocked for one in found)
        return bool(volume.holds_data or (volume.holds_data is None and kept))
    if volume.kind is VolumeKind.FOREIGN_ENCRYPTION:
        return volume.refusal in _NEVER_WINDOWS
    return volume.kind is not VolumeKind.NTFS


def status_of_error(error: UnbrickError) -> Status:
    if isinstance(error, NeedsHandsError):
        return Status.NEEDS_HANDS
    if isinstance(error, NeedsKeyError):
        return Status.NEEDS_KEY
    return Status.FAILED


@dataclass(frozen=True)
class _Part:
    status: Status
    reason: str | None = None
    text: str | None = None
    hint: str | None = None


def _part_of_trouble(error: UnbrickError) -> _Part:
    return _Part(status_of_error(error), error.reason, error.message, error.hint)


def _parts(cases: Sequence[VolumeCase], *, scanning: bool) -> list[_Part]:
    found = [one for case in cases for one in case.installations]
    parts = []
    for case in cases:
        trouble = case.trouble
        for one in case.installations:
            hint = trouble.hint if trouble is not None and trouble.message == one.explanation else None
            parts.append(_Part(one.status, one.reason, one.explanation, hint))
        if trouble is None or is_excused(case.volume, found):
            continue
        if scanning and isinstance(trouble, NeedsKeyError):
            continue
        parts.append(_part_of_trouble(trouble))
    if not parts and not scanning:
        text = "no Windows was found on this disk"
        hint = "check that this is the system disk of the machine"
        parts.append(_Part(Status.NEEDS_HANDS, Reason.NO_WINDOWS, text, hint))
    return parts


def _runs_of(cases: Sequence[VolumeCase]) -> tuple[EarlierRun, ...]:
    """The runs of all volumes, the newest first; one that changed several volumes is one."""
    merged: dict[str, EarlierRun] = {}
    for run in (run for case in cases for run in case.runs):
        other = merged.get(run.run)
        merged[run.run] = run if other is None else _merged(other, run)
    return tuple(sorted(merged.values(), key=lambda one: order_of(one.run, one.begun), reverse=True))


def _merged(one: EarlierRun, other: EarlierRun) -> EarlierRun:
    # Undone only where it was undone on every volume.
    standing = [run for run in (one, other) if run.state is RunState.REPAIRED] or [one, other]
    return replace(
        max(standing, key=lambda run: run.when),
        partitions=(*one.partitions, *other.partitions),
        actions=(*one.actions, *other.actions),
    )


def _hostnames(case: VolumeCase) -> list[str]:
    """The computer names on a volume; a locked one has one in BitLocker's description."""
    names = [one.hostname for one in case.installations if one.hostname]
    described = described_computer(case.volume)
    return names or ([described] if described else [])


def described_computer(volume: Volume) -> str | None:
    """The computer that BitLocker's label of a volume names, readable while it is locked."""
    described = _DESCRIBED_COMPUTER.match(volume.description or "")
    return described[1] if described else None


@dataclass
class Draft:
    """What is known of a disk so far; an error at any point still leaves everything known before it."""

    disk: Path
    run: str | None = None
    disk_guid: str | None = None
    cases: list[VolumeCase] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    scanning: bool = False
    trouble: UnbrickError | None = None
    agreed: bool | None = None
    firmware: Machine = field(default_factory=Machine)  # of this computer, where the disk is built into it

    def machine(self) -> Machine:
        names = dict.fromkeys(name for case in self.cases for name in _hostnames(case))
        return replace(self.firmware, disk_guid=self.disk_guid, hostnames=tuple(names))

    def report(self) -> DiskReport:
        """The disk's report by what is known now."""
        if self.trouble is not None:
            parts = [_part_of_trouble(self.trouble)]
        else:
            parts = _parts(self.cases, scanning=self.scanning)
        status = worst_status(part.status for part in parts)
        worst = next((part for part in parts if part.status is status), _Part(status))
        troubled = status in {Status.FAILED, Status.NEEDS_HANDS, Status.NEEDS_KEY}
        notes = [note for case in self.cases for note in (*case.passing_notes, *case.notes)]
        return DiskReport(
            disk=str(self.disk),
            status=status,
            reason=str(worst.reason) if troubled and worst.reason else None,
            run=self.run,
            machine=self.machine(),
            volumes=tuple(case.volume for case in self.cases),
            installations=tuple(i for case in self.cases for i in case.installations),
            error=worst.text if troubled else None,
            hint=worst.hint if troubled else None,
            notes=tuple(dict.fromkeys([*self.notes, *notes])),
            runs=_runs_of(self.cases),
            agreed=self.agreed,
        )
