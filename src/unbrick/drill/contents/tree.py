"""The files of a simulated Windows volume: the system, programs, people's data, a security product. Pure.

The product is there on every machine: a fault has the neighbours that it had in 2024.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from unbrick.drill.contents import words
from unbrick.drill.contents.faults import UnplayableError, Victim, play
from unbrick.drill.contents.planned import (
    PlannedFile,
    PlannedFolder,
    PlannedJunction,
    moment,
    ordinary_times,
    written_once,
)
from unbrick.drill.contents.programs import stand_in_program
from unbrick.drill.contents.samples import judgement_of
from unbrick.drill.contents.security import (
    FULL_CONTROL,
    ONLY_SYSTEM,
    PROGRAM_FILES,
    READ_AND_EXECUTE,
    SYSTEM,
    SYSTEM_FILES,
    USERS,
    Grant,
    Protection,
    local_user,
    profile_of,
)
from unbrick.incidents.playbook import Playbook
from unbrick.model import Verdict
from unbrick.windows.ntfs_file import FileAttributes

PRODUCT = "\\Windows\\System32\\drivers\\CrowdStrike"
_CHANNELS = (0, 7, 285, 290, 292, 293, 297)
_THAT_HOUR = moment("2024-07-19 04:09:00"), moment("2024-07-19 05:27:00")
_HIDDEN_SYSTEM = FileAttributes.HIDDEN | FileAttributes.SYSTEM
_PAGE_FILE_BYTES = 1024 * 1024
_HIBERNATION_BYTES = 1024 * 1024
_PROGRAMS = (
    "\\Windows\\explorer.exe",
    "\\Windows\\System32\\ci.dll",
    "\\Windows\\System32\\hal.dll",
    "\\Windows\\System32\\kernel32.dll",
    "\\Windows\\System32\\ntdll.dll",
    "\\Windows\\System32\\ntoskrnl.exe",
    "\\Windows\\System32\\smss.exe",
    "\\Windows\\System32\\winload.efi",
    "\\Windows\\System32\\Boot\\winload.efi",
    *(
        f"\\Windows\\System32\\drivers\\{name}.sys"
        for name in ("ACPI", "disk", "fvevol", "ntfs", "partmgr", "storahci", "stornvme", "tcpip", "volmgr")
    ),
    "\\Windows\\System32\\drivers\\volsnap.sys",
    "\\Program Files\\CrowdStrike\\CSFalconService.exe",
)


@dataclass(frozen=True)
class VolumePlan:
    """All that goes on one Windows volume, parents before children. `files` can be iterated once."""

    folders: tuple[PlannedFolder, ...]
    files: Iterator[PlannedFile]
    junctions: tuple[PlannedJunction, ...]


@dataclass(frozen=True)
class TreeOptions:
    """What a volume's tree depends on; `budget` is how many bytes the ordinary files may take in all.

    The others are as in `MachineOptions`.
    """

    seed: int
    files: int
    budget: int
    incident: Playbook
    spared: bool
    variant: int
    hibernated: bool
    hives: Mapping[str, bytes]


def _protection_for(path: str, profiles: Mapping[str, Protection]) -> Protection:
    parts = path.split("\\")
    if parts[1] == "Users" and len(parts) > 2:
        return profiles.get(parts[2], PROGRAM_FILES)
    if path.startswith((PRODUCT, "\\Windows\\System32\\config")):
        return ONLY_SYSTEM
    return SYSTEM_FILES if parts[1] == "Windows" else PROGRAM_FILES


def _with_parents(folders: Iterable[str]) -> list[str]:
    found: dict[str, str] = {}
    for folder in folders:
        parts = folder.split("\\")
        for depth in range(2, len(parts) + 1):
            path = "\\".join(parts[:depth])
            found.setdefault(path.casefold(), path)
    return sorted(found.values(), key=lambda path: (path.count("\\"), path.casefold()))


def _system_files(options: TreeOptions, rng: random.Random) -> Iterator[PlannedFile]:
    for path in _PROGRAMS:
        program = stand_in_program(rng, rng.randrange(20_000, 90_000))
        yield PlannedFile(path, program, ordinary_times(rng), SYSTEM_FILES)
    config = "\\Windows\\System32\\config"
    last_shutdown = moment("2024-07-18 16:30:00"), moment("2024-07-18 17:30:00")
    for name, content in options.hives.items():
        times = written_once(rng, *last_shutdown)
        yield PlannedFile(f"{config}\\{name}", content, times, ONLY_SYSTEM)
        for log in ("LOG1", "LOG2"):
            yield PlannedFile(f"{config}\\{name}.{log}", b"", times, ONLY_SYSTEM, attributes=_HIDDEN_SYSTEM)
    page_file = bytes(_PAGE_FILE_BYTES // 2) + rng.randbytes(_PAGE_FILE_BYTES // 2)
    yield PlannedFile(
        "\\pagefile.sys", page_file, ordinary_times(rng), ONLY_SYSTEM, attributes=_HIDDEN_SYSTEM
    )
    if options.hibernated:
        saved = b"HIBR" + bytes(4092) + rng.randbytes(_HIBERNATION_BYTES - 4096)
        evening = moment("2024-07-19 04:00:00"), moment("2024-07-19 05:30:00")
        yield PlannedFile(
            "\\hiberfil.sys", saved, written_once(rng, *evening), ONLY_SYSTEM, attributes=_HIDDEN_SYSTEM
        )


def _driver(rng: random.Random) -> PlannedFile:
    """What Windows loads of the product at each start."""
    program = stand_in_program(rng, 200_000)
    return PlannedFile(f"{PRODUCT}\\csagent.sys", program, ordinary_times(rng), ONLY_SYSTEM)


def _channel_files(rng: random.Random) -> Iterator[PlannedFile]:
    """What the driver reads, of every number but the one that went wrong."""
    for channel in _CHANNELS:
        content = b"\xaa\xaa\xaa\xaa\x01\x00" + channel.to_bytes(2, "little") + rng.randbytes(6_000)
        # Some of the others were written in the very same hour: the number decides, not the time.
        times = written_once(rng, *_THAT_HOUR) if channel > 289 else ordinary_times(rng)
        name = f"C-{channel:08d}-00000000-{rng.randrange(1, 99):08d}.sys"
        yield PlannedFile(f"{PRODUCT}\\{name}", content, times, ONLY_SYSTEM)


def _curious_files(person: str, user: bytes, rng: random.Random) -> Iterator[PlannedFile]:
    """One of each thing that a file can have on NTFS, in a person's documents."""
    home = f"\\Users\\{person}\\Documents"
    theirs = profile_of(user)
    payroll = Protection(
        user, (Grant(USERS, READ_AND_EXECUTE, deny=True), Grant(SYSTEM, FULL_CONTROL)), own=True
    )
    downloaded = (("Zone.Identifier", b"[ZoneTransfer]\r\nZoneId=3\r\n"),)
    readonly = FileAttributes.READONLY | FileAttributes.ARCHIVE

    def file(name: str, size: int, protection: Protection = theirs, **more: object) -> PlannedFile:
        content = rng.randbytes(size)
        return PlannedFile(f"{home}\\{name}", content, ordinary_times(rng), protection, **more)  # type: ignore[arg-type]

    yield file("Payroll 2024.xlsx", 30_000, payroll)
    yield file("Patient letter to be signed.docx", 12_000, short_name="PATIEN~1.DOC")
    yield file("Setup of the label printer.exe", 50_000, streams=downloaded, short_name="SETUPO~1.EXE")
    yield file("Price list.pdf", 9_000, links=(f"\\Users\\{person}\\Desktop\\Price list.pdf",))
    yield file("Read only.txt", 300, attributes=readonly)
    yield file("Übersicht – 目次.txt", 700)
    yield file("Empty.txt", 0)
    yield file("Scan.tif", 700_000)


