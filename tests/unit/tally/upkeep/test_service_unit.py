"""The systemd unit: every path in it is written as systemd reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from unbrick.errors import UsageError
from unbrick.tally.upkeep.service_unit import service_unit


def test_a_percent_sign_is_written_twice_wherever_a_path_stands(tmp_path: Path) -> None:
    folder = tmp_path / "100%n"
    (folder / "authority").mkdir(parents=True)
    (folder / "authority" / "authority_key").write_text("")
    text = service_unit(folder, "unbrick-tally", folder / "authority")
    assert text.count("100%%n") == text.count("100%") >= 4


def test_a_path_that_a_unit_would_take_for_two_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot name this path"):
        service_unit(tmp_path / "a:b", "unbrick-tally")
