"""`tally mark`, `confirm`, `unmark` and `status --find`: who said what, why, and what counts now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.tally_events import Told, disk, uuid
from support.tally_sums import faults_of

from unbrick.cli.tally import command
from unbrick.model import Machine
from unbrick.tally.folder import TallyFolder, parse_address
from unbrick.tally.records import StatementError
from unbrick.tally.store.store import Store
from unbrick.tally.trust.authority import create_authority


@pytest.fixture
def folder(tmp_path: Path) -> TallyFolder:
    folder = create_authority(tmp_path / "tally", parse_address("127.0.0.1:2291"), site="main")
    with Store.open(folder.database) as store:
        store.add(Told(1, Machine(uuid(1), "SN-1", disk(1), ("WARD-3",)), site="north").story("needs-key"))
    return folder


def run(folder: TallyFolder, verb: str, *arguments: str) -> Result:
    return CliRunner().invoke(command, [verb, str(folder.database.parent), *arguments])


def noted(folder: TallyFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in folder.audit.read_text().splitlines()]


def test_a_mark_and_its_end_are_said_found_and_in_the_audit(folder: TallyFolder) -> None:
    result = run(folder, "mark", "sn-1", "re-imaged", "--reason", "new disk", "--who", "kim")
    assert (result.exit_code, result.stdout) == (0, "WARD-3: re-imaged (new disk)\n")
    assert run(folder, "confirm", "ward-3.corp.example", "--who", "lee", "--reason", "saw it").exit_code == 0
    found = run(folder, "status", "--find", "WARD-3").stdout
    assert " UTC re-imaged by kim: new disk\n" in found
    assert " UTC confirmed by lee: saw it\n" in found
    result = run(folder, "unmark", "WARD-3", "--reason", "it was WARD-4", "--who", "kim")
    assert result.stdout == "took back confirmed by lee (saw it)\nWARD-3: re-imaged (new disk)\n"
    assert "confirmed by lee: saw it; taken back" in run(folder, "status", "--find", "WARD-3").stdout
    (machine,) = json.loads(run(folder, "status", "--find", "WARD-3", "--json").stdout)["machines"]
    assert [(one["status"], one["counts"]) for one in machine["marks"]] == [
        ("re-imaged", True),
        ("confirmed", False),
    ]
    assert machine["marks"][1]["taken_back"]["reason"] == "it was WARD-4"
    told = [(one["what"], one["name"], one["who"], one["reason"]) for one in noted(folder)[-3:]]
    assert told == [
        ("marked", "WARD-3", "kim", "new disk"),
        ("confirmed", "WARD-3", "lee", "saw it"),
        ("unmarked", "WARD-3", "kim", "it was WARD-4"),
    ]
    assert all(one["by"] and one["machine"] for one in noted(folder)[-3:])


def test_an_unknown_machine_is_refused_unless_it_is_new_and_can_be_taken_away(folder: TallyFolder) -> None:
    refused = run(folder, "confirm", "WARD-33", "--who", "kim")
    assert isinstance(refused.exception, StatementError)
    assert refused.exception.exit_code == 2
    assert "do you mean WARD-3?" in (refused.exception.hint or "")
    assert run(folder, "confirm", "WARD-33", "--who", "kim", "--new").stdout == "WARD-33: confirmed\n"
    result = run(folder, "unmark", "WARD-33", "--reason", "a slip", "--who", "kim")
    assert "WARD-33 was known by that mark alone: it is no longer counted" in result.stdout
    with Store.open(folder.database) as store:
        assert store.summary().total == 1
        assert faults_of(store) == ()


def test_a_mark_that_a_later_visit_ended_is_said_to_count_no_more(folder: TallyFolder) -> None:
    run(folder, "mark", "ward-3", "re-imaged", "--reason", "new disk", "--who", "kim")
    with Store.open(folder.database) as store:
        store.add(Told(2, Machine(uuid(1), "SN-1", disk(1), ("WARD-3",))).story("healthy"))
    found = run(folder, "status", "--find", "WARD-3").stdout
    assert "WARD-3 at st-marys: healthy\n" in found
    assert "re-imaged by kim: new disk; what a medium found later counts\n" in found
    (machine,) = json.loads(run(folder, "status", "--find", "WARD-3", "--json").stdout)["machines"]
    assert [one["counts"] for one in machine["marks"]] == [False]


def test_a_search_that_finds_nothing_names_what_is_written_alike(folder: TallyFolder) -> None:
    missed = run(folder, "status", "--find", "WARD3").exception
    assert "do you mean WARD-3?" in str(getattr(missed, "hint", ""))
    for odd in ("", " ", "x" * 4000):
        assert run(folder, "status", "--find", odd).exit_code != 0
