"""Judges a disk after a cut of the power and one more run: is it right, or is what is said of it true?

What a repair or an undo says is one thing; what lies on the disk is read here by readers of another make.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, BinaryIO

from support.ntfs_check import TornError, contents_by_name, inconsistencies, is_marked_dirty
from support.ntfs_reader import read_independently

from unbrick.drill.truth import FileTruth, VolumeTruth, differences

OpenVolume = Callable[[], AbstractContextManager[BinaryIO]]

_HONEST = ("damaged-volume", "unreadable-file")
_NOT_CHECKED = "making the quarantine"
"""Where ntfs-3g may stumble over the index of access rights, which `inconsistencies` does not look into."""
_FORMER_NAME = "former name that its folder no longer lists"
_ONLY_WINDOWS_CAN = ("short_name was", "links was")


@dataclass(frozen=True)
class Verdict:
    """What became of one state: in a word for the count, and what is wrong with it."""

    kind: str
    complaints: tuple[str, ...]


def judge(truth: VolumeTruth, open_volume: OpenVolume, said: dict[str, Any], *, undoing: bool) -> Verdict:
    """Weigh what `unbrick` said of a disk against what lies on it now.

    A volume that is left clean must be right in every respect. One that is left dirty may hold records that
    contradict each other, and every file's name and bytes. `needs-hands` may be said of such a one only.
    """
    with open_volume() as volume:
        found = inconsistencies(volume)
        dirty = _is_dirty(volume)
        complaints = _lost(truth, volume, found)
        status, reason = said["status"], said["reason"]
        torn = any(one.startswith("torn") for one in found)
        if status == "needs-hands":
            ended = undoing and reason == "no-run"
            if reason not in _HONEST and not ended:
                complaints.append(f"needs hands for {reason}: {said['error']}")
            if not dirty and not ended:
                complaints.append("left to Windows, yet not marked dirty")
            if not found and not ended and _NOT_CHECKED not in said["error"]:
                complaints.append(f"left to Windows, yet nothing contradicts itself: {said['error']}")
        elif status not in (("undone",) if undoing else ("repaired", "healthy")):
            complaints.append(f"{status}: {said['error']}")
        elif dirty:
            complaints += _wrong_but_for_names(truth, volume, repaired=not undoing)
        else:
            complaints += differences(truth, _everything(volume), repaired=not undoing)
            complaints += _unsaid(truth, found, said)
    kind = f"{status}{f' ({reason})' if reason else ''}, {'dirty' if dirty else 'clean'}"
    return Verdict(kind + (", torn" if torn else ""), tuple(complaints))


def _is_dirty(volume: BinaryIO) -> bool:
    """A table of which not even the first records can be read is for Windows to check anyway."""
    try:
        return is_marked_dirty(volume)
    except TornError:
        return True


def _lost(truth: VolumeTruth, volume: BinaryIO, found: Iterable[str]) -> list[str]:
    """Files whose name and bytes are nowhere any more, and faulty files whose bytes are not.

    Of a record that was torn in two nobody can say which file's it was; then all but that one are looked for.
    """
    try:
        have = [(name, hashlib.sha256(content).hexdigest()) for name, content in contents_by_name(volume)]
    except TornError:
        return []
    names, digests = set(have), {digest for _, digest in have}
    lost = [
        f"{file.path} is lost"
        for file in truth.files
        if file.kind == "file"
        and file.path not in truth.may_change
        and (file.sha256 not in digests if file.path in truth.faulty else _name_of(file) not in names)
    ]
    torn_records = sum(one.startswith("torn: record") for one in found)
    return lost if len(lost) > torn_records else []


def _name_of(file: FileTruth) -> tuple[str, str | None]:
    return file.path.rpartition("\\")[2], file.sha256


def _everything(volume: BinaryIO) -> Iterable[FileTruth]:
    return read_independently(volume).values()


def _wrong_but_for_names(truth: VolumeTruth, volume: BinaryIO, *, repaired: bool) -> list[str]:
    """What is wrong beyond folders of ours and, on a faulty file, names that only Windows can put right."""
    try:
        entries = list(_everything(volume))
    except Exception:  # dissect gives up in many ways on a name that leads nowhere
        return []
    return [
        one
        for one in differences(truth, entries, repaired=repaired)
        if not one.startswith("\\Unbrick.")
        and not (one.startswith(truth.faulty) and any(word in one for word in _ONLY_WINDOWS_CAN))
    ]


def _unsaid(truth: VolumeTruth, found: Iterable[str], said: dict[str, Any]) -> list[str]:
    """On a volume left clean: every contradiction but a former name, when that is told to a person."""
    told = any(_FORMER_NAME in note for note in said["notes"])
    former = {name for file in truth.files if file.path in truth.faulty for name in _names(file)}
    allowed = tuple(f"unlisted: {name} of file" for name in former) if told else ()
    return [
        f"left clean, yet {one}"
        for one in found
        if not (allowed and one.startswith(allowed))
        and not (one.startswith("mirror") and said["status"] in ("healthy", "needs-hands"))
    ]


def _names(file: FileTruth) -> tuple[str, ...]:
    long_name = file.path.rpartition("\\")[2]
    return (long_name, file.short_name) if file.short_name else (long_name,)
