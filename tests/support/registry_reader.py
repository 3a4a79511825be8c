"""Opens a registry hive with regipy, which shares no code with hivex, which made it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from regipy.registry import RegistryHive


def open_hive(path: Path) -> Any:
    """The hive in a file."""
    return RegistryHive(str(path))  # type: ignore[no-untyped-call]
