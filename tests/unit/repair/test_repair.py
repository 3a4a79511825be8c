from __future__ import annotations

import pytest

from unbrick.errors import NeedsHandsError
from unbrick.events.run_id import new_run_id
from unbrick.model import FileFact, Finding, Verdict
from unbrick.repair.actions.kind import MOST_ACTIONS
from unbrick.repair.actions.quarantine_file import MovedFile
from unbrick.repair.repair import make_plan

SHA = "a" * 64


def finding(
    verdict: Verdict, *paths: str, sha256: str | None = SHA, action: str | None = "quarantine"
) -> Finding:
    facts = tuple(FileFact(path, sha256, 3, None) for path in paths)
    return Finding("some-incident", verdict, facts, "because", action=action)


def _planned(path: str) -> tuple[str, str, str]:
    return "quarantine-file", path, "some-incident"


def test_only_faulty_files_are_moved_and_to_names_that_say_nothing() -> None:
    plan = make_plan(
        "20240719T061203Z-8f3a1c",
        [
            finding(Verdict.GOOD, "\\Windows\\good.sys"),
            finding(Verdict.FAULTY, "\\Windows\\a.sys", "\\Windows\\b.sys"),
            finding(Verdict.PERSON, "\\Windows\\odd.sys"),
            finding(Verdict.NOTE, "\\Windows\\old.sys"),
        ],
    )
    assert plan.actions == (
        MovedFile(*_planned("\\Windows\\a.sys"), sha256=SHA, size=3, quarantined_as="0001.bin"),
        MovedFile(*_planned("\\Windows\\b.sys"), sha256=SHA, size=3, quarantined_as="0002.bin"),
    )
    assert plan.run == "20240719T061203Z-8f3a1c"


def test_a_file_that_two_playbooks_find_is_moved_once() -> None:
    twice = [finding(Verdict.FAULTY, "\\Windows\\A.sys"), finding(Verdict.FAULTY, "\\WINDOWS\\A.sys")]
    assert [a.path for a in make_plan(new_run_id(), twice).actions] == ["\\Windows\\A.sys"]


def test_a_file_that_was_not_read_is_no_file_to_move() -> None:
    with pytest.raises(NeedsHandsError) as caught:
        make_plan(new_run_id(), [finding(Verdict.FAULTY, "\\Windows\\a.sys", sha256=None)])
    assert caught.value.reason == "unreadable-file"


def test_too_many_files_are_for_a_person() -> None:
    paths = [f"\\Windows\\{number}.sys" for number in range(MOST_ACTIONS + 1)]
    with pytest.raises(NeedsHandsError) as caught:
        make_plan(new_run_id(), [finding(Verdict.FAULTY, *paths)])
    assert caught.value.reason == "too-many-files"


def test_names_that_differ_by_case_only_are_left_to_a_person() -> None:
    facts = tuple(FileFact(f"\\Windows\\{name}.sys", "0" * 64, 8, None) for name in ("A", "a"))
    with pytest.raises(NeedsHandsError, match="differ by case only") as caught:
        make_plan(new_run_id(), [Finding("made-up", Verdict.FAULTY, facts, "Faulty.", None, "quarantine")])
    assert caught.value.reason == "person-decides"


def test_a_kind_plans_only_what_the_playbook_asks_it_for() -> None:
    for action in (None, "another"):
        assert (
            make_plan(new_run_id(), [finding(Verdict.FAULTY, "\\Windows\\a.sys", action=action)]).actions
            == ()
        )
