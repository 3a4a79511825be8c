"""The picture of the house: its rooms floor by floor, and the walks of developer.md through them.

The rooms are those of the package, the walks those of the page. Run as a program it writes the picture.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "unbrick"
PAGE = PACKAGE / "manual" / "developer.md"
PICTURE = PACKAGE / "manual" / "rooms.svg"

# From the highest down: a room imports only from lower floors; on the lowest, only what stands before it.
FLOORS = (
    ("cli",),
    ("station", "drill"),
    ("recovery", "tally", "media"),
    ("diagnosis", "repair"),
    ("keys", "disks", "windows", "incidents", "report"),
    ("manual", "processes", "events", "signing", "settings"),
)
WALKS = {"A disk": "#1f5fbf", "An event": "#1e8a4a", "A boot": "#c25e00"}
_WIDE, _HIGH, _GAP, _TOP = 176, 74, 16, 40
_WIDTH = 5 * (_WIDE + _GAP) + _GAP
_STOP = re.compile(r"^(\d+)\. `([\w/]+\.py)`", re.MULTILINE)


@dataclass(frozen=True)
class Stop:
    """Where a walk of the page is at one moment; `path` is relative to the package."""

    number: int
    path: str

    @property
    def room(self) -> str:
        return self.path.split("/")[0]


def rooms() -> set[str]:
    """The rooms that exist."""
    return {path.parent.name for path in PACKAGE.glob("*/__init__.py")}


def walk(title: str) -> list[Stop]:
    """The stops of a walk, as the page numbers them."""
    text = PAGE.read_text(encoding="utf-8")
    section = text.partition(f"\n### {title} ")[2].partition("\n#")[0]
    return [Stop(int(number), path) for number, path in _STOP.findall(section)]


def draw() -> str:
    """The picture as SVG."""
    corners = dict(_places())
    shapes = [_box(room, *corner) for room, corner in corners.items()]
    stops = {title: walk(title) for title in WALKS}
    taken: dict[str, int] = dict.fromkeys(corners, 0)
    lines, dots = [], []
    for title, colour in WALKS.items():
        points = []
        for stop in stops[title]:
            left, top = corners[stop.room]
            points.append((left + 16 + 24 * taken[stop.room], top + 52))
            taken[stop.room] += 1
        path = " L".join(f"{x} {y}" for x, y in points)
        lines.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2" opacity="0.4"/>')
        for stop, (x, y) in zip(stops[title], points, strict=True):
            dots.append(f'<circle cx="{x}" cy="{y}" r="10" fill="{colour}"/>')
            dots.append(_text(x, y + 4, str(stop.number), "middle", "#ffffff", 12))
    legend = [
        part
        for index, (title, colour) in enumerate(WALKS.items())
        for part in (
            f'<circle cx="{_GAP + 10 + 130 * index}" cy="20" r="8" fill="{colour}"/>',
            _text(_GAP + 26 + 130 * index, 25, title, "start", "#202020", 15),
        )
    ]
    height = _TOP + len(FLOORS) * (_HIGH + _GAP)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif">'
    )
    white = f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>'
    return "\n".join([head, white, *legend, *shapes, *lines, *dots, "</svg>\n"])


def _places() -> list[tuple[str, tuple[int, int]]]:
    places = []
    for row, floor in enumerate(FLOORS):
        left = (_WIDTH - len(floor) * (_WIDE + _GAP) + _GAP) // 2
        for column, room in enumerate(floor):
            places.append((room, (left + column * (_WIDE + _GAP), _TOP + row * (_HIGH + _GAP))))
    return places


def _box(room: str, left: int, top: int) -> str:
    size = f'width="{_WIDE}" height="{_HIGH}" rx="8"'
    box = f'<rect x="{left}" y="{top}" {size} fill="#f2f2ee" stroke="#8a8a80"/>'
    return box + "\n" + _text(left + 12, top + 26, room, "start", "#202020", 18)


def _text(x: int, y: int, text: str, anchor: str, colour: str, size: int) -> str:
    style = f'text-anchor="{anchor}" fill="{colour}" font-size="{size}"'
    return f'<text x="{x}" y="{y}" {style}>{escape(text)}</text>'


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
    sys.stdout.write(f"wrote {PICTURE}\n")
