"""Makes one Windows volume of a machine: NTFS, hives, tree, the state Windows left it in."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path

from unbrick.drill.bitlocker.areas import FOLDER, RESERVED_FILES, prepare_reserved_files
from unbrick.drill.bitlocker.settings import BitLockerSettings, make_recovery_password
from unbrick.drill.contents.faults import UnplayableError
from unbrick.drill.contents.planned import moment, ordinary_times, written_once
from unbrick.drill.contents.security import ONLY_SYSTEM
from unbrick.drill.contents.tree import TreeOptions, plan_volume
from unbrick.drill.disk import hives, ntfs, states
from unbrick.drill.disk.partition import Layout, Role, seeded_guid
from unbrick.drill.disk.registry import make_hive
from unbrick.drill.disk.truth import VolumeTruth, read_truth
from unbrick.drill.options import Encryption, MachineOptions, dice
from unbrick.errors import UsageError
from unbrick.incidents.pattern import component_matches
from unbrick.incidents.playbook import Playbook
from unbrick.processes.command import Runner
from unbrick.windows.ntfs_file import write_acl, write_times

_HIVE_FOLDER = "\\SystemRoot\\System32\\Config\\"
# A file costs its record, and on average half of its last cluster.
_FILE_OVERHEAD = 1024 + 2048
_ENCRYPTED_ON = datetime(2023, 9, 4, 7, 12, 30, tzinfo=UTC)


def computer_name(machine: MachineOptions, order: int) -> str:
    """The name of a machine's first (0) or second installation."""
    return machine.name if order == 0 else f"{machine.name[:13]}-{order + 1}"


def bitlocker_settings(machine: MachineOptions, layout: Layout, order: int) -> BitLockerSettings | None:
    """How the machine's Windows volume number `order` is encrypted, by its seed; None where it is not."""
    if machine.encryption is Encryption.NONE:
        return None
    place = (machine.seed, machine.name, layout.of(Role.WINDOWS)[order].number)
    return BitLockerSettings(
        method="aes-xts-128" if machine.encryption is Encryption.XTS_128 else "aes-xts-256",
        computer=computer_name(machine, order),
        recovery_password=make_recovery_password(dice(*place, "recovery password")),
        protector_id=str(seeded_guid(*place, "protector")).upper(),
        clear_key=machine.clear_key,
        seed=dice(*place, "bitlocker").getrandbits(63),
        created=_ENCRYPTED_ON,
    )


def fitting_versions(incident: Playbook) -> tuple[hives.WindowsVersion, ...]:
    """The editions that an incident is for; raises UnplayableError where a drill has none of them."""
    wanted = incident.requires.products if incident.requires else None
    if wanted is None:
        return hives.VERSIONS
    fitting = tuple(
        version
        for version in hives.VERSIONS
        if any(component_matches(one, version.product_name) for one in wanted)
    )
    if not fitting:
        known = ", ".join(sorted({version.product_name for version in hives.VERSIONS}))
        raise UnplayableError(incident, f"it is for {' or '.join(wanted)}, and a drill has only {known}")
    return fitting


def check_playable(machine: MachineOptions) -> None:
    """Plan all that is not ordinary on a machine's Windows volumes; raises UnplayableError."""
    fitting_versions(machine.incident)
    for order in range(2 if machine.two_windows else 1):
        tree = TreeOptions(
            seed=machine.seed,
            files=0,
            budget=0,
            incident=machine.incident,
            spared=machine.spared,
            variant=machine.variant + order,
            hibernated=False,
            hives={},
        )
        for _ in plan_volume(tree, dice(machine.seed, "playable")).files:
            pass


def simulated_windows(machine: MachineOptions, layout: Layout, order: int) -> hives.SimulatedWindows:
    """The machine's installation number `order`, from 0; raises UnplayableError."""
    required = machine.incident.requires
    return hives.SimulatedWindows(
        computer_name(machine, order),
        dice(machine.seed, machine.name, "version", order).choice(fitting_versions(machine.incident)),
        layout.guid,
        layout.of(Role.WINDOWS)[order],
        services=required.services or () if required else (),
    )


def _make_hives(windows: hives.SimulatedWindows, rng: random.Random, workdir: Path) -> dict[str, bytes]:
    trees = {
        "SYSTEM": hives.system_tree(windows),
        "SOFTWARE": hives.software_tree(windows),
        **hives.small_trees(rng),
    }
    written = moment("2024-07-18 17:00:00")
    return {
        name: make_hive(tree, file_name=_HIVE_FOLDER + name, written=written, workdir=workdir)
        for name, tree in trees.items()
    }


def _reserve(root: Path, rng: random.Random) -> None:
    prepare_reserved_files(root)
    # The day the volume was encrypted.
    times = written_once(rng, moment("2023-09-04 07:00:00"), moment("2023-09-04 07:30:00"))
    folder = root / FOLDER
    for path in (*(folder / name for name in RESERVED_FILES), folder):
        write_acl(path, ONLY_SYSTEM.descriptor(folder=path is folder))
        write_times(path, times)


def _budget(machine: MachineOptions, length: int) -> int:
    """Bytes that the ordinary files may have in all: half the volume, less what they cost besides."""
    budget = length // 2 - machine.files * _FILE_OVERHEAD
    if budget < machine.files * 256:
        raise UsageError(
            f"{machine.files} files do not fit on a volume of {length // 2**20} MiB",
            hint="give a larger --size or fewer --files",
        )
    return budget


def make_windows_volume(
    image: Path, machine: MachineOptions, layout: Layout, order: int, runner: Runner, workdir: Path
) -> VolumeTruth:
    """Make the file `image` the machine's Windows volume number `order`; not yet encrypted.

    Raises UsageError where the files do not fit or the fault cannot be played, and FailedError and OSError
    where a tool fails.
    """
    windows = simulated_windows(machine, layout, order)
    partition = windows.partition
    locked = bitlocker_settings(machine, layout, order)
    rng = dice(machine.seed, machine.name, "volume", order)
    tree = TreeOptions(
        seed=machine.seed,
        files=machine.files,
        budget=_budget(machine, partition.length),
        incident=machine.incident,
        spared=machine.spared,
        variant=machine.variant + order,
        hibernated=machine.hibernated,
        hives=_make_hives(windows, rng, workdir),
    )
    plan = plan_volume(tree, rng)
    ntfs.make_volume(
        image,
        length=partition.length,
        sector_size=layout.sector_size,
        first_sector=partition.offset // layout.sector_size,
        label="Windows",
        serial=rng.getrandbits(64),
        runner=runner,
    )
    root_times = ordinary_times(rng)
    with ntfs.mounted(image, workdir / "windows", runner) as root:
        if locked:
            # First of all, while the volume is empty: each must lie in one piece.
            _reserve(root, rng)
        faulty = ntfs.write_volume(root, plan)
        ntfs.finish_folders(root, plan, root_times)
    with ntfs.mounted(image, workdir / "windows", runner, read_only=True) as root:
        files = read_truth(root)
    if machine.dirty:
        states.mark_dirty(image)
    if machine.crashed:
        states.leave_journal_open(image)
    return VolumeTruth(
        partition.number,
        partition.offset,
        partition.length,
        windows.computer,
        locked.protector_id if locked else None,
        faulty,
        ("\\hiberfil.sys",) if machine.hibernated else (),
        files,
    )
