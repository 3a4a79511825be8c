"""What the tests from outside share: drill disks that are made once, and a look for what was left behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.drilled import Drills
from support.leftovers import ended_afterwards, nothing_left


@pytest.fixture(scope="session")
def drills(tmp_path_factory: pytest.TempPathFactory) -> Drills:
    """Drill disks of every kind; the workers of one run share them."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    return Drills(shared / "drilled")


@pytest.fixture
def leaves_nothing(tmp_path: Path) -> Iterator[None]:
    """No mount, loop device, helper process or temporary file is left when the test has ended."""
    with nothing_left(tmp_path):
        yield


@pytest.fixture(autouse=True)
def _ends_what_it_started() -> Iterator[None]:
    """A test that fails leaves no process behind for the next ones to stumble over."""
    with ended_afterwards():
        yield
