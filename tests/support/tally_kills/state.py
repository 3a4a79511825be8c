"""What lies in a tally's folder for SQLite alone, looked at in a copy; and what its mark says."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import tempfile
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SLOTS = (0, 4096)
_COLUMNS = "id, run, sequence, station, at, data, signature"


@dataclass(frozen=True)
class State:
    """`ids` of the whole reports; `rows` all that was told of them; `is_sound`: nothing at all is wrong."""

    ids: frozenset[str] = frozenset()
    rows: frozenset[tuple[Any, ...]] = frozenset()
    is_sound: bool = False
    is_there: bool = False


def read_state(folder: Path) -> State:
    """Read it as a recovery after a kill would."""
    if not (folder / "tally.db").exists() or not (folder / "tally.db").stat().st_size:
        return State()
    with tempfile.TemporaryDirectory(prefix="tally-kills-") as place:
        for name in ("tally.db", "tally.db-wal"):
            if (folder / name).exists():
                shutil.copy(folder / name, place)
        with closing(sqlite3.connect(Path(place) / "tally.db")) as database, suppress(sqlite3.DatabaseError):
            database.text_factory = bytes  # a flipped letter keeps none of the other reports away
            rows = frozenset(database.execute(f"select {_COLUMNS} from events"))
            sound = database.execute("pragma integrity_check").fetchall() == [(b"ok",)]
            whole = {row for row in rows if isinstance(row[5], bytes) and _id(row[5]) == _hex(row[0])}
            ids = frozenset(_id(row[5]) for row in whole)
            return State(ids, rows, sound and len(whole) == len(rows) == len(ids), is_there=True)
    return State(is_there=True)


def read_mark(folder: Path) -> dict[str, Any] | None:
    """The newest whole slot."""
    path = folder / "tally.mark"
    data = path.read_bytes() if path.exists() else b""
    found = []
    for start in _SLOTS:
        text, _, check = data[start : start + 512].strip().rpartition(b" ")
        if text and hashlib.sha256(text).hexdigest().encode() == check:
            found.append(json.loads(text))
    return max(found, key=lambda one: int(one["generation"]), default=None)


def _id(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _hex(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else ""
