"""A program for the tests of power cuts: repairs or undoes disk after disk without starting Python anew.

Reads lines `{"goal": …, "disk": …, "keys": […], "options": {…}}` and answers each with the document that
`--json` prints. A process of its own because the work needs one with a single thread.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unbrick.cli.options.disk_work import open_keys
from unbrick.disks.change.rehearsal import Rehearsed
from unbrick.disks.ntfs.structures import FileView
from unbrick.disks.plain import PlainVolume
from unbrick.recovery.case import Goal, Order
from unbrick.recovery.isolated import recover_isolated
from unbrick.repair.actions.kinds import KINDS


class RepairWorker:
    """The test's side of it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def work(
        self,
        goal: Goal,
        disk: Path,
        keys: Path | None,
        *,
        run: str | None = None,
        dies_at: int = 0,
        **options: bool,
    ) -> dict[str, Any]:
        """What `unbrick GOAL DISK --keys KEYS --yes --json` says, and the notes for a person.

        `run` and `options`: `dry_run`, `reset_log`, `discard_hibernation`, as an `Order` has them. `dies_at`:
        the process at work is killed in that write to the disk, of which some sectors are written.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {
            "goal": goal.value,
            "disk": str(disk),
            "keys": [str(keys)] if keys else [],
            "options": {"run": run, **options},
            "dies_at": dies_at,
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
def repair_worker(*kinds: str) -> Iterator[RepairWorker]:
    """A worker while the context lasts; `kinds`: kinds of action that it has besides, as `module:class`."""
    argv = [sys.executable, __file__, *kinds]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield RepairWorker(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 0


@contextmanager
def _dying_at(count: int) -> Iterator[None]:
    """Kill the process that brings a change to the disk, in the write of that number; 0 lets it live."""
    bring, write = Rehearsed.bring, FileView.write
    if count:
        Rehearsed.bring = _deadly(bring, write, count)  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        Rehearsed.bring = bring  # type: ignore[method-assign]


def _deadly(
    bring: Callable[[Rehearsed, PlainVolume], None], write: Callable[[FileView, int, bytes], None], left: int
) -> Callable[[Rehearsed, PlainVolume], None]:
    def die(view: FileView, offset: int, data: bytes) -> None:
        nonlocal left
        left -= 1
        if left:
            write(view, offset, data)
            return
        write(view, offset, data[: len(data) // 1024 * 512])
        os._exit(
            128 + signal.SIGKILL
        )  # as the first of its namespace it cannot be sent the signal from inside

    def brought(rehearsed: Rehearsed, plain: PlainVolume) -> None:
        # This process brings one change, and ends.
        FileView.write = die  # type: ignore[assignment,method-assign]
        bring(rehearsed, plain)

    return brought


def main() -> None:
    for module, _, kind in (name.partition(":") for name in sys.argv[1:]):
        added = getattr(importlib.import_module(module), kind)
        KINDS[added.KIND] = added
    for line in sys.stdin:
        asked = json.loads(line)
        order = Order(Path(asked["disk"]), Goal(asked["goal"]), **asked["options"])
        with _dying_at(asked["dies_at"]):
            report = recover_isolated(order, open_keys(asked["keys"], ask_person=False))
        print(json.dumps({**report.to_document(), "notes": report.notes}), flush=True)


if __name__ == "__main__":
    main()
