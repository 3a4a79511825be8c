"""The reports on a stick that was carried to the tally: read as they lie there, each counted once."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.program import run_program
from support.tally_client import StationFiles

from unbrick.report.outbox import Outbox
from unbrick.tally.authority import create_authority
from unbrick.tally.settings import parse_address


@pytest.fixture
def tally(tmp_path: Path) -> Path:
    create_authority(tmp_path / "tally", parse_address("127.0.0.1"))
    return tmp_path / "tally"


@pytest.fixture
def stick(tally: Path, tmp_path: Path) -> Path:
    """An opened stick with three reports in its outbox."""
    outbox = Outbox(tmp_path / "stick" / "outbox")
    for one in StationFiles(tally).signed(1, 3):
        outbox.put(one)
    return tmp_path / "stick"


def test_a_stick_is_taken_as_it_is_opened_and_left_as_it_was(tally: Path, stick: Path) -> None:
    before = sorted(path.name for path in (stick / "outbox").iterdir())
    assert run_program("tally", "import", tally, stick).out == "3 new, 0 known already, 0 refused\n"
    assert (
        run_program("tally", "import", tally, stick / "outbox").out == "0 new, 3 known already, 0 refused\n"
    )
    assert sorted(path.name for path in (stick / "outbox").iterdir()) == before


def test_what_was_refused_before_is_taken_from_where_the_station_put_it(tally: Path, stick: Path) -> None:
    outbox = Outbox(stick / "outbox")
    ids = [signed.id for _, signed in outbox.pending()]
    outbox.set_aside(ids, "unknown-station: nobody had enrolled it then")
    said = run_program("tally", "import", tally, stick / "outbox" / "refused").out
    assert said == "3 new, 0 known already, 0 refused\n"


def test_a_link_on_a_stick_is_not_followed(tally: Path, stick: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.json").write_text("{}\n")
    (stick / "outbox" / "0.json").symlink_to(tmp_path / "elsewhere.json")
    ended = run_program("tally", "import", tally, stick)
    assert ended.code == 2
    assert "0.json cannot be read" in ended.said


def test_a_stick_without_reports_is_told_of(tally: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ended = run_program("tally", "import", tally, tmp_path / "empty")
    assert ended.code == 2
    assert "holds no reports" in ended.said
