"""Another try at locked disks: a late stick's keys, a typed key; of the stick nothing but its keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support.endings import ended
from support.recovery_passwords import make_guid, make_password

from unbrick.keys.chain import KeyChain
from unbrick.keys.password import RecoveryPassword
from unbrick.keys.sources.source import KeySource
from unbrick.model import DiskReport, Protector, ProtectorKind, Status
from unbrick.station import another_try
from unbrick.station.another_try import AnotherTry
from unbrick.station.machine.block_devices import BlockDevice
from unbrick.station.stick.partition import Stick, times_plugged_in
from unbrick.station.targets import Target
from unbrick.station.telling.screens import Question, Screens

OWN = Stick(Path("/dev/sda3"), BlockDevice("sda", Path("/dev/sda"), 1, outside=True))
STICK = Stick(Path("/dev/sdb3"), BlockDevice("sdb", Path("/dev/sdb"), 1, outside=True))
TARGETS = [Target(Path("/dev/nvme0n1")), Target(Path("/dev/sda"))]


def locked(number: int, disk: str = "/dev/nvme0n1") -> DiskReport:
    """A disk that waits for the recovery password with that number."""
    report = ended(Status.NEEDS_KEY, "key-missing", disk=disk)
    protector = Protector(make_guid(number), ProtectorKind.RECOVERY_PASSWORD)
    return replace(report, volumes=(replace(report.volumes[0], protectors=(protector,)),))


class Machine:
    """Disks that a password opens, and a stick that comes and goes; `worked_on` are those of all tries."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.own: Stick | None = None
        self.stick: Stick | None = None
        self.worked_on: list[str] = []
        (folder / "block/sdb").mkdir(parents=True)
        self.plug_in(1)

    def plug_in(self, time: int, *passwords: int) -> None:
        """A stick with the recovery passwords of these numbers; `time` counts how often one was put in."""
        (self.folder / "block/sdb/diskseq").write_text(f"{time}\n")
        rows = "".join(f"{make_guid(number)},{make_password(number)}\n" for number in passwords)
        (self.folder / "keys.csv").write_text(f"KeyID,RecoveryKey\n{rows}")
        self.stick = STICK

    def work_with(self, keys: Sequence[KeySource]) -> Callable[[Target], DiskReport]:
        def work_on(target: Target) -> DiskReport:
            self.worked_on.append(str(target.path))
            number = 1 + TARGETS.index(target)
            for candidate in KeyChain(keys).unlock_candidates([make_guid(number)]):
                if candidate.password == _password(number):
                    return ended(Status.REPAIRED, disk=str(target.path))
            return locked(number, str(target.path))

        return work_on

    def another(self, read: Stick | None = None) -> AnotherTry:
        return AnotherTry(
            self.work_with,
            (),
            lambda: TARGETS,
            self.folder,
            read=self.identify(read) if read else None,
            find=lambda: [one for one in (self.own, self.stick) if one],
            identify=self.identify,
        )

    def identify(self, stick: Stick) -> str | None:
        return times_plugged_in(stick, self.folder)


def _password(number: int) -> RecoveryPassword:
    return RecoveryPassword.parse(make_password(number))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The kernel here may have no FAT: the stick is a folder. A real one is put in late in tests/vm."""

    @contextmanager
    def there(_: Stick, __: Path) -> Iterator[bool]:
        yield True

    monkeypatch.setattr(another_try, "mounted", there)
    return Machine(tmp_path)


def statuses(reports: Sequence[DiskReport] | None) -> list[str] | None:
    return None if reports is None else [report.status.value for report in reports]


def test_a_stick_that_comes_late_opens_what_was_locked_and_leaves_the_rest_alone(machine: Machine) -> None:
    another = machine.another()
    done = [locked(1), ended(Status.HEALTHY, disk="/dev/sda")]
    machine.stick = None
    assert another.with_a_late_stick(done) is None
    machine.plug_in(2, 1)
    assert statuses(another.with_a_late_stick(done)) == ["repaired", "healthy"]
    assert machine.worked_on == ["/dev/nvme0n1"]


def test_a_stick_without_the_missing_key_changes_nothing_and_is_read_once(machine: Machine) -> None:
    another = machine.another()
    machine.plug_in(2, 7)
    assert another.with_a_late_stick([locked(1)]) is None
    machine.plug_in(2, 7, 1)
    assert another.with_a_late_stick([locked(1)]) is None, "it was read already"
    machine.plug_in(3, 7, 1)
    assert statuses(another.with_a_late_stick([locked(1)])) == ["repaired"], "it was put in again"


def test_the_stick_that_was_there_from_the_start_is_not_late(machine: Machine) -> None:
    another = machine.another(read=STICK)
    machine.plug_in(1, 1)
    assert another.with_a_late_stick([locked(1)]) is None
    assert machine.worked_on == []


def test_a_stick_that_comes_late_is_seen_beside_the_one_we_were_started_from(machine: Machine) -> None:
    machine.own, machine.stick = OWN, None
    another = machine.another(read=OWN)
    assert another.with_a_late_stick([locked(1)]) is None
    machine.plug_in(2, 1)
    assert statuses(another.with_a_late_stick([locked(1)])) == ["repaired"]


def test_two_sticks_open_two_disks(machine: Machine) -> None:
    another = machine.another()
    machine.plug_in(2, 1)
    first = another.with_a_late_stick([locked(1), locked(2, "/dev/sda")])
    assert statuses(first) == ["repaired", "needs-key"]
    machine.plug_in(3, 2)
    assert statuses(another.with_a_late_stick(first or [])) == ["repaired", "repaired"]


def test_a_stick_that_is_pulled_while_it_is_read_is_read_when_it_comes_back(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_: Stick, __: Path) -> None:
        raise OSError(5, "gone")

    another = machine.another()
    machine.plug_in(2, 1)
    with monkeypatch.context() as pulled:
        pulled.setattr(another_try, "mounted", gone)
        assert another.with_a_late_stick([locked(1)]) is None
    assert statuses(another.with_a_late_stick([locked(1)])) == ["repaired"]


class Person(Screens):
    """Answers without a terminal."""

    def __init__(self, answer: int) -> None:
        self.answer = answer
        self.asked: list[Question] = []

    def ask(self, question: Question) -> int:
        self.asked.append(question)
        return self.answer

    def ask_password(
        self, protector_ids: Sequence[str], volume: str = "This disk", *, tried_wrong: bool = False
    ) -> RecoveryPassword | None:
        return None if tried_wrong else _password(1)

    def progress(self, words: str, machine: str | None = None) -> None:
        pass


def test_a_key_that_somebody_has_is_typed(machine: Machine) -> None:
    another = machine.another()
    assert another.with_a_typed_key([locked(1)], Person(1)) is None
    assert statuses(another.with_a_typed_key([locked(1)], Person(0))) == ["repaired"]
    person = Person(0)
    assert another.with_a_typed_key([ended(Status.FAILED)], person) is None
    assert person.asked == [], "nothing is asked where no key is missing"
