"""A campaign by hand, as long as one likes: what each run said, what is wrong, and the count at the end."""

from __future__ import annotations

import argparse
import collections
import tempfile
import time
from pathlib import Path

from support.damage.bases import SHAPES
from support.damage.kinds import KINDS
from support.damage.plan import plan_run
from support.damage.report import shown
from support.damage.run import Campaign
from support.repair_worker import repair_worker


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m support.damage", description=__doc__)
    parser.add_argument("--seeds", default="1-100", help="a number, or a range: 1-2000")
    parser.add_argument("--base", choices=SHAPES, help="always this volume")
    parser.add_argument("--only", default="", help=f"kinds of damage that begin so: {', '.join(KINDS)}")
    parser.add_argument("--all", action="store_true", help="show the runs that went well, too")
    asked = parser.parse_args()
    first, _, last = asked.seeds.partition("-")
    kinds: collections.Counter[str] = collections.Counter()
    started, wrong = time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="damage-") as folder, repair_worker() as worker:
        campaign = Campaign(Path(folder), worker)
        for seed in range(int(first), int(last or first) + 1):
            outcome = campaign.run(plan_run(seed, base=asked.base, only=asked.only))
            kinds[outcome.kind] += 1
            wrong += bool(outcome.wrong)
            if sum(kinds.values()) % 100 == 0:
                print(f"{sum(kinds.values())} runs, {wrong} of them wrong", flush=True)
            if outcome.wrong or asked.all:
                print(shown(outcome), flush=True)
    count = sum(kinds.values())
    print(f"{count} runs, {wrong} of them wrong, in {time.monotonic() - started:.0f} s")
    for kind, number in kinds.most_common():
        print(f"{number:6}  {kind}")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
