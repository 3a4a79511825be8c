"""The id of one run: when it began by this computer's clock, and some chance."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime

RUN_ID = r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{6}"
_RUN = re.compile(RUN_ID)
_TIME = "%Y%m%dT%H%M%SZ"
_TIME_LENGTH = 16


def new_run_id() -> str:
    """A fresh id such as `20240719T061203Z-8f3a1c`: by our clock, and never twice."""
    return f"{datetime.now(UTC):{_TIME}}-{secrets.token_hex(3)}"


def is_run_id(text: str) -> bool:
    return _RUN.fullmatch(text) is not None


def order_of(run: str, begun: int) -> tuple[str, int, str]:
    """What runs are sorted by: the second that an id begins with, then when the run began on its volume.

    The rest of an id is chance.
    """
    return run.partition("-")[0], begun, run


def moment_of_run(run: str) -> datetime:
    """When a run began by its id, to the second; raises ValueError where there is no such time."""
    return datetime.strptime(run[:_TIME_LENGTH], _TIME).replace(tzinfo=UTC)


def begun_at(run: str, moment: datetime) -> str:
    """The id of the same run, had it begun at that moment."""
    return f"{moment:{_TIME}}{run[_TIME_LENGTH:]}"
