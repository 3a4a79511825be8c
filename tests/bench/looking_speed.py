"""How long `unbrick scan` and `diagnose` of a clean image take beside another tree's: ratios from one run.

Not part of the tests: timings are measured here, never asserted there. Needs root and the other tree's `src`
folder, for instance of `git worktree add /tmp/before COMMIT`.

    .venv/bin/python tests/bench/looking_speed.py /tmp/before/src [--rounds N]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from unbrick.drill.fleet import make_fleet
from unbrick.drill.options import FleetOptions, ImageFormat, MachineOptions
from unbrick.processes.command import SystemRunner

OWN = Path(__file__).resolve().parents[2] / "src"
MIB = 1024 * 1024


def timed(source: Path, verb: str, image: Path) -> float:
    """Seconds that one tree's program takes to look at an image."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "unbrick", verb, str(image), "--json"],
        env={**os.environ, "PYTHONPATH": str(source)},
        stdout=subprocess.DEVNULL,
        check=False,  # 3 where something is found
    )
    return time.perf_counter() - started


def main() -> None:
    """Make one image of each format, run the pairs in turn, print one line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path, metavar="SRC")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="unbrick-bench-") as folder:
        machines = tuple(
            MachineOptions(
                kind.value.upper(), 11, kind.value.upper(), files=2000, size=512 * MIB, image_format=kind
            )
            for kind in (ImageFormat.RAW, ImageFormat.QCOW2, ImageFormat.VHDX, ImageFormat.VMDK)
        )
        fleet = make_fleet(Path(folder) / "fleet", FleetOptions(machines, 11), SystemRunner(), print)
        for machine in fleet.machines:
            for verb in ("scan", "diagnose"):
                for source in (arguments.before, OWN):
                    timed(source, verb, machine.disk)  # not counted: caches
                pairs = [
                    (timed(arguments.before, verb, machine.disk), timed(OWN, verb, machine.disk))
                    for _ in range(arguments.rounds)
                ]
                before, now = (statistics.median(column) for column in zip(*pairs, strict=True))
                ratio = statistics.median(b / a for a, b in pairs)
                print(
                    f"{verb:9} {machine.options.name:6} before {before:5.2f} s   now {now:5.2f} s   "
                    f"ratio {ratio:5.2f}"
                )


if __name__ == "__main__":
    main()
