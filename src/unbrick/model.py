"""The words of the trade as frozen data: Machine, Volume, Installation, Finding, Action, DiskReport.

Looks at nothing and writes nothing. `DiskReport.to_document()` is the contract's `--json`, word for word.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from unbrick import __version__

SCHEMA = 1
"""The version of every `--json` document; it grows only where a field changes its meaning."""


class Status(StrEnum):
    """What became of a disk or an installation, in the contract's order: the worst first."""

    FAILED = "failed"
    NEEDS_HANDS = "needs-hands"
    NEEDS_KEY = "needs-key"
    FOUND = "found"
    REPAIRED = "repaired"
    UNDONE = "undone"
    HEALTHY = "healthy"
    SCANNED = "scanned"


_SEVERITY: dict[Status, int] = {status: rank for rank, status in enumerate(Status)}
_SEVERITY[Status.UNDONE] = _SEVERITY[Status.REPAIRED]

_EXIT_CODE = {Status.FAILED: 1, Status.NEEDS_HANDS: 5, Status.NEEDS_KEY: 4, Status.FOUND: 3}


def worst_status(statuses: Iterable[Status]) -> Status:
    """The worst of some statuses in the contract's order; `scanned` when there are none."""
    return min(statuses, key=_SEVERITY.__getitem__, default=Status.SCANNED)


def exit_code(status: Status) -> int:
    """The exit code the contract gives a status: 0 where all is well."""
    return _EXIT_CODE.get(status, 0)


class VolumeKind(StrEnum):
    """What a volume is, judged by its signatures and never by its partition type."""

    BITLOCKER = "bitlocker"
    NTFS = "ntfs"
    FAT = "fat"
    REFS = "refs"
    RAID_MEMBER = "raid-member"
    LDM = "ldm"
    STORAGE_SPACES = "storage-spaces"
    FOREIGN_ENCRYPTION = "foreign-encryption"
    UNKNOWN = "unknown"


class VolumeState(StrEnum):
    """Whether a volume's content can be reached."""

    OPEN = "open"
    LOCKED = "locked"
    UNLOCKED = "unlocked"
    CONVERTING = "converting"
    DAMAGED = "damaged"


class FilesystemState(StrEnum):
    """How Windows left an NTFS volume."""

    CLEAN = "clean"
    DIRTY = "dirty"
    UNCLEAN_LOG = "unclean-log"
    HIBERNATED = "hibernated"


class ProtectorKind(StrEnum):
    """The kinds of BitLocker key protector."""

    RECOVERY_PASSWORD = "recovery-password"  # noqa: S105 - a kind, not a password
    TPM = "tpm"
    TPM_PIN = "tpm-pin"
    STARTUP_KEY = "startup-key"
    PASSPHRASE = "passphrase"  # noqa: S105 - a kind, not a passphrase
    CLEAR_KEY = "clear-key"
    SMART_CARD = "smart-card"
    UNKNOWN = "unknown"


class ActionState(StrEnum):
    """How far an action has come."""

    PLANNED = "planned"
    DONE = "done"
    UNDONE = "undone"
    FAILED = "failed"


class RunState(StrEnum):
    """What a run has done to a volume, a line of its journal each."""

    REPAIRED = "repaired"
    UNDONE = "undone"


class Verdict(StrEnum):
    """What a playbook says of one file."""

    FAULTY = "faulty"
    GOOD = "good"
    NOTE = "note"
    PERSON = "person"


_VERDICTS_TOLD = {Verdict.FAULTY, Verdict.PERSON}


@dataclass(frozen=True)
class Machine:
    """What identifies a machine: firmware identifiers where it is the one we run on, else disk and names."""

    smbios_uuid: str | None = None
    serial: str | None = None
    disk_guid: str | None = None
    hostnames: tuple[str, ...] = ()


@dataclass(frozen=True)
class Protector:
    """A BitLocker key protector. `id` is the GUID the blue screen shows, upper case, no braces."""

    id: str
    kind: ProtectorKind


