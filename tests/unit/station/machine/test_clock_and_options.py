"""What is believed of a machine's clock, and of the kernel's command line."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from unbrick.errors import FailedError
from unbrick.station.machine.clock import correct_clock, take_tally_time
from unbrick.station.machine.kernel_options import parse_kernel_options, read_kernel_options
from unbrick.station.machine.medium_facts import MediumFacts, read_medium_facts

BUILT, EXPIRES = datetime(2026, 11, 25, 17, tzinfo=UTC), datetime(2027, 11, 25, 17, tzinfo=UTC)
MEDIUM = MediumFacts("0123456789abcdef", "0.1.0", BUILT, EXPIRES, None)


@pytest.mark.parametrize(
    "now",
    [
        datetime(2009, 1, 1, tzinfo=UTC),
        datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2106, 2, 7, tzinfo=UTC),
    ],
)
def test_a_clock_that_cannot_be_right_starts_from_the_build(now: datetime) -> None:
    took: list[datetime] = []

    told = correct_clock(MEDIUM, clock=lambda: now, set_clock=took.append)

    assert told is not None
    assert f"{now.year}" in told
    assert ("make a new medium" in told) == (now > EXPIRES), "the clock may be right, and the medium old"
    assert took == [BUILT]


@pytest.mark.parametrize("now", [BUILT, datetime(2027, 3, 1, tzinfo=UTC), EXPIRES])
def test_a_clock_that_can_be_right_is_left_alone(now: datetime) -> None:
    took: list[datetime] = []
    assert correct_clock(MEDIUM, clock=lambda: now, set_clock=took.append) is None
    assert took == []


def test_the_tallys_time_is_taken_only_where_ours_was_wrong() -> None:
    took: list[datetime] = []
    later = datetime(2028, 1, 1, tzinfo=UTC)

    assert not take_tally_time(later, MEDIUM, was_wrong=False, set_clock=took.append)
    assert not take_tally_time(None, MEDIUM, was_wrong=True, set_clock=took.append)
    assert not take_tally_time(
        datetime(2009, 1, 1, tzinfo=UTC), MEDIUM, was_wrong=True, set_clock=took.append
    )
    assert took == []
    assert take_tally_time(later, MEDIUM, was_wrong=True, set_clock=took.append)
    assert took == [later]


def test_the_command_line_makes_a_station_more_careful_and_nothing_else() -> None:
    line = "quiet unbrick.mode=guided console=tty0 unbrick.finish=power-off unbrick.stick=1A2B-3C4D"

    options = parse_kernel_options(line)

    assert (options.guided, options.finish, options.notes) == (True, "power-off", ())
    assert options.stick == "1A2B-3C4D"


@pytest.mark.parametrize(
    "word",
    [
        "unbrick.mode=unattended",
        "unbrick.finish=restart",
        "unbrick.tally=evil.example:2291",
        "unbrick.site=elsewhere",
        "unbrick.shell=true",
        "unbrick.mode",
        "unbrick.stick=none",
        "unbrick.stick=../../1A2B",
    ],
)
def test_every_other_word_is_told_of_and_not_heeded(word: str) -> None:
    options = parse_kernel_options(f"ro {word} quiet")
    assert (options.guided, options.finish, options.stick) == (False, None, None)
    assert word in options.notes[0]


def test_a_command_line_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    assert read_kernel_options(tmp_path / "missing").notes == ()


def _write(path: Path, **changes: object) -> Path:
    facts: dict[str, object] = {
        "id": "0123456789abcdef",
        "version": "0.1.0",
        "built": "2026-11-25T17:00:00Z",
        "expires": "2027-11-25T17:00:00Z",
        "site_key": "ssh-ed25519 AAAA",
    }
    path.write_text(json.dumps({**facts, **changes}))
    return path


def test_what_the_medium_says_of_itself(tmp_path: Path) -> None:
    facts = read_medium_facts(_write(tmp_path / "medium.json"))
    assert facts == MediumFacts("0123456789abcdef", "0.1.0", BUILT, EXPIRES, "ssh-ed25519 AAAA")
    assert read_medium_facts(_write(tmp_path / "medium.json", site_key=None)).site_key is None


@pytest.mark.parametrize(
    "changes",
    [{"id": "x"}, {"id": None}, {"built": "yesterday"}, {"expires": "2026-11-25T16:59:59Z"}, {"built": 5}],
)
def test_a_medium_that_does_not_know_itself_stops(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(FailedError):
        read_medium_facts(_write(tmp_path / "medium.json", **changes))
    with pytest.raises(FailedError):
        read_medium_facts(tmp_path / "missing")
