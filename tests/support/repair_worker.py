"""A program for the tests of power cuts: repairs or undoes disk after disk without starting Python anew.

Reads lines `{"goal": …, "disk": …, "keys": […], "options": {…}}` and answers each with the document that
`--json` prints. A process of its own because the work needs one with a single thread.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unbrick.cli.disk_work import open_keys
from unbrick.recovery_isolated import recover_isolated
from unbrick.recovery_order import Goal, Order


class RepairWorker:
    """The test's side of it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def work(self, goal: Goal, disk: Path, keys: Path | None, **options: bool) -> dict[str, Any]:
        """What `unbrick GOAL DISK --keys KEYS --yes --json` says, and the notes for a person.

        `options`: `dry_run`, `reset_log`, `discard_hibernation`, as an `Order` has them.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {
            "goal": goal.value,
            "disk": str(disk),
            "keys": [str(keys)] if keys else [],
            "options": options,
        }
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the worker died: its last words are on stderr"
        from support.contract_schema import check_document  # the worker itself does not find it

        document: dict[str, Any] = json.loads(answer)
        check_document({key: value for key, value in document.items() if key != "notes"})
        return document


@contextmanager
def repair_worker() -> Iterator[RepairWorker]:
    """A worker while the context lasts."""
    argv = [sys.executable, __file__]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield RepairWorker(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 0


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        order = Order(Path(asked["disk"]), Goal(asked["goal"]), **asked["options"])
        report = recover_isolated(order, open_keys(asked["keys"], ask_person=False))
        print(json.dumps({**report.to_document(), "notes": report.notes}), flush=True)


if __name__ == "__main__":
    main()
