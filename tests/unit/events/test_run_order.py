"""The runs of one medium keep their order although clocks stand still, jump back and run ahead."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbrick.events.run_id import is_run_id
from unbrick.events.run_order import run_in_order

TODAY = "20240719T061203Z-8f3a1c"
DEAD_BATTERY = "20090101T000040Z-00000a"


def test_a_run_by_a_good_clock_keeps_its_id(tmp_path: Path) -> None:
    assert run_in_order(TODAY, tmp_path) == TODAY
    assert run_in_order("20240719T061203Z-900000", tmp_path) == "20240719T061203Z-900000"


def test_a_run_by_a_clock_that_went_back_comes_after_the_last_one(tmp_path: Path) -> None:
    run_in_order(TODAY, tmp_path)
    assert run_in_order(DEAD_BATTERY, tmp_path) == "20240719T061204Z-00000a"
    assert run_in_order(DEAD_BATTERY, tmp_path) == "20240719T061205Z-00000a"
    assert run_in_order("20240719T070000Z-000000", tmp_path) == "20240719T070000Z-000000"


def test_a_clock_that_ran_ahead_is_forgotten_again(tmp_path: Path) -> None:
    latest = datetime(2026, 7, 1, tzinfo=UTC)
    run_in_order("20990101T000000Z-000000", tmp_path, latest=latest)
    assert run_in_order(TODAY, tmp_path, latest=latest) == TODAY


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"\xff" * 100, b"20249999T999999Z-000000", b"99991231T235959Z-ffffff"]
)
def test_what_a_cut_has_torn_is_no_trouble(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".last-run").write_bytes(content)
    assert run_in_order(TODAY, tmp_path) == TODAY
    assert (tmp_path / ".last-run").read_text() == f"{TODAY}\n"


def test_a_folder_that_cannot_be_used_is_no_trouble(tmp_path: Path) -> None:
    assert run_in_order(TODAY, tmp_path / "missing") == TODAY
    (tmp_path / "target").touch()
    (tmp_path / ".last-run").symlink_to("target")
    assert run_in_order(TODAY, tmp_path) == TODAY
    (tmp_path / ".last-run").unlink()
    os.mkfifo(tmp_path / ".last-run")
    assert run_in_order(TODAY, tmp_path) == TODAY


CLOCK = st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1)).map(
    lambda time: f"{time:%Y%m%dT%H%M%SZ}-00aa00"
)


@given(st.lists(CLOCK, min_size=1, max_size=10))
def test_whatever_the_clocks_say_runs_only_go_forward(
    tmp_path_factory: pytest.TempPathFactory, clocks: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("outbox")
    runs = [run_in_order(clock, folder) for clock in clocks]
    assert runs == sorted(set(runs))
    assert all(is_run_id(run) for run in runs)