@dataclass(frozen=True)
class Volume:
    """One volume of a disk. `offset` and `length` are bytes from the start of the disk.

    `partition` is the number in the partition table, null on a disk without a table. `refusal` is a
    reason word where nothing may ever be written to this volume. `description` is BitLocker's own text
    (computer name, drive letter, date), readable while locked; `method` the cipher, e.g. `aes-xts-128`.
    `guid` is BitLocker's identifier of it. `holds_data` is True where BitLocker's metadata proves that no
    Windows starts from it, False where it has what only a Windows has.
    """

    partition: int | None
    offset: int
    length: int
    kind: VolumeKind
    state: VolumeState
    filesystem: FilesystemState | None = None
    protectors: tuple[Protector, ...] = ()
    method: str | None = None
    description: str | None = None
    refusal: str | None = None
    guid: str | None = None
    holds_data: bool | None = None

    def to_document(self) -> dict[str, Any]:
        """The contract's `volumes[]` entry."""
        return {
            "partition": self.partition,
            "kind": self.kind.value,
            "state": self.state.value,
            "filesystem": self.filesystem.value if self.filesystem else None,
            "protectors": [{"id": p.id, "kind": p.kind.value} for p in self.protectors],
        }


@dataclass(frozen=True)
class ObservedFile:
    """A file as it was read from a volume, with what a playbook may ask about it.

    `path` is a Windows path from the volume's root; `first_bytes` are up to 64; `modified` is UTC, None
    where the stored time makes no sense. An empty file is not `all_zero`.
    """

    path: str
    size: int
    first_bytes: bytes
    all_zero: bool
    sha256: str
    modified: datetime | None


@dataclass(frozen=True)
class FileFact:
    """One file that a playbook matched. `path` is a Windows path from the volume's root, with backslashes."""

    path: str
    sha256: str | None
    size: int
    modified: datetime | None

    def to_document(self) -> dict[str, Any]:
        """The contract's `files[]` entry; times are UTC, ISO 8601, ending in `Z`."""
        return {
            "path": self.path,
            "sha256": self.sha256,
            "size": self.size,
            "modified": self.modified.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if self.modified else None,
        }


@dataclass(frozen=True)
class Finding:
    """What one playbook says of one installation: its verdict, the files, and why, in sentences.

    `reason` is the fixed word where the verdict is `person`, `action` what the playbook asks for where it is
    `faulty`; `explanation` can be read aloud.
    """

    playbook: str
    verdict: Verdict
    files: tuple[FileFact, ...]
    explanation: str
    reason: str | None = None
    action: str | None = None

    def to_document(self) -> dict[str, Any]:
        """The contract's `findings[]` entry."""
        return {"playbook": self.playbook, "files": [fact.to_document() for fact in self.files]}


@dataclass(frozen=True)
class Action:
    """One step of a plan: what is done to what is at `path`. Each kind adds what it has to know besides."""

    kind: str
    path: str
    playbook: str
    state: ActionState = ActionState.PLANNED

    def to_document(self) -> dict[str, Any]:
        """The contract's `actions[]` entry."""
        return {"kind": self.kind, "path": self.path, "state": self.state.value}

    def to_facts(self) -> dict[str, Any]:
        """What an event says of it."""
        return {"path": self.path, "playbook": self.playbook, "state": self.state.value}


@dataclass(frozen=True)
class Plan:
    """What would be done to one volume, in order. Pure data: making one changes nothing."""

    run: str
    actions: tuple[Action, ...]


@dataclass(frozen=True)
class Touched:
    """What a change of a volume may touch, as Windows paths from the volume's root."""

    moved: tuple[tuple[str, str], ...] = ()  # files that only change their name: former and new path
    made: tuple[str, ...] = ()  # files and folders that may be new
    rewritten: tuple[str, ...] = ()  # files whose content changes
    deleted: tuple[str, ...] = ()  # files and folders that go
    leaves_clean: bool = False  # whether completing it may take Windows' dirty flag away

    @classmethod
    def all_of(cls, parts: Iterable[Touched]) -> Touched:
        parts = tuple(parts)
        return cls(
            moved=tuple(path for one in parts for path in one.moved),
            made=tuple(path for one in parts for path in one.made),
            rewritten=tuple(path for one in parts for path in one.rewritten),
            deleted=tuple(path for one in parts for path in one.deleted),
        )


