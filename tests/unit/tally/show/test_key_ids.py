"""Which keys a machine waits for, read from the events it sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.tally_events import START, Told

from unbrick.model import Machine
from unbrick.tally.show.board import read_board
from unbrick.tally.store.store import Store

_KEY = "0B8E2F9C-1111-2222-3333-444455556666"
_OTHER = "AAAAAAAA-1111-2222-3333-444455556666"
_MACHINE = Machine(disk_guid="11111111-2222-3333-4444-555555555555", hostnames=("WARD-1",))


def _read(tmp_path: Path, *details: dict[str, Any], kind: str = "locked") -> tuple[str, ...]:
    told = Told(1, _MACHINE)
    with Store.open(tmp_path / "tally.db") as store:
        store.add([*(told.tell(kind, **one) for one in details), told.outcome("needs-key", "key-missing")])
        board = read_board(store, START)
        (machine,) = board.needs_key
        assert machine.run is not None
        return tuple(board.key_ids.get(machine.run, ()))


def test_the_ids_of_all_locked_volumes_are_told_once_each(tmp_path: Path) -> None:
    told = _read(tmp_path, {"protectors": [_KEY]}, {"protectors": [_KEY, _OTHER]})
    assert told == (_KEY, _OTHER)


@pytest.mark.parametrize("lie", [None, "x", 5, [5], ["\x1b[31m"], [_KEY.lower()], [[_KEY]], {"a": _KEY}])
def test_what_is_no_id_is_left_out(tmp_path: Path, lie: Any) -> None:
    assert _read(tmp_path, {"protectors": lie}) == ()


def test_other_events_name_no_keys(tmp_path: Path) -> None:
    assert _read(tmp_path, {"protectors": [_KEY], "word": "locked"}, kind="note") == ()
