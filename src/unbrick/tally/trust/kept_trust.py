"""Notices that the register of stations is an older copy: what was revoked since would be trusted again.

How often it was changed stands in the register and, outside it, in `tally.mark`. Where that file cannot be
written, a revocation lands all the same.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from unbrick.tally.books.acknowledged import MarkFile, Trust, read_trust

_MARK = "tally.mark"


def note_trust(register: Path, now: Trust, more: Trust) -> None:
    """Write down how far the register is, after it got so many changes more.

    Where it lacked changes before, as many are lacking afterwards.
    """
    mark = register.with_name(_MARK)
    if not more.changes or not mark.exists():
        return  # nothing new of whom to trust; or a tally that is being made
    with suppress(OSError):
        file = MarkFile(mark)
        try:
            with file.held():
                noted = file.read_trust()
                if noted is not None and noted.changes > now.changes - more.changes:
                    now = Trust(noted.changes + more.changes, noted.revocations + more.revocations)
                if noted is None or noted.changes < now.changes:
                    file.write_trust(now)
        finally:
            file.close()


def set_trust(register: Path, now: Trust) -> None:
    """Vouch for the register as it is; raises OSError."""
    file = MarkFile(register.with_name(_MARK))
    try:
        with file.held():
            noted = file.read_trust() or Trust()
            if (noted.changes, noted.revocations) != (now.changes, now.revocations):
                file.write_trust(now)
    finally:
        file.close()


def missing_trust(register: Path, now: Trust) -> Trust | None:
    """What the register lacks of what was written down; None where it has all of it."""
    noted = read_trust(register.with_name(_MARK))
    if noted is None or noted.changes <= now.changes:
        return None
    return Trust(noted.changes - now.changes, max(noted.revocations - now.revocations, 0))
