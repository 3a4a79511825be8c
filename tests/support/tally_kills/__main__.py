"""`PYTHONPATH=tests .venv/bin/python -m support.tally_kills --rounds N`."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from support.tally_kills.rounds import campaign


def main() -> None:
    """Run so many kills and print what came of them."""
    parser = argparse.ArgumentParser(
        prog="support.tally_kills", description="Kill a tally under load, harm its files."
    )
    parser.add_argument("--rounds", type=int, default=100, help="How many kills.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="On which disk; without it where temporary files go.")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tally-kills-", dir=given.folder))
    try:
        counted, seconds = campaign(folder, given.rounds, given.seed)
    except AssertionError:
        print(f"what was broken lies in {folder}")
        raise
    shutil.rmtree(folder)
    for what, number in sorted(counted.items()):
        print(f"{number:>8,}  {what}")
    print(f"{given.rounds} rounds in {seconds:.0f} s; every loss was said, and no other happened")


if __name__ == "__main__":
    main()
