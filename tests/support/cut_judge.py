"""Judges a disk after a cut of the power and one more run: repaired, or as before, and nothing else.

What a repair or an undo says is one thing; what lies on the disk is read here by readers of another make.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, BinaryIO

from support.ntfs_check import TornError, inconsistencies, is_marked_dirty
from support.ntfs_reader import read_independently
from support.truth_file import differences

from unbrick.drill.disk.truth import VolumeTruth

OpenVolume = Callable[[], AbstractContextManager[BinaryIO]]


@dataclass(frozen=True)
class Verdict:
    """What became of one state: in a word for the count, and what is wrong with it."""

    kind: str
    complaints: tuple[str, ...]


def judge_cut(open_volume: OpenVolume) -> list[str]:
    """What is wrong with a disk right after the cut: Windows must check one that contradicts itself.

    The flag itself is written to the file table, then to its mirror; Windows takes the former. Where the
    first record of all is torn, Windows checks without being told.
    """
    with open_volume() as volume, contextlib.suppress(TornError):
        found = [one for one in inconsistencies(volume) if not one.startswith("mirror")]
        return [f"not marked dirty, yet {one}" for one in found if not is_marked_dirty(volume)]
    return []


def judge(
    truth: VolumeTruth, open_volume: OpenVolume, said: dict[str, Any], *, undoing: bool, to_check: bool
) -> Verdict:
    """Weigh what `unbrick` said of a disk against what lies on it now: every file, and no contradiction.

    `to_check`: whether the volume has to be marked dirty. An undo that had come to its end before the cut
    leaves no run to undo.
    """
    status, reason = said["status"], said["reason"]
    ended = undoing and (status, reason) == ("needs-hands", "no-run")
    complaints = []
    if not ended and status not in (("undone",) if undoing else ("repaired", "healthy")):
        complaints.append(f"{status}: {said['error']}")
    with open_volume() as volume:
        try:
            dirty = is_marked_dirty(volume)
            complaints += [f"left so that {one}" for one in inconsistencies(volume)]
            complaints += differences(truth, read_independently(volume).values(), repaired=not undoing)
        except TornError as error:
            dirty = True
            complaints.append(f"the file table cannot be read: {error}")
    if dirty is not to_check:
        complaints.append(f"left {'dirty' if dirty else 'clean'}")
    kind = f"{status}{f' ({reason})' if reason else ''}, {'dirty' if dirty else 'clean'}"
    return Verdict(kind, tuple(complaints))
