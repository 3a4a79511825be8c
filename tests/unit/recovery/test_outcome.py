from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from unbrick.errors import FailedError, NeedsHandsError, NeedsKeyError, Reason
from unbrick.model import (
    Action,
    FileFact,
    Finding,
    InstallationReport,
    Machine,
    Protector,
    ProtectorKind,
    Status,
    Verdict,
    Volume,
    VolumeKind,
    VolumeState,
)
from unbrick.recovery.outcome import Draft, VolumeCase, is_excused, refused_volume

TPM = Protector("11111111-2222-3333-4444-555555555555", ProtectorKind.TPM)
PASSWORD = Protector("11111111-2222-3333-4444-666666666666", ProtectorKind.RECOVERY_PASSWORD)


def bitlocker(
    *protectors: Protector, description: str | None = None, holds_data: bool | None = None
) -> Volume:
    return Volume(
        3,
        0,
        1,
        VolumeKind.BITLOCKER,
        VolumeState.LOCKED,
        protectors=protectors,
        description=description,
        holds_data=holds_data,
    )


def ntfs(*installations: Status, trouble: NeedsHandsError | None = None) -> VolumeCase:
    reports = tuple(InstallationReport(3, "PC-1", "Windows 10", status) for status in installations)
    return VolumeCase(Volume(3, 0, 1, VolumeKind.NTFS, VolumeState.OPEN), reports, trouble)


def conclude(*cases: VolumeCase, scanning: bool = False) -> tuple[Status, str | None]:
    report = Draft(Path("disk.img"), cases=list(cases), scanning=scanning).report()
    return report.status, report.reason


def locked(volume: Volume) -> VolumeCase:
    return VolumeCase(volume, trouble=NeedsKeyError("no key", reason=Reason.KEY_MISSING))


def test_a_disk_is_as_bad_as_its_worst_installation() -> None:
    assert conclude(ntfs(Status.REPAIRED), ntfs(Status.HEALTHY)) == (Status.REPAIRED, None)
    assert conclude(ntfs(Status.REPAIRED), ntfs(Status.FOUND))[0] is Status.FOUND


def test_a_locked_data_volume_beside_a_repaired_windows_changes_nothing() -> None:
    data = bitlocker(PASSWORD, holds_data=True)
    assert conclude(ntfs(Status.REPAIRED), locked(data)) == (Status.REPAIRED, None)


@pytest.mark.parametrize("protectors", [(), (PASSWORD,), (TPM, PASSWORD)])
@pytest.mark.parametrize("state", [VolumeState.LOCKED, VolumeState.CONVERTING, VolumeState.DAMAGED])
def test_nothing_but_that_proof_excuses_a_volume_that_stays_locked(
    protectors: tuple[Protector, ...], state: VolumeState
) -> None:
    doubtful = replace(bitlocker(*protectors), state=state)
    assert conclude(ntfs(Status.REPAIRED), locked(doubtful)) == (Status.NEEDS_KEY, "key-missing")


@pytest.mark.parametrize(("product", "may"), [("luks", False), ("filevault", False), ("veracrypt", True)])
def test_another_product_s_volume_is_excused_only_where_it_cannot_be_windows(product: str, may: bool) -> None:
    refusal = f"foreign-encryption:{product}"
    volume = Volume(4, 0, 1, VolumeKind.FOREIGN_ENCRYPTION, VolumeState.LOCKED, refusal=refusal)
    case = VolumeCase(volume, trouble=refused_volume(volume))
    windows = ntfs(Status.REPAIRED)
    expected = (Status.NEEDS_HANDS, refusal) if may else (Status.REPAIRED, None)
    assert conclude(windows, case) == expected
    assert is_excused(volume, windows.installations) is not may
    assert not is_excused(volume, ())


@pytest.mark.parametrize(
    ("guid", "holds_data", "status"),
    [
        ("KEPT", None, Status.REPAIRED),
        ("KEPT", False, Status.NEEDS_KEY),
        ("OTHER", None, Status.NEEDS_KEY),
        (None, None, Status.NEEDS_KEY),
    ],
)
def test_a_volume_that_a_windows_here_unlocks_by_itself_holds_data(
    guid: str | None, holds_data: bool | None, status: Status
) -> None:
    windows = ntfs(Status.REPAIRED)
    windows.installations = (replace(windows.installations[0], auto_unlocked=("KEPT",)),)
    data = replace(bitlocker(PASSWORD, holds_data=holds_data), guid=guid)
    assert conclude(windows, locked(data))[0] is status


def test_a_locked_volume_alone_needs_its_key_whatever_it_is() -> None:
    assert conclude(locked(bitlocker(PASSWORD, holds_data=True)))[0] is Status.NEEDS_KEY


def test_a_scan_does_not_ask_for_keys_but_names_what_must_not_be_touched() -> None:
    assert conclude(locked(bitlocker(TPM)), scanning=True) == (Status.SCANNED, None)
    refused = ntfs(trouble=NeedsHandsError("a member", reason=Reason.RAID_MEMBER))
    assert conclude(refused, scanning=True) == (Status.NEEDS_HANDS, "raid-member")


def test_a_disk_without_windows_is_never_healthy() -> None:
    assert conclude() == (Status.NEEDS_HANDS, "no-windows")
    assert conclude(scanning=True) == (Status.SCANNED, None)


def test_an_error_of_the_whole_disk_stands_above_its_parts() -> None:
    draft = Draft(Path("disk.img"), cases=[ntfs(Status.REPAIRED)])
    draft.trouble = FailedError("the cable came out", reason=Reason.UNREADABLE_DISK)
    report = draft.report()
    assert (report.status, report.reason, report.error) == (
        Status.FAILED,
        "unreadable-disk",
        "the cable came out",
    )
    assert report.volumes


