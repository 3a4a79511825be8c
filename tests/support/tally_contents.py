"""What a tally has added up, for comparing two that got the same in other orders."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from unbrick.tally.books.clock import MICROSECONDS_A_MINUTE

_TABLES = ("runs", "machines", "machine_names", "contradictions", "counters", "minutes", "totals")
_LATELY = 1_750_000_000_000_000


def contents(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All that was added up, without what only says in which order it came, or when a person spoke."""
    found = {}
    with closing(sqlite3.connect(path)) as reader:
        for table in _TABLES:
            columns = [row[1] for row in reader.execute(f"pragma table_info({table})")]
            told = ", ".join(
                one
                for one in columns
                if one not in {"first", "first_received", "bears", "most"} and not one.endswith("_number")
            )
            rows = [tuple(map(_timeless, row)) for row in reader.execute(f"select {told} from {table}")]
            found[table] = sorted(rows, key=repr)
    found["minutes"] = [row for row in found["minutes"] if row[0] < _LATELY // MICROSECONDS_A_MINUTE]
    return found


def _timeless(value: Any) -> Any:
    return "now" if isinstance(value, int) and value > _LATELY else value
