"""A report as pictures on the smallest screen, read by an independent reader, counted by the tally once."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.half_blocks import picture_of
from support.program import Ended, run_program
from support.tally_client import StationFiles
from support.tally_server import new_tally

from unbrick.signing.carried_text import write_text
from unbrick.station.screen.qr_code import codes_for


@pytest.fixture
def tally(tmp_path: Path) -> Path:
    new_tally(tmp_path / "tally")
    return tmp_path / "tally"


def photographed(text: str, folder: Path) -> list[str]:
    """What a telephone reads off every page of a screen of 80 by 25."""
    lines = []
    for code in codes_for(text, 52, 25):
        image = folder / f"{code.number}.pgm"
        image.write_bytes(picture_of(code.rows, 80))
        read = subprocess.run(
            ["zbarimg", "--quiet", "--raw", "-Sdisable", "-Sqrcode.enable", image],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        lines.append(read.stdout.removesuffix("\n"))
    return lines


def take(tally: Path, lines: list[str]) -> Ended:
    file = tally.parent / "carried.txt"
    file.write_text("".join(f"{line}\n" for line in lines))
    return run_program("tally", "import", tally, file)


def test_a_report_that_took_several_pictures_is_counted_once(tally: Path, tmp_path: Path) -> None:
    lines = photographed(write_text(StationFiles(tally).signed(1, 2)), tmp_path)
    assert len(lines) > 1, "the smallest screen takes several"
    assert take(tally, lines).out == "2 new, 0 known already, 0 refused\n"
    assert take(tally, lines).out == "0 new, 2 known already, 0 refused\n"


def test_a_missing_picture_is_told_of_and_hides_no_other_report(tally: Path, tmp_path: Path) -> None:
    station = StationFiles(tally)
    first = photographed(write_text(station.signed(1, 2)), tmp_path)
    second = photographed(write_text(station.signed(3, 2)), tmp_path)
    for spoilt in (first[:-1], first[1:], [first[-1], *first[:-1]]):
        ended = take(tally, [*spoilt, *second])
        assert ended.code == 1
        assert "some are missing" in ended.said
        assert "2 new" in ended.said or "2 known already" in ended.said
