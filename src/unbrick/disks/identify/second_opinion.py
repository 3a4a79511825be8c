"""Asks util-linux (`wipefs`, `blkid`) what it recognises: it knows more formats than unbrick's own checks."""

from __future__ import annotations

from pathlib import Path

from unbrick.disks.identify.members import Member
from unbrick.errors import FailedError, Reason
from unbrick.model import VolumeKind
from unbrick.processes.command import CommandError, Runner
from unbrick.settings.strict import parse_json

_SECONDS = 60.0
_BLKID_NOTHING, _BLKID_AMBIVALENT = 2, 8
# Replicated like a mirror: writing one side behind the driver's back has the same effect.
_LIKE_RAID = frozenset({"drbd"})
_FOREIGN = {"crypto_LUKS": "luks", "cs_fvault2": "filevault"}


def list_members(raw: Path, runner: Runner) -> list[Member]:
    """What the signatures on a whole disk forbid. Raises FailedError where the disk or the answer is bad."""
    try:
        result = runner.run(["wipefs", "--no-act", "--json", str(raw)], timeout=_SECONDS)
    except CommandError as error:
        raise FailedError(
            f"{raw} cannot be read to its end",
            hint="the disk may be failing: copy it with ddrescue before anything else",
            reason=Reason.UNREADABLE_DISK,
        ) from error
    if not result.stdout.strip():
        return []
    try:
        found = parse_json(result.stdout)["signatures"]
        members = [as_member(str(one["type"]), int(one["offset"], 16)) for one in found]
    except (ValueError, KeyError, TypeError) as error:
        raise FailedError(
            f"wipefs gave an answer about {raw} that makes no sense",
            hint=f"try it by hand: wipefs --no-act --json {raw}",
            reason=Reason.PROGRAM_FAILED,
        ) from error
    return [member for member in members if member is not None]


def name_volume(raw: Path, offset: int, length: int, runner: Runner) -> str | None:
    """The format of the bytes at `offset`, in util-linux's word; None where it knows none."""
    argv = ["blkid", "--probe", "--offset", str(offset), "--size", str(length), "-o", "export", str(raw)]
    result = runner.run(argv, timeout=_SECONDS, ok=(0, _BLKID_NOTHING, _BLKID_AMBIVALENT))
    for line in result.stdout.decode(errors="replace").splitlines():
        name, _, value = line.partition("=")
        if name == "TYPE":
            return value
    return None


def as_member(word: str, offset: int) -> Member | None:
    """What a signature forbids, by util-linux's word for it; None where it forbids nothing."""
    if word.endswith("_raid_member") or word in _LIKE_RAID:
        text = f"a member of a RAID ({word.removesuffix('_raid_member')})"
        return Member(VolumeKind.RAID_MEMBER, Reason.RAID_MEMBER, text, offset)
    if word in _FOREIGN:
        reason = f"{Reason.FOREIGN_ENCRYPTION}:{_FOREIGN[word]}"
        return Member(VolumeKind.FOREIGN_ENCRYPTION, reason, f"encrypted ({word})", offset)
    return None
