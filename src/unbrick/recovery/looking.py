"""A look into one volume: opened, unlocked, mounted; its Windows found and diagnosed. Writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace

from unbrick.diagnosis.diagnose import Diagnosis, diagnose
from unbrick.disks.bitlocker.master_key import KeyWrongError, KnownKey
from unbrick.disks.change.views import View, look
from unbrick.disks.disk import Disk
from unbrick.disks.plain import PlainVolume, open_plain
from unbrick.events.event import EventKind
from unbrick.model import InstallationReport, ProtectorKind, Status, VolumeKind, VolumeState
from unbrick.recovery.case import Found, Goal, Kit, Order, partition_detail
from unbrick.recovery.outcome import (
    CUT_OFF,
    VolumeCase,
    described_computer,
    no_recovery_password,
    place_of,
    refused_volume,
)
from unbrick.repair.history import read_runs
from unbrick.windows.installation import Installation, find_installations

_MOST_RUNS_SHOWN = 64
_TELLS_OF_TRIES = 10  # some three seconds


def look_into(case: VolumeCase, disk: Disk, order: Order, kit: Kit, held: ExitStack) -> Found | None:
    """A volume with Windows, open while `held` is; None for any other. Raises UnbrickError, OSError.

    The case has all that is known, also where an error ends the look.
    """
    if case.volume.refusal:
        raise refused_volume(case.volume)
    if case.volume.kind not in {VolumeKind.BITLOCKER, VolumeKind.NTFS}:
        return None
    key = KnownKey()
    plain = _open_plain(case, key, disk, kit, held)
    looking = held.enter_context(ExitStack())
    view = looking.enter_context(look(plain, kit.runner, kit.workdir))
    case.volume = replace(case.volume, filesystem=view.state)
    windows = _find_windows(case, view, order, kit)
    return Found(case, plain, key, view, looking, windows) if windows else None


def _open_plain(case: VolumeCase, key: KnownKey, disk: Disk, kit: Kit, held: ExitStack) -> PlainVolume:
    volume = case.volume
    if volume.kind is VolumeKind.NTFS:
        return held.enter_context(open_plain(disk, volume, None, kit.runner, kit.workdir))
    ids = [p.id for p in volume.protectors if p.kind is ProtectorKind.RECOVERY_PASSWORD]
    kit.recorder.tell(EventKind.LOCKED, None, protectors=ids[:16] or None, **partition_detail(volume))
    with kit.recorder.step("unlock", **partition_detail(volume)):
        plain = _unlock(case, ids, key, disk, kit, held)
    kit.recorder.tell(EventKind.UNLOCKED, None, **partition_detail(volume))
    case.volume = replace(volume, state=VolumeState.UNLOCKED)
    return plain


def _unlock(
    case: VolumeCase, ids: Sequence[str], key: KnownKey, disk: Disk, kit: Kit, held: ExitStack
) -> PlainVolume:
    """A suspended volume opens without a key; else each password of the key chain is tried."""
    volume = case.volume
    if any(protector.kind is ProtectorKind.CLEAR_KEY for protector in volume.protectors):
        with suppress(KeyWrongError):
            return held.enter_context(open_plain(disk, volume, None, kit.runner, kit.workdir, known=key))
    if not ids:
        raise no_recovery_password(volume)
    noted, untried = len(kit.keys.notes), 0
    try:
        computer = described_computer(volume)
        candidates = kit.keys.unlock_candidates(ids, volume=place_of(volume), computer=computer)
        for tried, candidate in enumerate(candidates):
            if tried and tried % _TELLS_OF_TRIES == 0:
                kit.recorder.tell(EventKind.NOTE, "unlock", tried=tried, **partition_detail(volume))
            password, wanted = candidate.password.secret, candidate.protector_id
            opened = open_plain(disk, volume, password, kit.runner, kit.workdir, wanted=wanted, known=key)
            try:
                return held.enter_context(opened)
            except KeyWrongError as error:
                untried = error.untried or untried
    finally:
        case.notes += kit.keys.notes[noted:]
        if untried:
            case.notes.append(
                f"{place_of(volume)} has {len(ids)} key IDs, and each password was tried for only"
                f" {len(ids) - untried} of them: give it with its key ID, which is tried first"
            )
    raise kit.keys.failure(ids, volume=place_of(volume))


def _find_windows(
    case: VolumeCase, view: View, order: Order, kit: Kit
) -> tuple[tuple[Installation, Diagnosis], ...]:
    where = partition_detail(case.volume)
    with kit.recorder.step("find-windows", **where):
        installations = find_installations(view.root)
    if not installations:
        return ()
    case.passing_notes = view.notes
    if view.cut_off is not None and not order.goal.changes:
        case.notes.append(CUT_OFF)
    for one in installations:
        case.notes += one.warnings
    with kit.recorder.step("diagnose", **where):
        windows = tuple((one, diagnose(view.root, one, kit.playbooks)) for one in installations)
    case.installations = tuple(_report(*one, view, case, order) for one in windows)
    most = None if order.goal is Goal.RUNS else _MOST_RUNS_SHOWN
    case.runs, unbelievable = read_runs(view.root, case.volume.partition, most)
    if order.goal is Goal.RUNS and unbelievable is not None:
        raise unbelievable
    return windows


def _report(
    installation: Installation, diagnosis: Diagnosis, view: View, case: VolumeCase, order: Order
) -> InstallationReport:
    report = InstallationReport(
        case.volume.partition,
        installation.hostname,
        installation.display,
        Status.SCANNED,
        auto_unlocked=installation.auto_unlocked,
    )
    if not order.goal.judges:
        return report
    report = replace(report, status=Status.FOUND, findings=diagnosis.findings)
    if view.cut_off is not None and order.goal is Goal.DIAGNOSE:
        return report
    return replace(
        report, status=diagnosis.status, reason=diagnosis.reason, explanation=diagnosis.explanation
    )
