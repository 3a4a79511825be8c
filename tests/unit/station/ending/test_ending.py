"""What the last screen says, for every status and reason, and what the disk tells of Windows' next start."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from support.endings import FACTS, KEY_ID, RUN, ended, facts

from unbrick.errors import Reason
from unbrick.events.short_code import is_short_code
from unbrick.model import (
    DiskReport,
    FilesystemState,
    Finding,
    Protector,
    ProtectorKind,
    Status,
    Verdict,
    VolumeState,
)
from unbrick.station.ending.case import Colour
from unbrick.station.ending.ending import Ending, ending_of

_P = ProtectorKind
_TROUBLES = (Status.FAILED, Status.NEEDS_HANDS, Status.NEEDS_KEY)


def said(ending: Ending) -> str:
    return " ".join([ending.summary, *ending.to_do, *ending.next_in_windows, *ending.helpdesk])


@pytest.mark.parametrize(
    ("status", "colour", "headline"),
    [
        (Status.REPAIRED, Colour.GREEN, "DONE"),
        (Status.HEALTHY, Colour.GREEN, "NO FAULT"),
        (Status.UNDONE, Colour.GREEN, "PUT BACK"),
        (Status.FOUND, Colour.AMBER, "FAULT FOUND"),
        (Status.SCANNED, Colour.AMBER, "ONLY LOOKED"),
        (Status.NEEDS_KEY, Colour.AMBER, "KEY NEEDED"),
        (Status.NEEDS_HANDS, Colour.AMBER, "HELP NEEDED"),
        (Status.FAILED, Colour.RED, "FAILED"),
    ],
)
def test_a_status_has_a_colour_and_a_word(status: Status, colour: Colour, headline: str) -> None:
    ending = ending_of([ended(status)], FACTS)
    assert (ending.colour, ending.headline) == (colour, headline)
    assert ending.machine == "DESKTOP-NPM7RCA"
    assert is_short_code(ending.code)
    assert ending.code in said(ending)


@pytest.mark.parametrize(("status", "reason"), list(product(_TROUBLES, Reason)))
def test_every_trouble_says_what_it_is_what_to_do_and_whom_to_call(status: Status, reason: Reason) -> None:
    ending = ending_of([ended(status, reason)], FACTS)
    assert ending.colour is not Colour.GREEN
    assert ending.summary.endswith(".")
    assert len(ending.to_do) >= 2
    assert "helpdesk" in " ".join(ending.to_do).lower()
    assert any(f"{status} ({reason})" in sentence for sentence in ending.helpdesk)
    assert "press Enter" in ending.to_do[-1], "nothing restarts by itself while somebody has to see it"
    assert "starts by itself" not in " ".join(ending.next_in_windows)


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        ((), "Windows starts by itself."),
        ((_P.TPM, _P.RECOVERY_PASSWORD), "Windows starts by itself."),
        ((_P.TPM_PIN, _P.RECOVERY_PASSWORD), "ask for the PIN of this computer's owner"),
        ((_P.STARTUP_KEY, _P.RECOVERY_PASSWORD), "ask for the USB stick with its startup key"),
        ((_P.PASSPHRASE, _P.RECOVERY_PASSWORD), "ask for the password of this disk"),
        ((_P.RECOVERY_PASSWORD,), f"ask for the recovery key {KEY_ID} (48 digits)"),
        ((_P.TPM_PIN, _P.CLEAR_KEY), "Windows starts by itself."),
    ],
)
def test_what_windows_asks_for_depends_on_its_protectors(
    kinds: tuple[ProtectorKind, ...], words: str
) -> None:
    ending = ending_of([ended(Status.REPAIRED, kinds=kinds)], FACTS)
    assert words in ending.next_in_windows[0]
    assert ("Windows starts by itself." in ending.next_in_windows) == (words == "Windows starts by itself.")


@pytest.mark.parametrize("state", FilesystemState)
def test_a_disk_check_is_foretold_where_windows_will_make_one(state: FilesystemState) -> None:
    ending = ending_of([ended(Status.REPAIRED, filesystem=state)], FACTS)
    foretold = any("checks its disk first" in sentence for sentence in ending.next_in_windows)
    assert foretold == (state in {FilesystemState.DIRTY, FilesystemState.UNCLEAN_LOG})


def test_the_screen_after_failed_starts_is_foretold() -> None:
    for status in (Status.REPAIRED, Status.HEALTHY):
        assert any("'Continue'" in one for one in ending_of([ended(status)], FACTS).next_in_windows)


def test_a_suspended_bitlocker_is_the_helpdesks_to_resume() -> None:
    ending = ending_of([ended(Status.REPAIRED, kinds=(_P.TPM, _P.CLEAR_KEY))], FACTS)
    assert any("suspended" in sentence for sentence in ending.helpdesk)
    assert "suspended" not in said(ending_of([ended(Status.REPAIRED)], FACTS))


def test_the_key_that_is_needed_is_named_as_windows_shows_it() -> None:
    ending = ending_of([ended(Status.NEEDS_KEY, Reason.KEY_MISSING)], FACTS)
    assert f"recovery key {KEY_ID}" in ending.to_do[0]
    assert f"Recovery key ID: {KEY_ID}." in ending.helpdesk
    assert "99999999" not in said(ending), "that of another protector opens nothing"


def test_a_missing_key_can_be_brought_to_a_machine_that_asks_nobody_by_itself() -> None:
    locked = ended(Status.NEEDS_KEY, Reason.KEY_MISSING)
    ending = ending_of([locked], facts(finish="wait", takes_keys=True))
    assert "press Enter, then 1, and type it" in ending.to_do[0]
    assert ending.to_do[-1] == "Without the key: press Enter, then 2. The computer restarts."
    later = said(ending_of([locked], facts(finish="wait")))
    assert "It is typed at the next try. Leave the stick in and press Enter" in later
    alone = ended(Status.NEEDS_KEY, Reason.KEY_MISSING, kinds=(_P.TPM,))
    assert "then 1" not in said(ending_of([alone], facts(finish="wait", takes_keys=True)))


def test_the_key_id_is_told_to_the_helpdesk_should_windows_ask_for_it_all_the_same() -> None:
    assert f"its ID is {KEY_ID}" in said(ending_of([ended(Status.REPAIRED)], FACTS))
    assert KEY_ID not in said(ending_of([ended(Status.REPAIRED, kinds=())], FACTS))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"finish": "power-off"}, "The computer switches itself off. Take the stick out."),
        ({}, "Take the stick out. The computer restarts by itself."),
        ({"restart_way": "none"}, "Take the stick out. The computer restarts by itself."),
        ({"restart_way": "remove-stick"}, "Take the stick out now: the computer then restarts by itself."),
        ({"finish": "power-off"}, "The computer switches itself off."),
        ({"finish": "wait"}, "press Enter"),
        ({"finish": "wait", "restart_way": "remove-stick"}, "press Enter"),
        ({"medium": "disc"}, "Take the disc out. The computer restarts by itself."),
        ({"medium": "disc", "restart_way": "remove-stick"}, "Take the disc out now: the computer then"),
        ({"medium": ""}, "The computer restarts by itself."),
        ({"medium": "", "finish": "wait"}, "Press Enter: the computer restarts."),
        ({"medium": "", "finish": "power-off"}, "The computer switches itself off."),
    ],
)
def test_what_becomes_of_the_stick_is_said_last(changes: dict[str, object], words: str) -> None:
    sentence = ending_of([ended(Status.REPAIRED)], facts(**changes)).to_do[-1]
    assert words in sentence
    assert ("out" in sentence) == (changes.get("medium") != "")


def test_of_several_disks_the_worst_counts_and_all_are_listed() -> None:
    reports = [
        ended(Status.REPAIRED, done=True),
        ended(Status.NEEDS_HANDS, Reason.RAID_MEMBER, name=None, disk="/dev/sda"),
    ]
    ending = ending_of(reports, FACTS)
    assert ending.headline == "HELP NEEDED"
    assert ending.machine == "DESKTOP-NPM7RCA", "the name is known from the other disk"
    assert "Disks: /dev/nvme0n1 repaired, /dev/sda needs-hands (raid-member)." in ending.helpdesk
    assert ending.next_in_windows == ("A part was repaired.",), "it is switched off, to look at the RAID"
    assert ending_of(list(reversed(reports)), FACTS).code == ending.code


def _second_disk(
    status: Status, reason: Reason, kinds: tuple[ProtectorKind, ...] = (), *, holds_data: bool | None = None
) -> DiskReport:
    """One on which no Windows was found."""
    report = ended(status, reason, name=None, disk="/dev/sda", kinds=kinds)
    volumes = tuple(replace(volume, holds_data=holds_data) for volume in report.volumes)
    return replace(report, installations=(), volumes=volumes)


_LOCKED = (Status.NEEDS_KEY, Reason.KEY_MISSING)


@pytest.mark.parametrize(
    "second",
    [
        _second_disk(Status.NEEDS_HANDS, Reason.NO_WINDOWS),
        _second_disk(Status.NEEDS_HANDS, Reason.EMPTY_DISK),
        _second_disk(*_LOCKED, kinds=(_P.PASSPHRASE, _P.RECOVERY_PASSWORD), holds_data=True),
    ],
)
@pytest.mark.parametrize("status", [Status.REPAIRED, Status.HEALTHY])
def test_a_disk_for_data_is_no_trouble_beside_the_one_with_windows(
    second: DiskReport, status: Status
) -> None:
    for reports in ([ended(status), second], [second, ended(status)]):
        ending = ending_of(reports, FACTS)
        assert ending.colour is Colour.GREEN
        assert any(f"/dev/sda {second.status} ({second.reason})" in one for one in ending.helpdesk)
    assert ending_of([second], FACTS).colour is Colour.AMBER, "alone it is not the disk that was meant"


def test_a_second_disk_that_the_windows_of_the_first_unlocks_by_itself_is_for_data() -> None:
    first = ended(Status.REPAIRED)
    first = replace(
        first, installations=tuple(replace(one, auto_unlocked=("KEPT",)) for one in first.installations)
    )
    second = _second_disk(*_LOCKED, kinds=(_P.STARTUP_KEY, _P.RECOVERY_PASSWORD))
    kept = replace(second, volumes=tuple(replace(one, guid="KEPT") for one in second.volumes))
    assert ending_of([first, kept], FACTS).colour is Colour.GREEN
    assert ending_of([first, second], FACTS).colour is Colour.AMBER


@pytest.mark.parametrize(
    "second",
    [
        _second_disk(*_LOCKED, kinds=(_P.TPM, _P.RECOVERY_PASSWORD)),
        _second_disk(*_LOCKED, kinds=(_P.RECOVERY_PASSWORD,)),
        _second_disk(Status.NEEDS_HANDS, Reason.DAMAGED_VOLUME),
        _second_disk(Status.FAILED, Reason.UNREADABLE_DISK),
    ],
)
def test_a_disk_that_may_hold_another_windows_is_trouble(second: DiskReport) -> None:
    assert ending_of([ended(Status.REPAIRED), second], FACTS).colour is not Colour.GREEN


def test_the_key_of_a_second_windows_is_asked_for_and_that_of_a_data_volume_is_not() -> None:
    report = ended(Status.REPAIRED, done=True)
    opened = report.volumes[0]
    second = replace(
        opened,
        partition=4,
        state=VolumeState.LOCKED,
        protectors=(Protector("5EC0ED00-0000-0000-0000-0000", _P.RECOVERY_PASSWORD),),
    )
    data = replace(
        second,
        partition=5,
        protectors=(Protector("DA7A0000-0000-0000-0000-0000", _P.RECOVERY_PASSWORD),),
        holds_data=True,
    )
    report = replace(
        report,
        status=Status.NEEDS_KEY,
        reason=Reason.KEY_MISSING,
        volumes=(opened, second, data),
    )
    ending = ending_of([report], FACTS)
    assert ending.headline == "KEY NEEDED"
    shown = " ".join([*ending.to_do, *ending.helpdesk])
    assert "5EC0ED00" in shown
    assert "DA7A0000" not in shown


@pytest.mark.parametrize(
    ("kinds", "way"),
    [
        ((_P.PASSPHRASE,), "the password that its owner knows"),
        ((_P.TPM, _P.STARTUP_KEY), "the USB stick with its startup key"),
        ((_P.SMART_CARD,), "its owner's card"),
        ((_P.TPM,), "its own computer"),
    ],
)
def test_a_disk_without_a_recovery_key_asks_for_none(kinds: tuple[ProtectorKind, ...], way: str) -> None:
    ending = ending_of([ended(*_LOCKED, kinds=kinds)], facts(takes_keys=True))
    assert "48 digits" not in said(ending)
    assert way in ending.to_do[0]
    assert "it has no recovery key" in ending.summary


def test_a_machine_without_a_name_is_called_by_its_serial_number() -> None:
    assert ending_of([ended(Status.REPAIRED, name=None)], FACTS).machine == "Serial 5CG1234XYZ"


def test_what_windows_does_is_foretold_only_where_the_fault_was_seen() -> None:
    asleep = ending_of([ended(Status.NEEDS_HANDS, Reason.HIBERNATED)], FACTS)
    for ending in (asleep, ending_of([], FACTS)):
        assert ending.next_in_windows == ("Nothing was changed: Windows starts, or stops, as it did before.",)
    found = ended(Status.FOUND)
    seen = Finding("crowdstrike-cf291", Verdict.FAULTY, (), "a faulty file")
    found = replace(found, installations=(replace(found.installations[0], findings=(seen,)),))
    assert ending_of([found], FACTS).next_in_windows == ("Windows will stop as it did before.",)


def test_no_disk_at_all_is_no_success() -> None:
    ending = ending_of([], FACTS)
    assert ending.colour is Colour.AMBER
    assert ending.summary == "No disk was found inside this computer."


NO_WINDOWS = DiskReport(disk="/dev/sda", status=Status.NEEDS_HANDS, reason=Reason.NO_WINDOWS)


@pytest.mark.parametrize("reports", [[], [NO_WINDOWS]])
def test_a_disk_that_the_firmware_hides_is_told_and_what_shows_it(reports: list[DiskReport]) -> None:
    ending = ending_of(reports, facts(hidden_disks=1))
    assert ending.colour is Colour.AMBER
    assert "hidden" in ending.summary
    assert "AHCI" in ending.to_do[0]
    assert "Set it back before Windows starts" in ending.to_do[0]
    assert any("Intel RST" in line for line in ending.helpdesk)
    assert "hidden" not in ending_of(reports, FACTS).summary


def test_a_hidden_disk_beside_a_windows_that_was_found_changes_nothing() -> None:
    for report in (ended(Status.REPAIRED), ended(Status.NEEDS_KEY)):
        assert ending_of([report], facts(hidden_disks=1)) == ending_of([report], FACTS)


@pytest.mark.parametrize("reports", [[], [ended(Status.HEALTHY)]])
def test_a_machine_that_was_already_repaired_says_when_and_by_which_stick(reports: list[DiskReport]) -> None:
    ending = ending_of(reports, facts(already="2026-11-25 by medium 01234567"))
    assert (ending.colour, ending.headline) == (Colour.GREEN, "ALREADY DONE")
    assert "2026-11-25 by medium 01234567" in ending.summary
    assert "helpdesk" not in " ".join(ending.to_do)


def test_a_machine_that_had_the_fault_again_is_done_and_not_already_done() -> None:
    ending = ending_of([ended(Status.REPAIRED)], facts(already="2026-07-20 by medium 01234567"))
    assert ending.headline == "DONE"
    assert any("Repaired before: 2026-07-20" in sentence for sentence in ending.helpdesk)


def test_an_earlier_repair_hides_no_new_trouble() -> None:
    ending = ending_of([ended(Status.FAILED, Reason.VERIFY_FAILED)], facts(already="2026-11-25 by medium 0"))
    assert ending.headline == "FAILED"
    assert "2026-11-25" in said(ending)


def test_why_nothing_was_changed_is_said() -> None:
    ending = ending_of([ended(Status.FOUND)], facts(only_looked="the settings are not signed"))
    assert ending.colour is Colour.AMBER
    assert "Nothing was changed: the settings are not signed." in ending.summary


@pytest.mark.parametrize("status", [Status.FOUND, Status.SCANNED, Status.NEEDS_KEY])
def test_where_the_sticks_settings_were_not_read_that_is_said_and_the_stick_tried_again(
    status: Status,
) -> None:
    """For a locked disk, too: its key may be on the stick."""
    ending = ending_of([ended(status)], facts(missed=True, finish="wait"))
    assert (
        ending.to_do[0]
        == "The stick's settings could not be read: next time leave it in until this screen comes."
    )
    assert "start it from the stick again" in ending.to_do[-1]


def test_settings_that_came_too_late_are_told_of() -> None:
    ending = ending_of([ended(Status.REPAIRED)], facts(late=True))
    assert "came too late and were not used" in ending.to_do[0]
    assert ending.to_do[1:] == ending_of([ended(Status.REPAIRED)], FACTS).to_do


@pytest.mark.parametrize("status", Status)
def test_reports_that_wait_are_on_the_stick_or_on_the_screen(status: Status) -> None:
    on_stick = ending_of([ended(status)], facts(reports_waiting=3))
    assert on_stick.qr is None
    assert "Keep this stick" in " ".join(on_stick.to_do)
    nowhere = ending_of([ended(status)], facts(reports_waiting=3, reports_on_stick=False))
    assert nowhere.qr is not None
    assert "Photograph" in " ".join(nowhere.to_do)
    sent = ending_of([ended(status)], facts(reports_on_stick=False))
    assert sent.qr is None
    assert "Photograph" not in " ".join(sent.to_do)


def test_the_picture_says_who_what_and_which_run() -> None:
    waiting = facts(reports_waiting=3, reports_on_stick=False)
    ending = ending_of([ended(Status.REPAIRED)], waiting)
    assert (
        ending.qr
        == f"UNBRICK {ending.code} DESKTOP-NPM7RCA\nnvme0n1 repaired {RUN}\nstick 01234567 serial 5CG1234XYZ"
    )
    assert len(ending.qr) <= 134, "one code on 80 by 25"
    own = ending_of(
        [ended(Status.REPAIRED)], facts(reports_waiting=3, reports_on_stick=False, report_text="abc")
    )
    assert own.qr == "abc"


def test_the_helpdesk_is_not_called_where_the_tally_knows() -> None:
    assert "knows it already" in said(ending_of([ended(Status.REPAIRED)], FACTS))
    assert "knows it already" not in said(ending_of([ended(Status.REPAIRED)], facts(reports_waiting=1)))
    assert "knows it already" not in said(ending_of([ended(Status.REPAIRED)], facts(tally_known=False)))


def test_a_long_message_is_cut_short() -> None:
    ending = ending_of([ended(Status.FAILED, error="x" * 5000)], FACTS)
    assert max(map(len, ending.helpdesk)) < 250


def test_what_was_done_and_what_is_left_are_both_said() -> None:
    error = "What is sure was taken away; the rest needs a person."
    report = ended(Status.NEEDS_HANDS, Reason.UNREADABLE_FILE, done=True, error=error)
    ending = ending_of([report], FACTS)
    assert (ending.colour, ending.headline) == (Colour.AMBER, "HELP NEEDED")
    assert ending.summary.startswith("A faulty file was taken away and can be put back.")
    assert "cannot be read" in ending.summary
    assert "Nothing was changed" not in said(ending)
    assert any("A part was repaired" in sentence for sentence in ending.next_in_windows)
    assert any(error in sentence for sentence in ending.helpdesk)
