"""The id of one run: when it began by this computer's clock, and some chance."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime

_RUN = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{6}")


def new_run_id() -> str:
    """A fresh id such as `20240719T061203Z-8f3a1c`: by our clock, and never twice."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def is_run_id(text: str) -> bool:
    """Whether a text is an id that `new_run_id` could have made."""
    return _RUN.fullmatch(text) is not None
