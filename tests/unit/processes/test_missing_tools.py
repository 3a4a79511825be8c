"""A program that is not installed is named, with the Debian package that brings it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from unbrick.errors import MissingToolError, Reason
from unbrick.processes.command import SystemRunner

_ROOT = Path(__file__).resolve().parents[3]
_PACKAGES = {
    line.split("#")[0].strip()
    for path in (_ROOT / "scripts").glob("debian-packages*.txt")
    for line in path.read_text().splitlines()
} - {""}
_ELSEWHERE = {"env", "dhcpcd", "mdadm"}  # of every Debian, or of the medium


def _started_programs() -> set[str]:
    """The first words of argument lists in the rooms that start most of them."""
    rooms = (_ROOT / "src" / "unbrick" / room for room in ("disks", "media", "drill", "processes", "signing"))
    texts = [path.read_text() for room in rooms for path in room.rglob("*.py")]
    calls = re.compile(r"""(?:\.run|\.start|\.has)\(\s*[\[(]?"([a-z][a-z0-9.+-]+)\"""")
    return {name for text in texts for name in calls.findall(text)} - _ELSEWHERE


def test_there_are_programs_to_name() -> None:
    assert {"ntfs-3g", "sfdisk", "wipefs"} <= _started_programs()


@pytest.mark.parametrize("program", sorted(_started_programs() | {"dislocker", "qemu-storage-daemon"}))
def test_every_program_has_a_package(program: str) -> None:
    hint = MissingToolError(program).hint
    assert hint is not None
    assert hint.removeprefix("install it: apt install ") in _PACKAGES | {"mount"}


def test_a_program_that_is_not_there_is_named() -> None:
    runner = SystemRunner()
    for start in (
        lambda: runner.run(["no-such-program"], timeout=5),
        lambda: runner.start(["no-such-program"]),
    ):
        with pytest.raises(MissingToolError) as caught:
            start()
        assert caught.value.reason == Reason.MISSING_TOOL
        assert "no-such-program is not installed" in caught.value.message
