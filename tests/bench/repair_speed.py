"""How long `unbrick repair` takes beside the bare shell sequence and beside guestfish: ratios from one run.

Not part of the tests: timings are measured here, never asserted there. Needs root and, for the guestfish
row, Debian's guestfish and a kernel for its appliance (`apt install guestfish linux-image-amd64`).

    .venv/bin/python tests/bench/repair_speed.py [--rounds N] [--guestfish-rounds N]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from unbrick.drill.disk.partition import plan_layout
from unbrick.drill.disk.windows_volume import bitlocker_settings
from unbrick.drill.fleet import Fleet, make_fleet
from unbrick.drill.options import Encryption, FleetOptions, MachineOptions
from unbrick.processes.command import SystemRunner

UNBRICK = Path(sys.executable).with_name("unbrick")
FAULTY = "Windows/System32/drivers/CrowdStrike/C-00000291*.sys"

SHELL_PLAIN = """
set -e
loop=$(losetup --find --show --offset "$OFFSET" --sizelimit "$LENGTH" "$DISK")
ntfs-3g "$loop" "$ROOT"
rm "$ROOT"/$FAULTY
umount "$ROOT"
losetup --detach "$loop"
sync "$DISK"
"""
SHELL_BITLOCKER = """
set -e
dislocker -q -O "$OFFSET" -V "$DISK" "-p$PASSWORD" -- "$OPEN" >/dev/null
ntfs-3g "$OPEN/dislocker-file" "$ROOT"
rm "$ROOT"/$FAULTY
umount "$ROOT"
umount "$OPEN"
sync "$DISK"
"""
GUESTFISH = 'guestfish --rw --format=raw -a "$DISK" run : mount "/dev/sda$PARTITION" / : glob rm "/$FAULTY"'


@dataclass(frozen=True)
class Case:
    """One disk to repair over and over: `pristine` is copied before each run, outside the clock."""

    name: str
    pristine: Path
    partition: int
    offset: int
    length: int
    password: str


def make_cases(work: Path) -> tuple[Fleet, dict[str, Case]]:
    """A plain and a BitLocker disk with one faulty file each."""
    machines = tuple(
        MachineOptions(name, 11, name, files=2000, size=512 * 1024 * 1024, encryption=encryption)
        for name, encryption in (("PLAIN", Encryption.NONE), ("BITLOCKER", Encryption.XTS_128))
    )
    fleet = make_fleet(work / "fleet", FleetOptions(machines, 11), SystemRunner(), print)
    cases = {}
    for machine in fleet.machines:
        volume = machine.volumes[0]
        key = _key(machine.options)
        cases[machine.options.name] = Case(
            machine.options.name, machine.disk, volume.partition, volume.offset, volume.length, key
        )
    return fleet, cases


def _key(machine: MachineOptions) -> str:
    locked = bitlocker_settings(machine, plan_layout(machine), 0)
    return locked.recovery_password.reveal().decode() if locked else ""


def timed(case: Case, work: Path, act: Callable[[Path], None]) -> float:
    """Seconds that `act` takes on a fresh copy of the case's disk."""
    disk = work / "disk.img"
    subprocess.run(["cp", "--sparse=always", str(case.pristine), str(disk)], check=True)
    os.sync()
    started = time.perf_counter()
    act(disk)
    seconds = time.perf_counter() - started
    disk.unlink()
    return seconds


def shell(script: str, case: Case, work: Path) -> Callable[[Path], None]:
    """A shell script as something to time, with what it needs in its environment."""
    for name in ("root", "open"):
        (work / name).mkdir(exist_ok=True)
    environment = os.environ | {
        "OFFSET": str(case.offset),
        "LENGTH": str(case.length),
        "PARTITION": str(case.partition),
        "PASSWORD": case.password,
        "ROOT": str(work / "root"),
        "OPEN": str(work / "open"),
        "FAULTY": FAULTY,
        # A /dev/kvm that is there but does not work would hang the appliance.
        "LIBGUESTFS_BACKEND": "direct",
        "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg",
    }

    def act(disk: Path) -> None:
        subprocess.run(["bash", "-c", script], env=environment | {"DISK": str(disk)}, check=True)

    return act


def unbrick(fleet: Fleet) -> Callable[[Path], None]:
    """`unbrick repair` as something to time."""

    def act(disk: Path) -> None:
        command = [str(UNBRICK), "repair", str(disk), "--keys", str(fleet.keys), "--yes", "--json"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    return act


def compare(
    title: str,
    case: Case,
    ours: Callable[[Path], None],
    theirs: Callable[[Path], None],
    rounds: int,
    work: Path,
) -> None:
    """Run both in turn on copies of one disk and print medians, difference and ratio."""
    for act in (ours, theirs):
        timed(case, work, act)  # not counted: caches, the appliance
    pairs = [(timed(case, work, ours), timed(case, work, theirs)) for _ in range(rounds)]
    own, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(
        f"{title:44} unbrick {own:6.2f} s   other {other:6.2f} s   "
        f"difference {own - other:+6.2f} s   ratio {ratio:5.2f}"
    )


def main() -> None:
    """Make the disks, run the pairs, print one line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--guestfish-rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="unbrick-bench-") as folder:
        work = Path(folder)
        fleet, cases = make_cases(work)
        ours = unbrick(fleet)
        plain, bitlocker = cases["PLAIN"], cases["BITLOCKER"]
        compare(
            "plain, beside the shell", plain, ours, shell(SHELL_PLAIN, plain, work), arguments.rounds, work
        )
        compare(
            "BitLocker, beside the shell with dislocker",
            bitlocker,
            ours,
            shell(SHELL_BITLOCKER, bitlocker, work),
            arguments.rounds,
            work,
        )
        if shutil.which("guestfish") is None:
            print("plain, beside guestfish: guestfish is not installed, not measured")
        elif arguments.guestfish_rounds:
            act = shell(GUESTFISH, plain, work)
            compare("plain, beside guestfish", plain, ours, act, arguments.guestfish_rounds, work)


if __name__ == "__main__":
    main()
