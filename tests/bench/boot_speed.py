"""How long a machine takes from the firmware's hand-off to `repaired`, beside a stock Debian live image.

One run, the same virtual machine for all: emulated (TCG), Secure Boot on, a USB stick. The stock image is
Debian with systemd, squashfs and the same packages, to its login prompt. Not part of the tests: timings are
measured here, never asserted there. Needs root, scripts/setup --development, squashfs-tools.

    .venv/bin/python tests/bench/boot_speed.py [--rounds N] [--stock STOCK.ISO] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.stock_live_image import build_stock_image
from support.boot_machine import FIRST, MEDIUM_ENTRY, BootDisk, Machine, boot_disk, make_machine, stick
from support.boot_medium import Medium, build_medium
from support.drilled import Drills
from support.host_tally import HostTally
from support.machine_hands import WatchedMachine

from unbrick.drill.machine.shape import Bus, Network

_LIMIT_SECONDS = 600.0
_WANTED_RATIO = 0.45
_HAND_OFF = f"starting Boot{MEDIUM_ENTRY:04X}"
_LOGIN = "Debian GNU/Linux 13"  # the line above the prompt, which itself has no end
_STEPS = (
    ("firmware hands over", _HAND_OFF),
    ("first program", "unbrick: first program started"),
    ("station", "unbrick: station started"),
    ("repaired", "status=repaired"),
    ("reported", "unbrick: report sent"),
    ("restarting", "unbrick: restarting into Windows"),
    ("Windows (stand-in)", "stand-in: Windows started"),
)
_UNLOCKING = ("unbrick: step unlock", "unbrick: step find-windows")


@dataclass(frozen=True)
class Boot:
    """One machine's way: seconds since the hand-off by the step's name, and its most memory in bytes."""

    steps: dict[str, float]
    memory: int
    stretch: float | None = None


def watch(machine: Machine, steps: Sequence[tuple[str, str]], until: str | None = None) -> Boot:
    """Switch it on, until it says `until` if need be again, and take the time of each step."""
    with machine.on(until=until) as running:
        began = running.wait_for(steps[0][1], seconds=_LIMIT_SECONDS).at
        times = {steps[0][0]: 0.0}
        for name, text in steps[1:]:
            times[name] = running.wait_for(text, seconds=_LIMIT_SECONDS).at - began
        return Boot(times, _peak_memory(), _stretch(running))


def _stretch(running: WatchedMachine) -> float | None:
    """The seconds that a recovery password's stretching took, as far as the machine told of it."""
    first, last = (
        next((line.at for line in running.serial.lines if text in line.text), None) for text in _UNLOCKING
    )
    return last - first if first is not None and last is not None else None


def _peak_memory() -> int:
    """The most that the only virtual machine among our children has had in the host's memory."""
    for children in Path("/proc/self/task").glob("*/children"):
        for child in children.read_text().split():
            status = Path("/proc", child, "status").read_text()
            if status.startswith("Name:\tqemu"):
                (line,) = (one for one in status.splitlines() if one.startswith("VmHWM:"))
                return int(line.split()[1]) * 1024
    return 0


@dataclass(frozen=True)
class Place:
    """Where everything of this run is."""

    folder: Path
    medium: Medium
    drills: Drills

    def ours(self, kind: str, bus: Bus, round_number: int) -> Boot:
        """Our medium on a drill disk of that kind, with a tally, up to Windows."""
        folder = self.folder / f"{kind}-{round_number}"
        folder.mkdir()
        disk = boot_disk(self.drills, kind, folder, self.medium.loader)
        tally = HostTally(folder / "tally")
        settings = tally.settings(folder / "settings", keys=disk.drilled.keys)
        image = self.medium.with_settings(settings, folder / "own.iso")
        with tally.served():
            return watch(self._machine(folder / "machine", disk, bus, image), _STEPS, FIRST)

    def stock(self, image: Path, round_number: int) -> Boot:
        """The stock image in the same machine, to its login prompt."""
        folder = self.folder / f"stock-{round_number}"
        folder.mkdir()
        disk = boot_disk(self.drills, "plain", folder, self.medium.loader)
        machine = self._machine(folder / "machine", disk, Bus.AHCI, image)
        return watch(machine, (("firmware hands over", _HAND_OFF), ("login prompt", _LOGIN)))

    def _machine(self, folder: Path, disk: BootDisk, bus: Bus, image: Path) -> Machine:
        return make_machine(folder, [(disk, bus)], medium=stick(image), network=Network())


def table(name: str, boots: Sequence[Boot]) -> None:
    """Where the seconds go: the median of the rounds, from the hand-off and from the step before."""
    print(f"\n{name}")
    print(f"  {'step':28} {'at':>8} {'took':>8}")
    last = 0.0
    for step in boots[0].steps:
        at = statistics.median(boot.steps[step] for boot in boots)
        print(f"  {step:28} {at:6.1f} s {at - last:6.1f} s")
        last = at
    print(f"  peak memory of the virtual machine: {max(boot.memory for boot in boots) / 2**20:.0f} MiB")


def build_time(medium: Medium, folder: Path) -> float:
    """Seconds that a build takes with nothing in the cache."""
    began = time.monotonic()
    arguments = ["media", "build", "--out", str(folder / "again.iso"), "--site-key", str(medium.site_key)]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "XDG_CACHE_HOME": str(folder / "empty-cache")}
    subprocess.run([sys.executable, "-m", "unbrick", *arguments], check=True, env=environment, timeout=1800)
    return time.monotonic() - began


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--stock", type=Path, help="a stock image that was built before")
    parser.add_argument("--keep", type=Path, help="a new folder for everything, left in the end")
    parser.add_argument("--build", action="store_true", help="measure a build without a cache, too")
    options = parser.parse_args()
    with _folder(options.keep) as folder:
        place = Place(folder, build_medium(folder / "medium"), Drills(folder / "drilled"))
        stock = options.stock or folder / "stock.iso"
        if not stock.exists():
            build_stock_image(stock, folder / "stock")
        rounds = range(options.rounds)
        plain = [place.ours("plain", Bus.AHCI, number) for number in rounds]
        locked = [place.ours("xts-128", Bus.NVME, number) for number in rounds]
        live = [place.stock(stock, number) for number in rounds]
        table("unbrick, plain disk", plain)
        table("unbrick, BitLocker", locked)
        table("stock Debian live image", live)
        _compare(plain, locked, live)
        for name, image in (("unbrick", place.medium.image), ("stock", stock)):
            print(f"image, {name}: {image.stat().st_size / 2**20:.0f} MiB")
        if options.build:
            print(f"build without a cache: {build_time(place.medium, folder):.0f} s")


def _compare(plain: Sequence[Boot], locked: Sequence[Boot], live: Sequence[Boot]) -> None:
    prompt = statistics.median(boot.steps["login prompt"] for boot in live)
    repaired = statistics.median(boot.steps["repaired"] for boot in plain)
    unlocked = statistics.median(boot.steps["repaired"] for boot in locked)
    stretches = [boot.stretch for boot in locked if boot.stretch is not None]
    stretch = statistics.median(stretches) if stretches else 0.0
    print(f"\nplain: {repaired / prompt:.2f} × the stock image's login prompt (wanted: ≤ {_WANTED_RATIO})")
    print(f"BitLocker: {unlocked / prompt:.2f} ×; without the key stretch ({stretch:.1f} s): ", end="")
    print(f"{(unlocked - stretch) / prompt:.2f} ×")


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True)
        yield keep.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="unbrick-bench-") as name:
        yield Path(name)


if __name__ == "__main__":
    main()
