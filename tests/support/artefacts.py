"""Real artefacts made by real Windows: where they are, and what a test does when they are not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_BESIDE_THE_CHECKOUT = Path(__file__).resolve().parents[3] / "shared" / "data"


def artefact(name: str) -> Path:
    """The path of an artefact, e.g. `hives/regipy_SYSTEM.xz`.

    Skips the test where the folder is missing (a contributor's machine); fails in CI, where it must be there.
    """
    root = Path(os.environ.get("UNBRICK_TEST_DATA", _BESIDE_THE_CHECKOUT))
    path = root / name
    if not path.exists():
        message = f"artefact {name} is not in {root}; set UNBRICK_TEST_DATA to the folder that has it"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path
