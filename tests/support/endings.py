"""Reports of disks as they end, short to write: one Windows behind BitLocker, unless said otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count, product

from unbrick.errors import Reason
from unbrick.model import (
    Action,
    ActionState,
    DiskReport,
    FilesystemState,
    InstallationReport,
    Machine,
    Protector,
    ProtectorKind,
    Status,
    Volume,
    VolumeKind,
    VolumeState,
)
from unbrick.station.ending.case import EndingFacts
from unbrick.station.ending.ending import Ending, ending_of

RUN = "20260719T140322Z-abcdef"
KEY_ID = "1A2B3C4D"
FAULTY = "\\Windows\\System32\\drivers\\CrowdStrike\\C-00000291-00000000-00000032.sys"
CONTACT = "020 7946 0000 (St Mary's IT)"
TPM = (ProtectorKind.TPM, ProtectorKind.RECOVERY_PASSWORD)
FACTS = EndingFacts(
    finish="restart",
    restart_way="boot-next",
    reports_waiting=0,
    reports_on_stick=True,
    tally_known=True,
    already=None,
    medium_id="0123456789abcdef",
)


def facts(**changes: object) -> EndingFacts:
    """What the station knows: all is well, but for some changes."""
    return replace(FACTS, **changes)  # type: ignore[arg-type]


def ended(
    status: Status,
    reason: str | None = None,
    *,
    kinds: Sequence[ProtectorKind] = TPM,
    filesystem: FilesystemState | None = FilesystemState.CLEAN,
    name: str | None = "DESKTOP-NPM7RCA",
    disk: str = "/dev/nvme0n1",
    error: str | None = None,
    done: bool = False,
) -> DiskReport:
    """A disk with one Windows on it; without `kinds` it is not encrypted."""
    protectors = tuple(
        Protector(
            f"{KEY_ID if kind is ProtectorKind.RECOVERY_PASSWORD else '99999999'}-0000-0000-0000-0000", kind
        )
        for kind in kinds
    )
    locked = status is Status.NEEDS_KEY
    volume = Volume(
        partition=3,
        offset=1 << 20,
        length=1 << 30,
        kind=VolumeKind.BITLOCKER if kinds else VolumeKind.NTFS,
        state=VolumeState.LOCKED if locked else VolumeState.UNLOCKED,
        filesystem=None if locked else filesystem,
        protectors=protectors,
    )
    action = Action("quarantine-file", FAULTY, "crowdstrike-cf291", ActionState.DONE)
    installation = InstallationReport(
        3, name, "Windows 11", status, reason, actions=(action,) if done else ()
    )
    return DiskReport(
        disk=disk,
        status=status,
        reason=reason,
        run=RUN if done or status is Status.REPAIRED else None,
        machine=Machine("4C4C4544-0042-3510-8052-B4C04F564432", "5CG1234XYZ", None, (name,) if name else ()),
        volumes=(volume,),
        installations=() if locked else (installation,),
        error=error,
    )


def every_ending() -> list[Ending]:
    """Endings of every status and reason, with all the rest that can be said at once."""
    names = ("PC-17", "DESKTOP-NPM7RCA", "WWWWWWWWWWWWWWW", "БУХГАЛТЕРИЯ", None)
    worst_of_facts: list[EndingFacts] = [
        FACTS,
        facts(finish="wait", reports_waiting=9, tally_known=False, restart_way="remove-stick"),
        facts(
            reports_waiting=9, reports_on_stick=False, already="2026-11-25 14:03 by medium 0123456789abcdef"
        ),
        facts(finish="wait", reports_waiting=9, takes_keys=True),
        facts(only_looked="the settings on this stick are not signed by the site's key"),
        facts(missed=True, finish="wait", only_looked="the settings on the stick could not be read"),
        facts(late=True, finish="wait", reports_waiting=9),
    ]
    every_kind = (
        ProtectorKind.TPM_PIN,
        ProtectorKind.RECOVERY_PASSWORD,
        ProtectorKind.RECOVERY_PASSWORD,
        ProtectorKind.CLEAR_KEY,
    )
    error = (
        "partition 3 is locked, and there is no recovery password for key ID 1A2B3C4D in keys.csv: "
        + "so " * 90
    )
    endings = [ending_of([], one) for one in worst_of_facts]
    for number, (status, reason) in enumerate(product(Status, (None, *Reason, "of-a-newer-version:detail"))):
        report = ended(
            status,
            reason,
            kinds=every_kind if number % 2 else (ProtectorKind.RECOVERY_PASSWORD,) * 3,
            filesystem=FilesystemState.DIRTY,
            name=names[number % len(names)],
            error=error,
        )
        other = ended(Status.NEEDS_HANDS, Reason.FOREIGN_ENCRYPTION, disk="/dev/mapper/another", error=error)
        one = worst_of_facts[(number // len(names)) % len(worst_of_facts)]
        ending = ending_of([report, other] if number % 3 == 0 else [report], one)
        # Codes take long to draw, and the same few words are in all of them.
        endings.append(ending if number < 60 else replace(ending, qr=None))
    return endings


def every_situation() -> Iterator[tuple[list[DiskReport], EndingFacts]]:
    """Every status and reason with every way to end; what else can be the case takes turns with them."""
    besides: tuple[dict[str, object], ...] = (
        {},
        {"already": "2026-11-25 by medium 01234567", "tally_known": False},
        {"only_looked": "the settings on this stick are not signed by the site's key"},
        {"hidden_disks": 1},
        {"left_alone": ("sda (Samsung PSSD T7, 500 GB)",), "contact": CONTACT},
        {"missed": True, "only_looked": "the settings on the stick could not be read"},
        {"late": True},
    )
    waiting = ((0, True), (3, True), (3, False))
    kinds = (TPM, (), (ProtectorKind.RECOVERY_PASSWORD,), (ProtectorKind.TPM,), (ProtectorKind.TPM_PIN,))
    number = count()
    for status, reason in product(Status, (None, *Reason, "of-a-newer-version:detail")):
        for finish, way, medium, (reports, on_stick), takes_keys in product(
            ("restart", "power-off", "wait"),
            ("boot-next", "remove-stick"),
            ("stick", "disc", ""),
            waiting,
            (False, True),
        ):
            turn = next(number)
            report = ended(status, reason, kinds=kinds[turn % 7 % 5], done=turn % 11 == 0)
            other = replace(ended(Status.REPAIRED, disk="/dev/sdb", done=True), volumes=())
            known = facts(
                finish=finish,
                restart_way=way,
                medium=medium,
                reports_waiting=reports,
                reports_on_stick=on_stick,
                takes_keys=takes_keys,
                **besides[turn % len(besides)],
            )
            yield ([report, other] if turn % 13 == 0 else [report]), known
    for known in (facts(**one) for one in besides):
        yield [], known
