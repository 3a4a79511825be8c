"""What the build wrote into the medium about itself: `/etc/unbrick/medium.json`.

    {"id": "<16 hex digits>", "version": "0.1.0", "built": "2026-11-25T17:00:00Z",
     "expires": "2027-11-25T17:00:00Z", "site_key": "ssh-ed25519 …"}

It lies in the initramfs, so it is as trustworthy as the program that reads it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unbrick.errors import FailedError

MEDIUM_FILE = Path("/etc/unbrick/medium.json")
_MOST_BYTES = 64 * 1024
_ID = re.compile(r"[0-9a-f]{16}")
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_HINT = "make the medium again: unbrick media build"


@dataclass(frozen=True)
class MediumFacts:
    """A medium: its id, and between which times a machine's clock is believed. `site_key` signs settings."""

    id: str
    version: str
    built: datetime
    expires: datetime
    site_key: str | None


def read_medium_facts(path: Path = MEDIUM_FILE) -> MediumFacts:
    """What the medium says of itself; raises FailedError."""
    try:
        with path.open("rb") as stream:
            document = json.loads(stream.read(_MOST_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise FailedError(f"{path}: the medium does not say what it is", hint=_HINT) from error
    if not isinstance(document, dict) or not _ID.fullmatch(str(document.get("id"))):
        raise FailedError(f"{path}: the medium has no id", hint=_HINT)
    built, expires = _moment(path, document, "built"), _moment(path, document, "expires")
    if not built < expires:
        raise FailedError(f"{path}: the medium expires before it was built", hint=_HINT)
    site_key = document.get("site_key")
    return MediumFacts(
        id=document["id"],
        version=str(document.get("version", "")),
        built=built,
        expires=expires,
        site_key=site_key if isinstance(site_key, str) and site_key else None,
    )


def _moment(path: Path, document: dict[str, Any], key: str) -> datetime:
    text = document.get(key)
    try:
        if not isinstance(text, str) or not _MOMENT.fullmatch(text):
            raise ValueError
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise FailedError(f"{path}: {key} is no time", hint=_HINT) from error
