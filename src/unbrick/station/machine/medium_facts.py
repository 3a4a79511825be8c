"""What the build wrote into the medium about itself: `/etc/unbrick/medium.json`.

    {"id": "<16 hex digits>", "version": "0.1.0", "built": "2026-11-25T17:00:00Z",
     "expires": "2027-11-25T17:00:00Z", "site_key": "ssh-ed25519 …"}

It is in the initramfs, as trustworthy as the program that reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from unbrick.errors import FailedError, UsageError
from unbrick.files import read_small_file
from unbrick.settings.strict import Form, Shape, read_json

MEDIUM_FILE = Path("/etc/unbrick/medium.json")
_HINT = "make the medium again: unbrick media build"
_FORM = Form("a medium", _HINT)


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


_Text = Annotated[str, Shape("a text", longest=1000)]
_Id = Annotated[str, Shape("an id of 16 hex digits", r"^[0-9a-f]{16}$")]
_Moment = Annotated[
    datetime,
    Shape(
        "a time such as 2026-11-25T17:00:00Z",
        r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$",
        read=_moment,
    ),
]


@dataclass(frozen=True)
class MediumFacts:
    """A medium: its id, and between which times a machine's clock is believed. `site_key` signs settings."""

    id: _Id
    version: _Text
    built: _Moment
    expires: _Moment
    site_key: _Text | None = None

    def faults(self) -> Iterator[tuple[str, str]]:
        if not self.built < self.expires:
            yield "expires", "a time after that of built"


def read_medium_facts(path: Path = MEDIUM_FILE) -> MediumFacts:
    """What the medium says of itself; raises FailedError."""
    try:
        return read_json(MediumFacts, read_small_file(path), str(path), _FORM)
    except UsageError as error:
        raise FailedError(error.message, hint=_HINT) from error
