"""The manual's page on a playbook of one's own, followed word by word."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.walkthrough import SaveFile, follow, read_page

from unbrick.drill.fleet import read_truth_file
from unbrick.incidents.library import load_library
from unbrick.incidents.loader import parse_playbook

pytestmark = pytest.mark.usefixtures("leaves_nothing")


def test_a_playbook_of_ones_own_from_the_first_line_to_a_signed_stick(tmp_path: Path) -> None:
    follow("own-playbook", tmp_path)
    (machine,) = read_truth_file(tmp_path / "practice" / "truth.json")
    assert len(machine.volumes[0].faulty) == 2
    assert sorted(
        str(path.relative_to(tmp_path / "stick")) for path in (tmp_path / "stick").rglob("*.yaml")
    ) == [
        "playbooks/larkspur-2025-03.yaml",
        "unbrick.yaml",
    ]


def test_the_pages_incident_is_an_invented_one() -> None:
    saved = {step.name: step.text for step in read_page("own-playbook") if isinstance(step, SaveFile)}
    playbook = parse_playbook(saved["larkspur-2025-03.yaml"].encode(), "larkspur-2025-03.yaml")
    assert playbook.id not in {one.id for one in load_library()}
