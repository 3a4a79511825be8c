"""A stranger's key that an import accepted is written down, listed, and taken back like a station."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.program import run_program
from support.tally_client import StationFiles, make_event, sign

from unbrick.signing.carried_text import write_text
from unbrick.tally.folder import TallyFolder, parse_address
from unbrick.tally.store.store import Store
from unbrick.tally.trust.authority import create_authority


@pytest.fixture
def tally(tmp_path: Path) -> Path:
    for name in ("tally", "strange"):
        create_authority(
            tmp_path / name, parse_address("127.0.0.1"), make_database=lambda path: Store.open(path).close()
        )
    return tmp_path / "tally"


def carried(tally: Path, *options: str, run: str = "20240719T090000Z-0000ab") -> tuple[int, Any]:
    key = StationFiles(tally.parent / "strange").key
    event = make_event(1, run=run, kind="outcome", details={"status": "repaired", "reason": None})
    file = tally.parent / "carried.txt"
    file.write_text(write_text([sign(event.to_bytes(), key)]) + "\n")
    ended = run_program("tally", "import", tally, file, "--json", *options)
    return ended.code, json.loads(ended.out)


def fingerprint_of(tally: Path) -> str:
    _, said = carried(tally)
    (reason,) = said["reasons"]
    return "SHA256:" + str(reason).partition("SHA256:")[2].rstrip(")")


def listed(tally: Path) -> list[dict[str, Any]]:
    document = json.loads(run_program("tally", "stations", tally, "--json").out)
    return [one for one in document["stations"] if one["accepted"]]


def total(tally: Path) -> int:
    return int(json.loads(run_program("tally", "status", tally, "--json").out)["total"])


def audit(tally: Path, what: str) -> list[dict[str, Any]]:
    lines = map(json.loads, TallyFolder(tally).audit.read_text().splitlines())
    return [one for one in lines if one["what"] == what]


@pytest.mark.parametrize("by_name", [True, False])
def test_an_accepted_key_is_listed_revoked_and_taken_back(tally: Path, by_name: bool) -> None:
    key = fingerprint_of(tally)
    assert listed(tally) == []
    code, said = carried(tally, "--accept-key", key, "--who", "kim", "--reason", "the helpers' own medium")
    assert code == 0
    (name,) = said["accepted"]
    assert said["accepted"] == {name: key}
    (told,) = audit(tally, "key-accepted")
    assert (told["station"], told["key"], told["who"]) == (name, key, "kim")
    assert told["reason"] == "the helpers' own medium"
    (one,) = listed(tally)
    assert (one["name"], one["fingerprint"], one["enrolled_by"], one["visits"]) == (name, key, "kim", 1)
    assert (one["accepted_reason"], one["certificate_ends"]) == ("the helpers' own medium", None)
    line = run_program("tally", "stations", tally).out
    assert f"{name}: not enrolled" in line
    assert key in line

    # It is no station: what it signs is taken only where somebody says so again.
    later = "20240719T090500Z-0000ac"
    assert carried(tally, run=later)[0] == 1
    assert run_program("tally", "renew", tally, name).code == 2

    called = name if by_name else key
    assert (
        run_program("tally", "revoke", tally, called, "--discount", "--yes", "--reason", "forged").code == 0
    )
    assert total(tally) == 0
    (one,) = listed(tally)
    assert (one["revoked_reason"], one["discounted"]) == ("forged", True)
    code, said = carried(tally, "--accept-key", key, "--reason", "once more", run=later)
    assert (code, said["refused"]) == (1, 1)
    assert "revoked" in next(iter(said["reasons"]))
    assert run_program("tally", "check", tally, "--signatures").code == 0

    assert run_program("tally", "unrevoke", tally, called, "--reason", "it was ours").code == 0
    assert total(tally) == 1
    (one,) = listed(tally)
    assert (one["revoked"], one["discounted"]) == (None, False)
    assert run_program("tally", "revoke", tally, "SHA256:nobody", "--yes").code == 2
