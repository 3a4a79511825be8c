from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.own_playbooks import INVENTED
from support.windows_tree import CHANNEL_HEADER, CROWDSTRIKE, installation, put_file

from unbrick.diagnosis import search, wording
from unbrick.diagnosis.diagnose import Diagnosis, diagnose
from unbrick.incidents.library import find_playbook, load_library
from unbrick.incidents.playbook import Playbook
from unbrick.model import FileFact, Status, Verdict
from unbrick.windows.installation import Installation

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FAULTY = CROWDSTRIKE + r"\C-00000291-00000000-00000032.sys"
CHANNEL = CHANNEL_HEADER + b"..."
CF291 = find_playbook(load_library(), "crowdstrike-cf291")
OTHER = INVENTED["aaa-channel-285"]


def _numbered(number: int) -> str:
    return CROWDSTRIKE + rf"\C-00000291-00000000-000000{number}.sys"


def _diagnose(
    root: Path, windows: Installation | None = None, playbooks: Sequence[Playbook] | None = None
) -> Diagnosis:
    library = load_library() if playbooks is None else playbooks
    return diagnose(root, windows or installation(), library, now=NOW)


def test_a_finding_can_be_read_aloud(tmp_path: Path) -> None:
    put_file(tmp_path, FAULTY, CHANNEL)
    put_file(tmp_path, _numbered(33), CHANNEL)
    put_file(tmp_path, _numbered(34), bytes(8))
    diagnosis = _diagnose(tmp_path)
    (finding,) = diagnosis.findings
    assert finding.explanation == (
        r"3 faulty files in \Windows\System32\drivers\CrowdStrike (C-00000291-00000000-00000032.sys, "
        "C-00000291-00000000-00000033.sys, C-00000291-00000000-00000034.sys). "
        "This is the faulty CrowdStrike update of 19 July 2024, sent out between 04:09 and 05:27 UTC. "
        "It stops Windows with a blue screen at every start. "
        "This is what a crash just after the CrowdStrike update of 19 July 2024 leaves behind: "
        "nothing but zero bytes. Windows cannot start with it."
    )
    assert diagnosis.explanation == finding.explanation


def test_a_finding_carries_every_fact_of_its_files(tmp_path: Path) -> None:
    put_file(tmp_path, FAULTY, CHANNEL, "2024-07-19T04:09:27.123456Z")
    (finding,) = _diagnose(tmp_path).repairable
    assert finding.to_document()["files"] == [
        {
            "path": FAULTY,
            "sha256": hashlib.sha256(CHANNEL).hexdigest(),
            "size": 11,
            "modified": "2024-07-19T04:09:27.123456Z",
        }
    ]
    assert (finding.playbook, finding.verdict, finding.reason) == ("crowdstrike-cf291", Verdict.FAULTY, None)
    assert finding.action == "quarantine"


def test_healthy_has_no_findings_and_says_what_it_saw(tmp_path: Path) -> None:
    put_file(tmp_path, FAULTY, CHANNEL, "2024-07-19T05:27:00Z")
    for others, known in (((), "the one known incident"), ((OTHER,), "the 2 known incidents")):
        diagnosis = _diagnose(tmp_path, playbooks=(*others, CF291))
        assert diagnosis.status is Status.HEALTHY
        assert diagnosis.findings == ()
        assert diagnosis.explanation.startswith(f"No fault of {known} is on this Windows. 1 good file")


def test_without_playbooks_nothing_is_called_healthy(tmp_path: Path) -> None:
    diagnosis = _diagnose(tmp_path, playbooks=())
    assert (diagnosis.status, diagnosis.reason) == (Status.NEEDS_HANDS, "person-decides")


def test_two_playbooks_do_not_move_a_file_twice(tmp_path: Path) -> None:
    put_file(tmp_path, FAULTY, CHANNEL)
    diagnosis = _diagnose(tmp_path, playbooks=(CF291, replace(CF291, id="the-same-again")))
    assert [(f.playbook, len(f.files)) for f in diagnosis.repairable] == [("crowdstrike-cf291", 1)]


def test_the_reason_that_tells_most_is_given_when_there_are_several(tmp_path: Path) -> None:
    put_file(tmp_path, FAULTY, CHANNEL, "1995-01-01T00:00:00Z")
    (tmp_path.joinpath(*FAULTY.strip("\\").split("\\")).parent / "C-00000291-link.sys").symlink_to("/")
    diagnosis = _diagnose(tmp_path, installation(None))
    assert diagnosis.reason == "unreadable-file"
    assert {finding.reason for finding in diagnosis.findings} == {"doubtful-time", "unreadable-file"}
    assert "SYSTEM is cut short" in diagnosis.explanation


def test_an_installation_without_a_control_set_is_not_relied_on(tmp_path: Path) -> None:
    windows = replace(installation(), control_set=None)
    assert _diagnose(tmp_path, windows).reason == "unreadable-hive"


def test_an_installation_in_another_folder(tmp_path: Path) -> None:
    put_file(tmp_path, FAULTY, CHANNEL)
    put_file(tmp_path, FAULTY.replace("Windows", "WINNT"), CHANNEL)
    (finding,) = _diagnose(tmp_path, installation(folder=r"\WinNT")).findings
    assert [fact.path for fact in finding.files] == [FAULTY.replace("Windows", "WINNT")]


def test_a_search_that_had_to_stop_is_never_relieved_or_healthy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_file(tmp_path, FAULTY, CHANNEL, "2024-07-19T06:00:00Z")
    put_file(tmp_path, _numbered(33), CHANNEL)
    monkeypatch.setattr(search, "MAX_CANDIDATES", 1)
    diagnosis = _diagnose(tmp_path)
    assert (diagnosis.status, diagnosis.reason) == (Status.NEEDS_HANDS, "too-many-files")
    assert diagnosis.repairable == ()


def test_hostile_names_cannot_steer_the_terminal_or_break_the_report(tmp_path: Path) -> None:
    folder = put_file(tmp_path, CROWDSTRIKE + r"\ordinary.txt", b"").parent
    for name in (b"C-00000291-\x1b[2J\n.sys", b"C-00000291-\xff.sys", "C-00000291-\u202e.sys".encode()):
        (folder / os.fsdecode(name)).write_bytes(bytes(8))
    diagnosis = _diagnose(tmp_path)
    assert diagnosis.reason == "unreadable-file"
    for finding in diagnosis.findings:
        assert finding.explanation.isprintable()
        json.dumps(finding.to_document(), ensure_ascii=False).encode()


def test_the_root_folder_is_named_without_empty_brackets() -> None:
    text = wording.finding_text(Verdict.PERSON, [FileFact("\\", None, 0, None)], ["A person has to look."])
    assert text == "1 item in \\. A person has to look."
