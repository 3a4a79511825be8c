"""What a session needs of a station file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StationStandIn:
    """The same fields as `station_file.Station`, as far as the network is concerned."""

    host: str
    port: int
    host_ca: str
    key: Path
    certificate: Path
