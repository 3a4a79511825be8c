"""The end of a visit, step by step: what is said, what is waited for, and what the machine does then."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest
from support.endings import ended
from support.recorded_runner import RecordedRunner

from unbrick.errors import FailedError, Reason
from unbrick.events.event import Event, EventKind
from unbrick.events.wire import SignedEvent
from unbrick.model import DiskReport, Machine, Status
from unbrick.processes import libc
from unbrick.report.sender_status import SenderState, SenderStatus
from unbrick.settings.station_file import Helpdesk, Station
from unbrick.signing.carried_text import read_text
from unbrick.signing.event_signer import Signer
from unbrick.station import leaving, main
from unbrick.station.another_try import AnotherTry
from unbrick.station.ending.ending import Ending
from unbrick.station.leaving import Leaving
from unbrick.station.machine.block_devices import BlockDevice
from unbrick.station.machine.firmware_entries import BootEntry
from unbrick.station.machine.medium_facts import MediumFacts
from unbrick.station.restart import BOOT_NEXT, NONE, REMOVE_STICK, Restart
from unbrick.station.stick.settings import Settings
from unbrick.station.telling.reports import Reports
from unbrick.station.telling.voice import Voice

STICK = BlockDevice("sdb", Path("/dev/sdb"), 1, outside=True)
MEDIUM = MediumFacts(
    "0123456789abcdef", "0.1.0", datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC), None
)
WINDOWS = Restart(BOOT_NEXT, BootEntry(0x10, "Windows Boot Manager", True))


class Gone(BaseException):
    """The machine was restarted or switched off."""


class Scene:
    """Everything around the leaving, as lines of what happened in their order."""

    def __init__(self, folder: Path) -> None:
        self.memory = folder
        self.happened: list[str] = []
        self.endings: list[Ending] = []
        self.keys: list[bool] = []
        self.signed_for: list[Machine] = []
        self.outcomes_waiting: list[SignedEvent] = []
        self.sent = True
        self.refused = 0
        self.restart = WINDOWS
        self.screens: Any = self
        self.answer = 0
        self.log = self
        self.has_tally = True
        self.medium_stays = 0
        self.another: AnotherTry | None = None
        self.meanwhile: list[Callable[[], object]] = []

    # a voice
    def line(self, words: str) -> None:
        self.happened.append(words)

    def note(self, sentence: str) -> None:
        self.happened.append(f"note: {sentence}")

    def progress(self, words: str) -> None:
        pass

    def say(self, sentence: str) -> None:
        pass

    def fault(self, error: Exception) -> None:
        pass

    def stopped(self, why: str) -> None:
        self.happened.append(f"screen: {why}")

    def show(self, ending: Ending) -> None:
        self.endings.append(ending)

    def message(self, *lines: str) -> None:
        self.happened.append(lines[0])

    def wait_for_key(self, seconds: float | None) -> bool:
        self.happened.append(f"waits {seconds or 'for a key'}")
        assert len(self.happened) < 200, "it waits for ever"
        self.medium_stays -= 1
        if self.meanwhile:
            self.meanwhile.pop(0)()
        return self.keys.pop(0) if self.keys else False

    def ask(self, question: object) -> int:
        return self.answer

    def close(self) -> None:
        pass

    # reports
    def waiting(self) -> int:
        return 0 if self.sent else 5

    def status(self) -> SenderStatus:
        acknowledged = 5 - self.refused if self.sent else 0
        return SenderStatus(SenderState.ENDED, acknowledged=acknowledged, refused=self.refused)

    def finish_sending(self, seconds: float) -> None:
        self.happened.append("sending ended")

    def sign_all(self, machine: Machine) -> None:
        self.signed_for.append(machine)

    def outcomes(self, most: int) -> list[SignedEvent]:
        return self.outcomes_waiting[:most]

    def report_note(self, machine: Machine, **facts: object) -> None:
        self.happened.append(f"reported {facts}")

    # a companion
    def finish(self, seconds: float) -> bool:
        self.happened.append("stick written")
        return True

    def leave(self, *done: DiskReport, finish: str = "restart", **settings: Any) -> list[str]:
        reports = _Reports(self)
        leaver = Leaving(
            self.memory,
            cast("Voice", self),
            RecordedRunner(),
            Settings(finish=finish, **{"guided": False, **settings}),
            MEDIUM,
            cast("Reports", reports),
            [cast("Any", self)],
            self.another,
        )
        with pytest.raises(Gone):
            leaver.leave(done)
        return self.happened

    def are_among(self, names: Collection[str]) -> bool:
        return self.sent or {f"{number}.json" for number in range(5)} <= set(names)

    def keep_on_stick(self, kept: int, trouble: str = "") -> None:
        names = [f"{number}.json" for number in range(kept)]
        (self.memory / "stick-status").write_text(
            json.dumps({"present": True, "kept": names, "trouble": trouble})
        )


class _Reports:
    def __init__(self, scene: Scene) -> None:
        self.has_tally, self.waiting, self.status = scene.has_tally, scene.waiting, scene.status
        self.sign_all, self.are_among = scene.sign_all, scene.are_among
        self.finish_sending, self.outcomes, self.note = (
            scene.finish_sending,
            scene.outcomes,
            scene.report_note,
        )


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    made = Scene(tmp_path)

    def gone(word: str) -> Any:
        def end() -> NoReturn:
            made.happened.append(word)
            raise Gone

        return end

    def closed(_: object) -> list[str]:
        made.happened.append("closed")
        return []

    monkeypatch.setattr(leaving, "find_restart", lambda _: made.restart)
    monkeypatch.setattr(leaving, "take_boot_next", lambda restart: (restart, None))
    monkeypatch.setattr(leaving, "wait_for_removal", lambda: made.happened.append("stick is gone"))
    monkeypatch.setattr(leaving, "restart_platform", gone("RESET"))
    monkeypatch.setattr(leaving, "power_off_platform", gone("OFF"))
    monkeypatch.setattr(leaving, "open_shell", lambda _: made.happened.append("SHELL"))
    monkeypatch.setattr(leaving, "close_everything", closed)
    monkeypatch.setattr(libc, "restart_platform", gone("RESET"))
    monkeypatch.setattr(leaving, "has_network", lambda: False)
    monkeypatch.setattr(leaving, "present_medium", lambda: (STICK,) if made.medium_stays > 0 else ())
    monkeypatch.setattr(leaving, "wired_interfaces", lambda: iter(()))
    monkeypatch.setattr(leaving, "_KEEP_SECONDS", 0.0)
    return made


def _report(status: Status, reason: str | None = None) -> DiskReport:
    return DiskReport("/dev/sda", status, reason=reason, machine=Machine(hostnames=("WARD-3",)))


def test_a_repaired_machine_restarts_into_windows_with_everything_closed_before(scene: Scene) -> None:
    assert scene.leave(_report(Status.REPAIRED)) == [
        "report sent 5",
        "end green",
        "waits 10.0",
        "sending ended",
        "stick written",
        "closed",
        "restarting into Windows (BootNext 0010)",
        "RESET",
    ]


def test_without_a_windows_entry_the_stick_is_waited_for(scene: Scene) -> None:
    scene.restart = Restart(REMOVE_STICK)
    assert scene.leave(_report(Status.HEALTHY))[-4:] == [
        "waiting for the stick to be removed",
        "stick is gone",
        "restarting",
        "RESET",
    ]


def test_where_nothing_is_plugged_in_it_just_restarts(scene: Scene) -> None:
    scene.restart = Restart(NONE)
    assert scene.leave(_report(Status.REPAIRED))[-3:] == ["closed", "restarting", "RESET"]


def test_what_is_no_success_stays_until_somebody_has_seen_it(scene: Scene) -> None:
    scene.keys = [False, False, True]

    happened = scene.leave(_report(Status.NEEDS_KEY, "key-missing"))

    assert "end amber" in happened
    assert happened.count("waits 20.0") == 3
    assert happened[-1] == "RESET"


def test_the_settings_can_end_in_power_off_or_in_waiting(scene: Scene) -> None:
    assert scene.leave(_report(Status.REPAIRED), finish="power-off")[-3:] == ["closed", "powering off", "OFF"]
    scene.happened, scene.keys = [], [True]
    waited = scene.leave(_report(Status.REPAIRED), finish="wait")
    assert waited[2] == "waits 20.0"
    assert waited[-1] == "RESET"


def test_a_person_sees_the_end_of_a_guided_visit_until_a_key_or_until_the_stick_is_out(scene: Scene) -> None:
    scene.keys = [False, True]
    assert scene.leave(_report(Status.REPAIRED), guided=True).count("waits 20.0") == 2
    assert "Press Enter" in scene.endings[-1].to_do[-1], "there is nothing to take out"
    scene.happened, scene.keys = [], []
    scene.medium_stays = 3
    happened = scene.leave(_report(Status.REPAIRED), guided=True)
    assert happened.count("waits 1.0") == 3
    assert happened[-1] == "RESET"
    assert "Take the stick out" in scene.endings[-1].to_do[-1]


def test_what_is_no_success_is_never_switched_off_by_itself(scene: Scene) -> None:
    scene.keys = [False, True]
    happened = scene.leave(_report(Status.NEEDS_HANDS, "read-only"), finish="power-off")
    assert happened.count("waits 20.0") == 2
    assert happened[-1] == "RESET"


@pytest.mark.parametrize("finish", ["restart", "power-off", "wait"])
def test_the_machine_does_what_its_last_screen_said(scene: Scene, finish: str) -> None:
    for status, reason in itertools.product(Status, (None, *Reason)):
        scene.happened, scene.keys = [], [True]
        happened = scene.leave(_report(status, reason), finish=finish)
        said = scene.endings[-1].to_do[-1]
        assert ("switches itself off" in said) == (happened[-1] == "OFF")
        assert ("the computer restarts" in said.lower()) == (happened[-1] == "RESET")
        assert ("press enter" in said.lower()) == ("waits 20.0" in happened)


def test_who_waits_for_the_stick_to_be_removed_says_so(scene: Scene) -> None:
    scene.restart = Restart(REMOVE_STICK)
    scene.keys, scene.medium_stays = [True], 5
    happened = scene.leave(_report(Status.NEEDS_HANDS, "hibernated"))
    assert happened[-5:-1] == [
        "waiting for the stick to be removed",
        "Take the stick out now: the computer then restarts by itself.",
        "stick is gone",
        "restarting",
    ]


def test_whom_to_call_comes_from_the_settings(scene: Scene) -> None:
    scene.keys = [True]
    station = Station(Path("unbrick.yaml"), helpdesk=Helpdesk("St Mary's IT", "020 7946 0000"))
    scene.leave(_report(Status.NEEDS_HANDS, "hibernated"), station=station)
    assert scene.endings[-1].contact == "020 7946 0000 (St Mary's IT)"


def test_what_the_tally_refused_is_told_and_it_is_not_said_to_know_it(scene: Scene) -> None:
    scene.leave(_report(Status.REPAIRED))
    assert "tally knows it" in " ".join(scene.endings[-1].helpdesk)
    scene.happened, scene.refused = [], 2
    assert _about_refused(scene.leave(_report(Status.REPAIRED))) == [
        "note: the tally refused 2 reports; put in a stick UNBRICK to keep them, before the restart"
    ]
    assert "tally knows it" not in " ".join(scene.endings[-1].helpdesk)


def test_refused_reports_are_said_to_be_kept_only_where_there_is_a_stick(scene: Scene) -> None:
    scene.refused = 2
    scene.keep_on_stick(0)
    assert _about_refused(scene.leave(_report(Status.REPAIRED))) == [
        "note: the tally refused 2 reports; the stick keeps them in outbox\\refused"
    ]
    scene.happened = []
    scene.keep_on_stick(0, trouble="the stick is write-protected")
    assert "put in a stick" in _about_refused(scene.leave(_report(Status.REPAIRED)))[0]


def _about_refused(happened: list[str]) -> list[str]:
    return [one for one in happened if "refused" in one]


def test_reports_on_the_stick_hold_nobody_up(scene: Scene) -> None:
    scene.sent = False
    scene.keep_on_stick(5)
    happened = scene.leave(_report(Status.REPAIRED))
    assert happened[0] == "report kept 5"
    assert "waits 10.0" in happened
    assert scene.endings[-1].qr is None


def test_reports_that_are_only_in_memory_wait_for_a_person_with_a_picture(scene: Scene) -> None:
    scene.sent, scene.keys = False, [True]
    happened = scene.leave(_report(Status.REPAIRED))
    assert happened[0] == "report kept 5"
    assert "waits 10.0" not in happened
    assert scene.endings[-1].qr is not None


def _outcome(signer: Signer, number: int) -> SignedEvent:
    event = Event("20261125T170000Z-8f3a1c", number, EventKind.OUTCOME.value, "2026-11-25T17:00:09.123456Z")
    data = event.to_bytes()
    return SignedEvent(data, signer.sign(data))


def test_the_picture_holds_the_latest_reports_also_where_older_ones_were_signed_by_another_key(
    scene: Scene,
) -> None:
    (ours, _), (theirs, _) = Signer.generate(), Signer.generate()
    latest = [_outcome(ours, 3), _outcome(ours, 2)]
    scene.outcomes_waiting = [*latest, _outcome(theirs, 1)]
    scene.sent, scene.keys = False, [True]
    scene.leave(_report(Status.FAILED))
    assert [one.data for one in read_text(scene.endings[-1].qr or "")] == [one.data for one in latest]


def test_a_machine_goes_by_itself_once_a_late_network_has_taken_its_reports(scene: Scene) -> None:
    scene.sent = False
    scene.meanwhile = [lambda: None, lambda: setattr(scene, "sent", True)]

    happened = scene.leave(_report(Status.REPAIRED))

    assert [one for one in happened if one.startswith("waits")] == ["waits 20.0", "waits 20.0", "waits 10.0"]
    assert happened[-1] == "RESET"
    assert "restarts by itself" in scene.endings[-1].to_do[-1]
    scene.happened, scene.sent, scene.keys = [], False, [False, False, False, True]
    scene.meanwhile = [lambda: setattr(scene, "sent", True)]
    assert scene.leave(_report(Status.FAILED)).count("waits 20.0") == 4, "somebody has to see a failure"


class _Another(AnotherTry):
    """Another try that comes to what the test wants."""

    def __init__(
        self, *, late: list[DiskReport] | None = None, typed: list[DiskReport] | None = None
    ) -> None:
        self.late, self.typed = late, typed

    def with_a_late_stick(self, done: Sequence[DiskReport]) -> list[DiskReport] | None:
        return self.late if done[0].status is Status.NEEDS_KEY else None

    def with_a_typed_key(self, done: Sequence[DiskReport], screens: object) -> list[DiskReport] | None:
        return self.typed if done[0].status is Status.NEEDS_KEY else None


LOCKED = ended(Status.NEEDS_KEY, "key-missing")


def test_a_key_that_comes_late_ends_in_windows_and_what_was_waited_for_is_over(scene: Scene) -> None:
    scene.another = _Another(late=[_report(Status.REPAIRED)])
    happened = scene.leave(LOCKED)
    ends = [one for one in happened if one.startswith(("end", "waits", "report"))]
    assert ends == ["report sent 5", "end amber", "waits 4.0", "report sent 5", "end green", "waits 10.0"]
    assert happened[-1] == "RESET"


def test_a_key_can_be_typed_where_nobody_was_asked_for_it_before(scene: Scene) -> None:
    scene.another, scene.keys = _Another(typed=[_report(Status.REPAIRED)]), [True]
    assert "end green" in scene.leave(LOCKED)
    assert "then 1" in scene.endings[0].to_do[0]
    scene.happened, scene.keys = [], [True]
    assert "end green" not in scene.leave(LOCKED, guided=True)
    scene.happened, scene.keys = [], [True]
    assert "end green" not in scene.leave(LOCKED, only_looks="nobody has signed the settings")
    scene.happened, scene.keys, scene.another = [], [True], _Another()
    assert scene.leave(LOCKED)[-1] == "RESET", "they did not have it"


def test_where_no_tally_waits_for_reports_they_hold_nobody_up(scene: Scene) -> None:
    scene.sent, scene.has_tally = False, False
    alone = Station(Path("unbrick.yaml"))
    happened = scene.leave(_report(Status.REPAIRED), station=alone)
    assert (happened[0], happened[-1]) == ("report kept 5", "RESET")
    assert "waits 10.0" in happened
    assert scene.endings[-1].qr is None
    assert "stick: the report" not in " ".join(scene.endings[-1].to_do)
    scene.keys = [True]
    scene.leave(_report(Status.NEEDS_KEY), station=alone)
    assert scene.endings[-1].qr is not None, "who is asked for help can be shown what was found"
    scene.happened, scene.keys = [], [True]
    scene.leave(_report(Status.REPAIRED), guided=True)
    assert scene.endings[-1].qr is not None, "without settings nobody said that there is no tally"


def test_a_shell_is_offered_only_where_the_settings_allow_it_and_after_closing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.keys, scene.answer = [True], 1
    assert "SHELL" not in scene.leave(_report(Status.NEEDS_KEY))
    monkeypatch.setattr(Settings, "shell", property(lambda _: True))
    scene.happened, scene.keys = [], [True]
    happened = scene.leave(_report(Status.NEEDS_KEY))
    assert happened.index("reported {'note': 'shell-opened'}") < happened.index("sending ended")
    assert happened.index("closed") < happened.index("SHELL")
    assert happened[-1] == "RESET"


def test_that_a_shell_was_opened_is_said_of_the_machine_whatever_its_first_disk_is(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "shell", property(lambda _: True))
    scene.keys, scene.answer = [True], 1
    data = DiskReport("/dev/sda", Status.NEEDS_HANDS, reason="no-windows")
    scene.leave(data, ended(Status.FAILED, name="WARD-3", disk="/dev/sdb"))
    assert "SHELL" in scene.happened
    assert [machine.hostnames for machine in scene.signed_for] == [("WARD-3",)] * 2


def test_a_machine_without_disks_is_no_success(scene: Scene) -> None:
    scene.keys = [True]
    assert "end amber" in scene.leave()


class _Boot:
    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def abandon(self) -> None:
        self._scene.happened.append("stick written, disks closed")


@pytest.mark.parametrize("error", [FailedError("no medium"), ZeroDivisionError("oh"), MemoryError()])
def test_whatever_fails_is_one_line_then_everything_is_closed_and_a_key_restarts(
    scene: Scene, error: Exception
) -> None:
    with pytest.raises(Gone):
        main._guard(cast("Voice", scene), cast("Any", _Boot(scene)), error)

    assert scene.happened[0].startswith("stopped: ")
    assert "\n" not in scene.happened[0]
    assert scene.happened[1] == "stick written, disks closed"
    assert scene.happened[2].startswith("screen: ")
    assert scene.happened[-1] == "RESET"