def test_a_locked_machine_is_known_by_the_name_in_bitlockers_description() -> None:
    case = locked(bitlocker(TPM, description="WARD-004 C: 7/4/2024"))
    assert Draft(Path("disk.img"), cases=[case]).report().machine.hostnames == ("WARD-004",)


def test_a_file_outside_every_windows_folder_belongs_to_those_that_found_it() -> None:
    outside, inside = "\\ProgramData\\Example\\x.pak", "\\WINNT\\y.bin"
    folders = ["\\Windows", "\\WINNT", "\\Old"]
    actions = [Action("quarantine-file", path, "p") for path in (outside, inside)]
    found = Finding("p", Verdict.FAULTY, (FileFact(outside, "0", 0, None),), "faulty")
    case = ntfs(Status.FOUND, Status.FOUND, Status.HEALTHY)
    first, second, third = case.installations
    case.installations = (replace(first, findings=(found,)), replace(second, findings=(found,)), third)
    case.show(folders, actions, Status.REPAIRED)
    paths = [[action.path for action in one.actions] for one in case.installations]
    assert paths == [[outside], [outside, inside], []]
    assert [one.status for one in case.installations] == [Status.REPAIRED, Status.REPAIRED, Status.HEALTHY]
    undone = ntfs(Status.SCANNED, Status.SCANNED)  # an undo finds nothing, and hides nothing that it did
    undone.show(folders[:2], actions, Status.UNDONE)
    assert [[action.path for action in one.actions] for one in undone.installations] == paths[:2]


def test_what_to_do_about_an_error_reaches_the_report_with_it() -> None:
    case = ntfs(Status.FOUND)
    case.show(["\\Windows"], [Action("quarantine-file", "\\Windows\\x", "p")], Status.FOUND)
    case.blame(NeedsHandsError("it sleeps", reason=Reason.HIBERNATED, hint="wake it"))
    report = Draft(Path("disk.img"), cases=[case]).report()
    assert (report.error, report.hint, report.reason) == ("it sleeps", "wake it", "hibernated")


def test_a_refused_volume_is_explained_in_words() -> None:
    volume = Volume(
        3, 0, 1, VolumeKind.FOREIGN_ENCRYPTION, VolumeState.LOCKED, refusal="foreign-encryption:luks"
    )
    error = refused_volume(volume)
    assert error.message == "partition 3 must not be written: another product has encrypted it (luks)"
    assert (error.reason, error.hint) == ("foreign-encryption:luks", "use that product's own recovery")


def test_a_note_is_told_once_and_a_passing_one_first() -> None:
    case = ntfs(Status.REPAIRED)
    case.passing_notes = ("replayed",)
    case.notes = ["tried", "replayed", "tried"]
    assert Draft(Path("disk.img"), cases=[case]).report().notes == ("replayed", "tried")


def test_the_machine_s_own_identifiers_are_in_the_report() -> None:
    firmware = Machine("4C4C4544-0051-3510-8052-B4C04F4A3132", "5CD1234XYZ")
    draft = Draft(Path("/dev/sda"), disk_guid="D", cases=[ntfs(Status.HEALTHY)], firmware=firmware)
    machine = draft.report().machine
    assert (machine.smbios_uuid, machine.serial) == (firmware.smbios_uuid, "5CD1234XYZ")
    assert (machine.disk_guid, machine.hostnames) == ("D", ("PC-1",))


def partly(trouble: NeedsHandsError | None = None) -> VolumeCase:
    """A Windows with one faulty file and one that needs a person."""
    named = ((Verdict.FAULTY, "bad.sys", None), (Verdict.PERSON, "odd.sys", "unreadable-file"))
    findings = tuple(
        Finding(
            "p", verdict, (FileFact(f"\\Windows\\{name}", "0" * 64, 1, None),), f"This is {name}.", reason
        )
        for verdict, name, reason in named
    )
    report = InstallationReport(
        3, "PC-1", "Windows 10", Status.NEEDS_HANDS, "unreadable-file", "Both are named.", findings
    )
    return VolumeCase(Volume(3, 0, 1, VolumeKind.NTFS, VolumeState.OPEN), (report,), trouble)


BAD = Action("quarantine-file", "\\Windows\\bad.sys", "p")


def test_what_is_done_and_what_is_left_are_told_together() -> None:
    case = partly()
    for status, said in ((Status.FOUND, "can be taken away"), (Status.REPAIRED, "was taken away")):
        case.show(["\\Windows"], (BAD,), status)
        report = Draft(Path("disk.img"), cases=[case]).report()
        assert (report.status, report.reason) == (Status.NEEDS_HANDS, "unreadable-file")
        assert report.error == f"What is sure {said}; the rest needs a person. This is odd.sys."
        assert report.installations[0].actions == (BAD,)
    case.show(["\\Windows"], (BAD,), Status.UNDONE)
    assert Draft(Path("disk.img"), cases=[case]).report().status is Status.UNDONE


def test_a_diagnosis_plans_nothing_and_says_what_a_repair_would_do() -> None:
    case = partly()
    case.show(["\\Windows"], (BAD,), Status.FOUND)
    case.forget_plan()
    assert case.installations[0].actions == ()
    assert case.notes == ["a repair would take the faulty file away and leave the rest to a person"]
    hibernated = NeedsHandsError("Windows is hibernated", reason=Reason.HIBERNATED)
    case = partly()
    case.show(["\\Windows"], (BAD,), Status.FOUND)
    case.blame(hibernated)
    case.forget_plan()
    assert case.notes == ["as things stand, a repair would not take the faulty file away"]
    assert conclude(case) == (Status.NEEDS_HANDS, "hibernated")
