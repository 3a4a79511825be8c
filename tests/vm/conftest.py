"""What the tests that switch machines on share: the medium, drill disks, a tally on this computer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.boot_medium import Medium, build_medium
from support.drilled import Drills
from support.host_tally import HostTally

_MOST_SECONDS = 1800.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test here switches a machine on several times, and an emulated one is slow on a loaded computer."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(_MOST_SECONDS))


def _shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the workers of one run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def medium(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Medium:
    """The boot medium, as `unbrick media build` makes it."""
    kept = request.config.getoption("--medium", default=None)
    return build_medium(Path(kept).absolute() if kept else _shared(tmp_path_factory) / "medium")


@pytest.fixture(scope="session")
def drills(tmp_path_factory: pytest.TempPathFactory) -> Drills:
    """Drill disks of every kind; the workers of one run share them."""
    return Drills(_shared(tmp_path_factory) / "drilled")


def pytest_addoption(parser: pytest.Parser) -> None:
    """For `scripts/photograph`, and for a developer who runs one test over and over."""
    parser.addoption("--photographs", metavar="FOLDER", help="where photographs of screens are kept")
    parser.addoption(
        "--medium", metavar="FOLDER", help="the medium of an earlier run, made here if it is new"
    )


@pytest.fixture
def photographs(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where photographs of screens go."""
    folder = request.config.getoption("--photographs", default=None)
    return Path(folder).absolute() if folder else tmp_path


@pytest.fixture
def tally(tmp_path: Path) -> HostTally:
    """A tally of this test alone; it is not served yet."""
    return HostTally(tmp_path / "tally")