@dataclass(frozen=True)
class Changed:
    """What was done to a copy of a volume, and what it may have touched."""

    actions: tuple[Action, ...]
    touched: Touched


@dataclass(frozen=True)
class InstallationReport:
    """One Windows on one volume, and what became of it; `auto_unlocked`: volumes whose keys it keeps."""

    partition: int | None
    hostname: str | None
    windows: str | None
    status: Status
    reason: str | None = None
    explanation: str | None = None
    findings: tuple[Finding, ...] = ()
    actions: tuple[Action, ...] = ()
    auto_unlocked: tuple[str, ...] = ()

    def to_document(self) -> dict[str, Any]:
        """The contract's `installations[]` entry; a harmless file is no finding to a script."""
        return {
            "partition": self.partition,
            "hostname": self.hostname,
            "windows": self.windows,
            "status": self.status.value,
            "reason": self.reason,
            "findings": [one.to_document() for one in self.findings if one.verdict in _VERDICTS_TOLD],
            "actions": [action.to_document() for action in self.actions],
        }


@dataclass(frozen=True)
class EarlierRun:
    """A run whose journal is on a disk.

    `when` it reached its state is a UTC time in ISO 8601 by that machine's clock; `medium` the id of the boot
    medium that did the repair, None for another way; `program` its version; `begun` tells runs of one second
    apart.
    """

    run: str
    when: str
    medium: str | None
    state: RunState
    program: str = ""
    partitions: tuple[int | None, ...] = ()
    actions: tuple[Action, ...] = ()
    begun: int = 0

    @property
    def when_in_words(self) -> str:
        return f"{self.when[:10]} {self.when[11:16]} UTC"

    def to_document(self) -> dict[str, Any]:
        """The contract's `earlier`."""
        return {"run": self.run, "when": self.when, "medium": self.medium, "state": self.state.value}

    def to_listing(self) -> dict[str, Any]:
        """An entry of the `runs[]` that `unbrick runs` prints."""
        return {
            **self.to_document(),
            "program": self.program,
            "partitions": list(self.partitions),
            "actions": [action.to_document() for action in self.actions],
        }


def error_document(message: str, *, hint: str | None, reason: str | None) -> dict[str, Any]:
    """The contract's JSON document of an error that is no disk's."""
    return {"error": message, "hint": hint, "reason": reason, "schema": SCHEMA, "program": __version__}


@dataclass(frozen=True)
class DiskReport:
    """What one run says of one disk: one line of `--json`.

    `notes` are sentences for a person and no part of the document: what was done besides the plan (a journal
    replayed, a log reset). `runs` are those on the disk, the newest first. `started` is a UTC time in ISO
    8601. `agreed` is the answer to the plan, None where no one was asked.
    """

    disk: str
    status: Status
    reason: str | None = None
    run: str | None = None
    machine: Machine = field(default_factory=Machine)
    volumes: tuple[Volume, ...] = ()
    installations: tuple[InstallationReport, ...] = ()
    error: str | None = None
    hint: str | None = None
    notes: tuple[str, ...] = ()
    runs: tuple[EarlierRun, ...] = ()
    started: str | None = None
    seconds: float | None = None
    agreed: bool | None = None

    @property
    def earlier(self) -> EarlierRun | None:
        """The newest run on the disk."""
        return next(iter(self.runs), None)

    @property
    def repaired_before(self) -> EarlierRun | None:
        """The newest earlier repair that was not taken back."""
        return next((run for run in self.runs if run.state is RunState.REPAIRED), None)

    def to_document(self) -> dict[str, Any]:
        """The contract's JSON document."""
        return {
            "disk": self.disk,
            "status": self.status.value,
            "reason": self.reason,
            "run": self.run,
            "machine": {
                "smbios_uuid": self.machine.smbios_uuid,
                "serial": self.machine.serial,
                "disk_guid": self.machine.disk_guid,
                "hostnames": list(self.machine.hostnames),
            },
            "volumes": [volume.to_document() for volume in self.volumes],
            "installations": [installation.to_document() for installation in self.installations],
            "earlier": self.earlier.to_document() if self.earlier else None,
            "error": self.error,
            "hint": self.hint,
            "schema": SCHEMA,
            "program": __version__,
            "started": self.started,
            "seconds": self.seconds,
        }
