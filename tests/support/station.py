"""What a session needs of a station file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StationStandIn:
    """The same fields as `station_file.Tally`."""

    host: str
    port: int
    host_ca: str
    key: Path
    certificate: Path
    others: tuple[tuple[str, int], ...] = ()
    renewed: Path | None = None