def _ordinary_files(
    options: TreeOptions,
    system: tuple[str, ...],
    homes: Mapping[str, tuple[str, ...]],
    profiles: Mapping[str, Protection],
    rng: random.Random,
) -> Iterator[PlannedFile]:
    average = min(8_192, options.budget // max(options.files, 1))
    for count in range(options.files):
        content = rng.randbytes(rng.randrange(average * 2 + 1))
        if rng.random() < 0.25:
            person = rng.choice(sorted(homes))
            folder, name = rng.choice(homes[person]), words.office_file(rng, count)
        else:
            folder, name = rng.choice(system), words.system_file(rng, count)
        path = f"{folder}\\{name}"
        yield PlannedFile(path, content, ordinary_times(rng), _protection_for(path, profiles))


def _folder_of(path: str) -> str:
    return path.rpartition("\\")[0]


def _spelled(files: Iterable[PlannedFile], folders: Iterable[str]) -> tuple[PlannedFile, ...]:
    """Those files, with the case of the folders that are there already."""
    known = {folder.casefold(): folder for folder in folders}

    def spelled(path: str) -> str:
        folder, _, name = path.rpartition("\\")
        if not folder:
            return path
        return f"{known.setdefault(folder.casefold(), spelled(folder))}\\{name}"

    return tuple(
        replace(file, path=spelled(file.path), links=tuple(map(spelled, file.links))) for file in files
    )


class _Others:
    """Files that the incident has nothing to do with: only what was played may be found on a machine."""

    def __init__(self, incident: Playbook, played: Iterable[PlannedFile]) -> None:
        self._incident = incident
        self._taken = {path.casefold() for file in played for path in (file.path, *file.links)}

    def unnamed(self, files: Iterable[PlannedFile]) -> Iterator[PlannedFile]:
        """Without those that are in the way, or that the playbook would name."""
        return (file for file in files if not self._concerns(file))

    def all_of(self, files: Iterable[PlannedFile]) -> Iterator[PlannedFile]:
        """Each of them, because Windows does not start without; raises UnplayableError."""
        for file in files:
            if self._concerns(file):
                raise UnplayableError(
                    self._incident, f"it speaks of {file.path}, which every simulated Windows starts with"
                )
            yield file

    def _concerns(self, file: PlannedFile) -> bool:
        if any(path.casefold() in self._taken for path in (file.path, *file.links)):
            return True
        judgement = judgement_of(self._incident, file)
        return judgement is not None and judgement.verdict in (Verdict.FAULTY, Verdict.PERSON)


def plan_volume(options: TreeOptions, rng: random.Random) -> VolumePlan:
    """The whole tree of a Windows volume; raises UnplayableError."""
    persons = words.people(rng)
    users = {person: local_user(options.seed, number) for number, person in enumerate(persons, start=1)}
    profiles = {person: profile_of(user) for person, user in users.items()}
    homes = {person: words.profile_folders(person) for person in persons}
    system = words.system_folders(rng, stores=2 + options.files // 100)
    wanted = [*system, *(folder for home in homes.values() for folder in home)]
    wanted += [_folder_of(path) for path in _PROGRAMS]
    wanted += [PRODUCT, "\\Windows\\System32\\config", "\\Windows\\Temp", "\\Windows\\Minidump"]
    wanted += ["\\ProgramData", "\\Users\\Public\\Documents", "\\Recovery\\WindowsRE"]
    victim = Victim(f"\\Users\\{persons[0]}\\Documents", options.variant, spared=options.spared)
    played = _spelled(play(options.incident, rng, victim), _with_parents(wanted))
    wanted += [_folder_of(path) for file in played for path in (file.path, *file.links)]

    def files() -> Iterator[PlannedFile]:
        others = _Others(options.incident, played)
        yield from others.all_of(_system_files(options, rng))
        yield from others.all_of([_driver(rng)])
        yield from played
        yield from others.unnamed(_channel_files(rng))
        for person in persons:
            yield from others.unnamed(_curious_files(person, users[person], rng))
        yield from others.unnamed(_ordinary_files(options, system, homes, profiles, rng))

    folders = tuple(
        PlannedFolder(
            path,
            ordinary_times(rng),
            _protection_for(path, profiles),
            short_name={"\\Program Files": "PROGRA~1", "\\Program Files (x86)": "PROGRA~2"}.get(path),
        )
        for path in _with_parents(wanted)
    )
    junctions = (
        PlannedJunction("\\Documents and Settings", "\\Users", ordinary_times(rng)),
        PlannedJunction("\\Users\\All Users", "\\ProgramData", ordinary_times(rng)),
    )
    return VolumePlan(folders, files(), junctions)
