"""The picture of developer.md shows the rooms that exist, and walks that can be walked."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from support.house_picture import FLOORS, PACKAGE, PICTURE, WALKS, draw, rooms, walk


def _imported(room: str) -> Iterator[str]:
    """The rooms that a room imports from."""
    for path in (PACKAGE / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("unbrick."):
                yield str(node.module).split(".")[1]


def test_it_shows_every_room_once() -> None:
    drawn = [room for floor in FLOORS for room in floor]
    assert sorted(drawn) == sorted(rooms())


@pytest.mark.parametrize("room", sorted(rooms()))
def test_no_import_goes_up_in_it(room: str) -> None:
    height = {one: number for number, floor in enumerate(FLOORS) for one in floor}
    ground = len(FLOORS) - 1
    for other in {*_imported(room)} & rooms() - {room}:
        assert height[other] > height[room] or height[other] == height[room] == ground, (room, other)


@pytest.mark.parametrize("title", WALKS)
def test_a_walk_stops_at_files_that_exist(title: str) -> None:
    stops = walk(title)
    assert [stop.number for stop in stops] == list(range(1, len(stops) + 1))
    assert len(stops) > 5
    assert [stop.path for stop in stops if not (PACKAGE / stop.path).is_file()] == []


def test_it_is_drawn_of_the_page_and_the_rooms_as_they_are() -> None:
    assert PICTURE.read_text(encoding="utf-8") == draw(), "draw it anew: scripts/rooms"
