"""What the verbs of persons answer: one document with `--json`, reasons kept whole, who said it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from support.tally_events import Told, disk, uuid

from unbrick.cli.main import main, unbrick
from unbrick.cli.tally import command
from unbrick.errors import UsageError
from unbrick.model import Machine
from unbrick.signing.certificates import new_key, public_line
from unbrick.tally.folder import TallyFolder, parse_address
from unbrick.tally.store.store import Store
from unbrick.tally.trust.authority import create_authority

LONG = "moved to another room, " + "and so on " * 90 + "until the end"
INVISIBLE = ["", " ", "\u200b", "\u00ad\u2060", "\u3164"]


@pytest.fixture
def folder(tmp_path: Path) -> TallyFolder:
    folder = create_authority(tmp_path / "tally", parse_address("127.0.0.1:2291"), site="main")
    with Store.open(folder.database) as store:
        for number in (1, 2):
            machine = Machine(uuid(number), f"SN-{number}", disk(number), (f"WARD-{number}",))
            store.add(Told(number, machine, site="north", station="station").story("needs-key"))
    return folder


def run(folder: TallyFolder, verb: str, *arguments: str) -> Result:
    verbs = verb.split()
    return CliRunner().invoke(command, [*verbs, str(folder.path), *arguments])


def answer(folder: TallyFolder, verb: str, *arguments: str) -> dict[str, Any]:
    """The one document of a verb, of which each change is in the audit, too."""
    result = run(folder, verb, *arguments, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    document = json.loads(result.stdout)
    assert isinstance(document, dict)
    if changed := document.get("changed"):
        lines = [json.loads(line) for line in folder.audit.read_text().splitlines()]
        assert [
            {name: one[name] for name in one if name != "at"} for one in lines[-len(changed) :]
        ] == changed
    return document


def listed(folder: TallyFolder, name: str) -> list[dict[str, Any]]:
    found = json.loads(run(folder, "status", "--find", name, "--json").stdout)["machines"]
    assert isinstance(found, list)
    return found


def stations(folder: TallyFolder, name: str) -> list[dict[str, Any]]:
    every = json.loads(run(folder, "stations", "--json").stdout)["stations"]
    return [one for one in every if one["name"] == name]


def test_a_word_on_a_machine_answers_with_how_it_stands(folder: TallyFolder) -> None:
    marked = answer(folder, "mark", "WARD-1", "re-imaged", "--reason", LONG, "--who", "kim")
    assert [(one["what"], one["who"], one["reason"]) for one in marked["changed"]] == [
        ("marked", "kim", LONG)
    ]
    assert marked["machines"] == listed(folder, "WARD-1")
    assert (marked["machines"][0]["status"], marked["machines"][0]["reason"]) == ("re-imaged", LONG)
    assert marked["machines"][0]["marks"][0]["reason"] == LONG
    assert answer(folder, "confirm", "WARD-1")["machines"] == listed(folder, "WARD-1")
    back = answer(folder, "unmark", "WARD-1", "--reason", LONG)
    assert back["machines"] == listed(folder, "WARD-1")
    assert back["machines"][0]["marks"][1]["taken_back"]["reason"] == LONG
    answer(folder, "confirm", "WARD-9", "--new")
    gone = answer(folder, "unmark", "WARD-9", "--reason", "a slip")
    assert (gone["machines"], gone["changed"][0]["name"]) == ([], "WARD-9")


def test_a_decision_answers_with_the_machines_that_it_made(folder: TallyFolder) -> None:
    merged = answer(folder, "merge", "WARD-1", "WARD-2", "--reason", LONG)
    assert merged["machines"] == listed(folder, "WARD-1")
    decided = json.loads(run(folder, "contradictions", "--json").stdout)["decisions"]
    assert [one["reason"] for one in decided] == [LONG]
    parted = answer(folder, "merge", "WARD-1", "--undo")
    assert parted["changed"][0]["what"] == "unmerged"
    assert parted["machines"] == [*listed(folder, "WARD-1"), *listed(folder, "WARD-2")]
    with Store.open(folder.database) as store:
        machine = Machine(uuid(1), "SN-9", disk(9), ("WARD-9",))
        store.add(Told(9, machine, site="north", station="station").story("repaired"))
    (dispute,) = json.loads(run(folder, "contradictions", "--json").stdout)["contradictions"]
    settled = answer(folder, "settle", dispute["code"], "--dismiss", "--reason", "known")
    assert settled["contradictions"] == [dispute | {"settled": "dismiss"}]
    split = answer(folder, "split", "WARD-9", "--reason", "the vendor gave all one UUID")
    assert sorted(one["name"] for one in split["machines"]) == ["WARD-1", "WARD-9"]
    assert len(answer(folder, "split", "WARD-9", "--undo")["machines"]) == 1


def test_a_change_of_trust_answers_with_the_station(folder: TallyFolder, tmp_path: Path) -> None:
    out = tmp_path / "stick"
    enrolled = answer(folder, "enrol", "stick-7", "--site", "north", "--out", str(out))
    assert (enrolled["stations"], enrolled["out"]) == (stations(folder, "stick-7"), str(out))
    renewed = answer(folder, "renew", "stick-7", "--days", "900", "--out", str(tmp_path / "new.pub"))
    assert (renewed["stations"], renewed["out"]) == (stations(folder, "stick-7"), str(tmp_path / "new.pub"))
    assert renewed["changed"][0]["until"] == renewed["stations"][0]["certificate_ends"]
    with Store.open(folder.database) as store:  # without the station's word, what another one saw counts
        machine = Machine(uuid(1), "SN-1", disk(1), ("WARD-1",))
        earlier = Told(0, machine, site="north", minute=-5, station="stick-7")
        store.add(earlier.story("failed"))
    lost = answer(folder, "revoke", "station", "--discount", "--reason", LONG, "--who", "kim", "--yes")
    assert [(one["what"], one["who"], one["reason"]) for one in lost["changed"]] == [
        ("revoked", "kim", LONG),
        ("discounted", "kim", LONG),
    ]
    assert [(one["name"], one["was"]) for one in lost["machines"]] == [
        ("WARD-1", "needs-key"),
        ("WARD-2", "needs-key"),
    ]
    assert listed(folder, "WARD-1")[0]["status"] == "failed"
    assert lost["stations"] == stations(folder, "station")
    assert (lost["stations"][0]["revoked_by"], lost["stations"][0]["revoked_reason"]) == ("kim", LONG)
    again = answer(folder, "unrevoke", "station", "--reason", "found", "--who", "lee")
    assert [(one["what"], one["who"]) for one in again["changed"]] == [
        ("unrevoked", "lee"),
        ("counted-again", "lee"),
    ]
    assert again["stations"] == stations(folder, "station")
    assert again["machines"] == [*listed(folder, "WARD-1"), *listed(folder, "WARD-2")]
    assert [one["status"] for one in again["machines"]] == ["needs-key", "needs-key"]


def test_trust_is_answered_also_where_the_database_is_damaged(folder: TallyFolder, tmp_path: Path) -> None:
    folder.database.write_bytes(b"not a database" * 1000)
    enrolled = answer(folder, "enrol", "stick-7", "--site", "north", "--out", str(tmp_path / "stick"))
    (station,) = enrolled["stations"]
    assert (station["site"], station["visits"], station["discounted"]) == ("north", None, None)


def test_what_was_done_is_said_also_where_the_rest_fails(folder: TallyFolder, tmp_path: Path) -> None:
    folder.database.write_bytes(b"not a database" * 1000)
    failed = run(folder, "revoke", "station", "--discount", "--yes", "--json")
    assert failed.exit_code == 1
    assert "unbrick: revoked station (certificate 1)\n" in failed.stderr
    assert failed.stdout == ""


def test_a_list_answers_with_its_numbers_and_a_copy_with_its_check(
    folder: TallyFolder, tmp_path: Path
) -> None:
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    first.write_text("name,serial,site\nWARD-1,SN-1,north\nWARD-5,SN-5,north\n")
    second.write_text("name,serial,site\nWARD-1,SN-1,north\n")
    taken = answer(folder, "inventory import", str(first), "--who", "kim", "--reason", LONG)
    assert (taken["added"], taken["removed"], taken["former"], taken["bad"]) == (2, 0, None, 0)
    assert (taken["changed"][0]["who"], taken["changed"][0]["reason"]) == ("kim", LONG)
    replaced = answer(folder, "inventory import", str(second), "--replace", "--yes")
    assert replaced["removed"] == 1
    assert Path(replaced["former"]).is_file()
    assert answer(folder, "inventory restore", "--yes")["added"] == 1
    first.write_text("name,serial,site\n,,\n=WARD,SN-1,north\n")
    bad = run(folder, "inventory import", str(first), "--json")
    assert bad.exit_code == 1
    assert [one["line"] for one in json.loads(bad.stdout)["problems"]] == [3]
    copy = answer(folder, "backup", str(tmp_path / "copy"))
    checked = json.loads(run(folder, "check", "--json").stdout)
    assert {name: copy[name] for name in ("reports", "missing", "complaints")} == {
        name: checked[name] for name in ("reports", "missing", "complaints")
    }


def _verbs(group: click.Group, named: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        verb = group.get_command(context, name)
        assert verb is not None
        if isinstance(verb, click.Group):
            yield from _verbs(verb, f"{named}{name} ")
        else:
            yield f"{named}{name}", verb


def _with(option: str) -> list[str]:
    return [name for name, verb in _verbs(unbrick) if any(option in one.opts for one in verb.params)]


def test_the_verbs_of_persons_have_their_options() -> None:
    spoken = ["mark", "confirm", "unmark", "merge", "split", "settle", "revoke", "unrevoke"]
    spoken += ["inventory import", "inventory restore"]
    changing = [*spoken, "backup", "renew", "enrol"]
    assert {f"tally {verb}" for verb in changing} <= set(_with("--json"))
    assert {f"tally {verb}" for verb in spoken} <= set(_with("--who")) & set(_with("--reason"))


@pytest.mark.parametrize("nothing", INVISIBLE)
@pytest.mark.parametrize("option", ["--reason", "--who"])
def test_a_reason_or_a_name_that_nobody_can_read_is_refused_by_every_verb(option: str, nothing: str) -> None:
    for verb in _with(option):
        refused = CliRunner().invoke(unbrick, [*verb.split(), option, nothing]).exception
        assert isinstance(refused, UsageError), verb
        assert refused.hint is not None, verb
        assert option in refused.hint, verb


def test_a_reason_is_refused_before_it_is_cut() -> None:
    refused = CliRunner().invoke(command, ["mark", "--reason", "x" * 1001]).exception
    assert isinstance(refused, UsageError)
    assert "at most 1,000 characters" in refused.message


def test_one_machine_rested_on_a_word(folder: TallyFolder) -> None:
    with Store.open(folder.database) as store:
        machine = Machine(uuid(3), "SN-3", disk(3), ("WARD-3",))
        store.add(Told(3, machine, site="main", station="stick-7").story("repaired"))
    run(folder, "enrol", "stick-7", "--site", "main", "--out", str(folder.path.parent / "stick"))
    lost = run(folder, "revoke", "stick-7", "--discount", "--yes").stdout
    assert "1 machine rested on the word of stick-7, and is counted without it now\n" in lost
    again = run(folder, "unrevoke", "stick-7", "--reason", "found").stdout
    assert "what it reported counts again: 1 machine changes\n" in again


@pytest.mark.parametrize("verb", _with("--json"))
def test_where_a_verb_fails_its_document_says_why(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["unbrick", *verb.split(), "--json", "--no-such-option"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert set(document) == {"error", "hint", "reason", "schema", "program"}
    assert "--no-such-option" in document["error"]
    assert document["hint"] == f"unbrick {verb} --help"


def test_a_mistake_of_our_own_is_a_document_too(
    folder: TallyFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a slip")

    monkeypatch.setattr(Store, "visits", broken)
    monkeypatch.setattr(sys, "argv", ["unbrick", "tally", "stations", str(folder.path), "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["reason"], "RuntimeError: a slip" in document["error"]) == ("internal-error", True)


def test_a_station_with_a_name_that_was_discounted_by_an_earlier_unbrick_is_counted_again(
    folder: TallyFolder,
) -> None:
    """Two keys have one name: the first is revoked and discounted, the second was enrolled since."""
    answer(folder, "revoke", "station", "--discount", "--yes", "--reason", "lost")
    document = json.loads(folder.stations.read_text())
    (first,) = document["stations"]
    key = new_key().public_key()
    other = {**first, "serial": 2, "public_key": public_line(key), "revoked": None}
    document["stations"].append(other)
    folder.stations.write_text(json.dumps(document))
    result = run(folder, "unrevoke", "station", "--reason", "the new one is good")
    assert result.exit_code == 0, result.output
    assert "counts again: 2 machines" in result.output
    assert run(folder, "unrevoke", "station", "--reason", "x").exit_code != 0
    assert "2 stations had the name" in run(folder, "revoke", "station", "--discount", "--yes").output


def test_an_enrolment_with_the_name_of_a_revoked_station_is_refused(folder: TallyFolder) -> None:
    for discount in ((), ("--discount",)):
        run(folder, "revoke", "station", "--yes", *discount)
        arguments = ("station", "--site", "main", "--out", str(folder.path.with_name("again")))
        refused = run(folder, "enrol", *arguments)
        assert isinstance(refused.exception, UsageError)
        assert "unrevoke" in (refused.exception.hint or "")
