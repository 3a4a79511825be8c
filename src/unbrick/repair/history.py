"""What the journals of a volume say of earlier repairs: when the last one was, and by which medium.

Only looks, and only for a sentence to a person: nothing is decided by it.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import unbrick
from unbrick.errors import UnbrickError
from unbrick.model import EarlierRepair
from unbrick.repair.record import RunState
from unbrick.repair.undo import find_runs

_PROGRAM = re.compile(r"\S+ medium ([0-9a-f]{16})")


def program_name(medium: str | None) -> str:
    """What a journal says that wrote it: our version, and the medium's id (16 hexadecimal digits) if any."""
    return f"{unbrick.__version__} medium {medium}" if medium else unbrick.__version__


def find_last_repair(root: Path) -> EarlierRepair | None:
    """The newest repair of a volume that was not taken back; None where there is none, or none to believe."""
    with suppress(UnbrickError, OSError):
        for recorded in find_runs(root):
            if recorded.state is RunState.REPAIRED:
                header = recorded.header
                match = _PROGRAM.fullmatch(header.program)
                return EarlierRepair(header.run, header.begun, match[1] if match else None)
    return None
