"""What a newcomer is told is true: every artefact that a test reads is named with where it comes from."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
_GUIDE = (REPOSITORY / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_every_artefact_that_a_test_reads_is_named() -> None:
    names = {
        name
        for file in (REPOSITORY / "tests").rglob("*.py")
        for name in re.findall(r'artefact\("([^"]+)"\)', file.read_text(encoding="utf-8"))
    }
    assert len(names) > 5
    assert {name for name in names if f"`{name}`" not in _GUIDE} == set()


def test_the_scripts_that_are_named_are_there() -> None:
    for script in set(re.findall(r"\./(scripts/\w+)", _GUIDE)):
        assert (REPOSITORY / script).is_file()
    for link in re.findall(r"\]\(([^)]+)\)", _GUIDE):
        assert (REPOSITORY / ".github" / link).exists()
