"""Runs every case of tests/cases/diagnosis-*.yaml: this tree and this playbook give this verdict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.windows_tree import installation, put_files

from unbrick.diagnosis.diagnose import diagnose
from unbrick.incidents.library import find_playbook, load_library, parse_playbook
from unbrick.incidents.playbook import Playbook
from unbrick.model import Finding, Verdict

_CASES = Path(__file__).resolve().parents[2] / "cases"
_DEFAULT_SERVICES = [{"name": "CSAgent", "start": 1, "image_path": r"\??\C:\Windows\csagent.sys"}]


def _cases() -> Iterator[Any]:
    for path in sorted(_CASES.glob("diagnosis-*.yaml")):
        book = yaml.safe_load(path.read_text())
        for case in book["cases"]:
            yield pytest.param(book, case, id=f"{path.stem.removeprefix('diagnosis-')}: {case['case']}")


def _playbook(wanted: Any) -> Playbook:
    if isinstance(wanted, str):
        return find_playbook(load_library(), wanted)
    return parse_playbook(yaml.safe_dump(wanted).encode(), "case.yaml")


def _names(findings: Iterable[Finding], verdict: Verdict) -> list[str]:
    facts = [fact for finding in findings if finding.verdict is verdict for fact in finding.files]
    return sorted(fact.path.rpartition("\\")[2] for fact in facts)


@pytest.mark.parametrize(("book", "case"), list(_cases()))
def test_case(book: dict[str, Any], case: dict[str, Any], tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    put_files(root, book["folder"], case["files"])
    if case.get("folder_is_link"):
        folder = root.joinpath(*book["folder"].strip("\\").split("\\"))
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")
    windows = installation(case.get("services", _DEFAULT_SERVICES), case.get("class_filters", ()))
    now = datetime.fromisoformat(case.get("now", "2026-01-01T00:00:00Z"))

    diagnosis = diagnose(root, windows, [_playbook(book["playbook"])], now=now)

    expected = case["expect"]
    found = {
        "status": str(diagnosis.status),
        "reason": diagnosis.reason,
        "faulty": _names(diagnosis.findings, Verdict.FAULTY),
        "person": _names(diagnosis.findings, Verdict.PERSON),
        "good": _names(diagnosis.observations, Verdict.GOOD),
        "note": _names(diagnosis.observations, Verdict.NOTE),
    }
    assert found == {
        "status": expected["status"],
        "reason": expected.get("reason"),
        **{verdict: expected.get(verdict, []) for verdict in ("faulty", "person", "good", "note")},
    }
    held_up = expected.get("reason") == "unreadable-hive"
    assert _names(diagnosis.repairable, Verdict.FAULTY) == ([] if held_up else expected.get("faulty", []))
    assert diagnosis.explanation
    assert all(words in diagnosis.explanation for words in expected.get("says", ()))
