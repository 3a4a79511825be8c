"""Reports that a person carried: the text of a picture, and those of a medium that nobody enrolled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.tally_client import StationFiles, make_event, sign
from support.tally_events import disk
from support.tally_sums import faults_of

from unbrick.cli.tally import command
from unbrick.model import Machine
from unbrick.signing.carried_text import write_text
from unbrick.signing.certificates import new_key
from unbrick.tally.folder import parse_address
from unbrick.tally.records import ReceivedEvent
from unbrick.tally.store.store import Store
from unbrick.tally.trust.authority import create_authority


@pytest.fixture
def tally(tmp_path: Path) -> Path:
    folder = create_authority(tmp_path / "tally", parse_address("127.0.0.1"))
    Store.open(folder.database).close()
    return tmp_path / "tally"


def _import(tally: Path, text: str, *options: str) -> tuple[int, str]:
    file = tally.parent / "carried.txt"
    file.write_text(text)
    ended = CliRunner().invoke(command, ["import", str(tally), str(file), *options])
    return ended.exit_code, ended.output


def test_the_text_of_a_picture_counts_once_like_an_export(tally: Path) -> None:
    text = write_text(StationFiles(tally).signed(1, 3))

    assert _import(tally, f"{text}\n") == (0, "3 new, 0 known already, 0 refused\n")
    assert _import(tally, f"{text}\n") == (0, "0 new, 3 known already, 0 refused\n")


def test_a_medium_that_nobody_enrolled_counts_only_by_its_fingerprint(tally: Path) -> None:
    events = [sign(make_event(number).to_bytes(), key := new_key()) for number in (1,)]
    events.append(sign(make_event(2).to_bytes(), key))
    text = write_text(events)

    code, said = _import(tally, text)
    fingerprint = said[said.index("SHA256:") :].split(")")[0]

    assert code == 1
    assert "0 new, 0 known already, 2 refused" in said
    assert _import(tally, text, "--accept-key", "SHA256:of-another", "--reason", "ours")[0] == 1
    code, said = _import(tally, text, "--accept-key", fingerprint, "--reason", "ours")
    assert (code, said.splitlines()[0]) == (0, "2 new, 0 known already, 0 refused")
    assert f"{fingerprint} is medium-" in said


def test_a_damaged_text_is_told_of_and_hides_nothing_else(tally: Path) -> None:
    good = write_text(StationFiles(tally).signed(1, 1))

    code, said = _import(tally, f"{good[:-4]}\n{good}\n")

    assert code == 1
    assert "1 new, 0 known already, 1 refused" in said


def test_an_import_is_in_the_total_and_in_no_pace(tally: Path) -> None:
    key = StationFiles(tally).key
    runs = [f"20240719T0900{number:02}Z-0000ab" for number in range(30)]
    details = {"status": "repaired", "reason": None}
    machines = [Machine(disk_guid=disk(number), hostnames=(f"WARD-{number}",)) for number in range(30)]
    events = [
        make_event(1, run=run, kind="outcome", details=details, machine=machine)
        for run, machine in zip(runs, machines, strict=True)
    ]
    text = write_text([sign(event.to_bytes(), key) for event in events])
    assert _import(tally, f"{text}\n") == (0, "30 new, 0 known already, 0 refused\n")
    with Store.open(tally / "tally.db") as store:
        summary = store.summary()
        assert (summary.finished, summary.rates.finished_last_60, summary.last_finished) == (30, 0, None)
        assert faults_of(store) == ()


def test_what_is_stopped_is_in_the_audit_with_the_key_that_it_accepted(
    tally: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = new_key()
    events = [sign(make_event(number).to_bytes(), key) for number in range(1, 1201)]
    lines = "".join(json.dumps(one.to_document()) + "\n" for one in events)
    _, said = _import(tally, lines)
    fingerprint = said[said.index("SHA256:") :].split(")")[0]
    add, left = Store.add, [1]

    def stopped(store: Store, batch: Sequence[ReceivedEvent]) -> int:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return add(store, batch)

    monkeypatch.setattr(Store, "add", stopped)
    _import(tally, lines, "--accept-key", fingerprint, "--reason", "ours")
    audit = [json.loads(line) for line in (tally / "audit.log").read_text().splitlines()]
    accepted = [one for one in audit if one["what"] == "key-accepted"]
    assert [(one["key"], one["reason"]) for one in accepted] == [(fingerprint, "ours")]
    (imported,) = [one for one in audit if one["what"] == "imported" and one.get("stopped")]
    assert imported["new"] == 500


def test_a_key_is_accepted_for_a_reason_only(tally: Path) -> None:
    events = [sign(make_event(1).to_bytes(), new_key())]
    _, said = _import(tally, write_text(events))
    fingerprint = said[said.index("SHA256:") :].split(")")[0]
    for reason in ([], ["--reason", ""], ["--reason", "\u200b"]):
        assert _import(tally, write_text(events), "--accept-key", fingerprint, *reason)[0] != 0
    assert "key-accepted" not in (tally / "audit.log").read_text()
    assert _import(tally, write_text(events), "--accept-key", fingerprint, "--reason", "ours")[0] == 0
