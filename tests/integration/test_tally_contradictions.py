"""The verbs that decide on contradictions, as a person types them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.program import run_program
from support.tally_events import Told, disk, uuid

from unbrick.model import Machine
from unbrick.tally.folder import parse_address
from unbrick.tally.store.store import Store
from unbrick.tally.trust.authority import create_authority, enrol


@pytest.fixture
def tally(tmp_path: Path) -> Path:
    """Two machines that the inventory has at another site than who reported them, and a shared UUID."""
    folder = tmp_path / "tally"
    create_authority(folder, parse_address("127.0.0.1"), site="main")
    enrol(folder, "lost", "south", tmp_path / "lost")
    (tmp_path / "list.csv").write_text("name,serial,site\nA,SN-1,north\nB,SN-2,south\n")
    with Store.open(folder / "tally.db") as store:
        store.import_inventory(tmp_path / "list.csv")
        for number, name in enumerate("AB"):
            told = Told(number, Machine(None, None, disk(number), (name,)), site="south", station="lost")
            store.add([replace(one, site="south") for one in told.story("repaired")])
        for number in (5, 6):
            machine = Machine(uuid(1), f"X-{number}", disk(number), (f"VM-{number}",))
            store.add(Told(number, machine).story("repaired"))
    return folder


def statuses(tally: Path) -> dict[str, str]:
    document = json.loads(run_program("tally", "status", tally, "--json").out)
    return {one["name"]: one["status"] for one in document["machines"]}


def test_a_contradiction_is_listed_with_what_settles_it_and_settled(tally: Path) -> None:
    document = json.loads(run_program("tally", "status", tally, "--json").out)
    assert (document["contradictions"], document["uncounted"]) == (2, 1)
    assert "2 contradictions" in run_program("tally", "status", tally).out
    listed = run_program("tally", "contradictions", tally).out
    (one,) = (
        one
        for one in json.loads(run_program("tally", "contradictions", tally, "--json").out)["contradictions"]
        if one["kind"] == "inventory"
    )
    assert f"tally settle {tally} {one['code']} --count" in listed
    assert statuses(tally)["A"] == "expected"
    counted = run_program(
        "tally", "settle", tally, one["code"], "--count", "--reason", "it moved", "--who", "kim"
    )
    assert counted.code == 0
    assert statuses(tally)["A"] == "repaired"
    assert run_program("tally", "settle", tally, one["code"], "--undo").code == 0
    assert statuses(tally)["A"] == "expected"
    audit = b"".join(part.read_bytes() for part in tally.glob("audit*"))
    assert b'"settled"' in audit
    assert b"it moved" in audit
    assert b"kim" in audit


def test_machines_are_split_and_merged_and_that_is_taken_back(tally: Path) -> None:
    ended = run_program("tally", "split", tally, "VM-5", "--reason", "one UUID for all")
    assert (ended.code, ended.out) == (0, "VM-5: repaired\nVM-6: repaired\n")
    assert run_program("tally", "merge", tally, "VM-5", "VM-6", "--reason", "no, one").code == 0
    listed = run_program("tally", "contradictions", tally, "--all").out
    assert "decision:1  split VM-5, by " in listed
    assert f"    undo: unbrick tally merge {tally} decision:2 --undo" in listed
    document = json.loads(run_program("tally", "contradictions", tally, "--json").out)
    assert [one["called"] for one in document["decisions"]] == [["VM-5"], ["VM-5", "VM-6"]]
    assert "VM-6" not in statuses(tally)
    assert run_program("tally", "merge", tally, "VM-5", "--undo").code == 0
    assert run_program("tally", "split", tally, "decision:1", "--undo").code == 0
    assert set(statuses(tally)) == {"A", "B", "VM-5"}


def test_a_lost_sticks_word_leaves_the_count_and_comes_back(tally: Path) -> None:
    ended = run_program("tally", "revoke", tally, "lost", "--discount", "--yes", "--json")
    assert [one["name"] for one in json.loads(ended.out)["machines"]] == ["B"]
    assert statuses(tally)["B"] == "expected"
    assert run_program("tally", "unrevoke", tally, "lost", "--reason", "found").code == 0
    assert statuses(tally)["B"] == "repaired"
    assert run_program("tally", "check", tally).code == 0


def test_a_decision_that_cannot_be_is_said(tally: Path) -> None:
    for arguments in (
        ("settle", tally, "K7M3-9XPC", "--count", "--reason", "x"),
        ("settle", tally, "K7M3-9XPC"),
        ("merge", tally, "A"),
        ("merge", tally, "nobody", "VM-5", "--reason", "x"),
        ("split", tally, "VM-5"),
    ):
        ended = run_program("tally", *arguments)
        assert ended.code == 2
        assert "what to do" in ended.err


def test_two_answers_or_none_settle_nothing(tally: Path) -> None:
    before = statuses(tally)
    listed = json.loads(run_program("tally", "contradictions", tally, "--json").out)["contradictions"]
    for answers in ((), ("--count", "--dismiss"), ("--count", "--undo"), ("--count", "--dismiss", "--undo")):
        ended = run_program("tally", "settle", tally, listed[0]["code"], *answers, "--reason", "moved")
        assert ended.code == 2, answers
    assert statuses(tally) == before


@pytest.mark.parametrize("unseen", ["", " ", "\u200b", "\u00ad\u2060", "\u3164", "\u2800"])
def test_no_reason_and_no_name_that_nobody_can_read_is_taken(tally: Path, unseen: str) -> None:
    before = statuses(tally)
    for verb in (("mark", "A", "re-imaged"), ("unmark", "A"), ("unrevoke", "lost"), ("revoke", "lost")):
        ended = run_program(
            "tally",
            verb[0],
            tally,
            *verb[1:],
            "--reason",
            unseen,
            *(("--yes",) if verb[0] == "revoke" else ()),
        )
        assert ended.code == 2, verb
    named = run_program("tally", "mark", tally, "A", "re-imaged", "--reason", "new disk", "--who", unseen)
    assert named.code == 2
    assert statuses(tally) == before
