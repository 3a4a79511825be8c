"""The manual's page on a playbook of one's own, followed word by word."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest
from support.fresh_machine import fresh_machine
from support.truth_file import read_truth_file
from support.walkthrough import SaveFile, follow, read_page

from unbrick.incidents.library import load_library, parse_playbook

_ONE_SESSION = """
from pathlib import Path
from unbrick.report.session import TallySession
from unbrick.report.link import load_station_and_signer

tally = load_station_and_signer(Path("/root/stick-07/unbrick.yaml"))[0].tally
with TallySession.open(tally):
    pass
"""

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


def test_a_tally_on_a_fresh_machine_from_the_first_line_to_its_new_name(tmp_path: Path) -> None:
    with fresh_machine() as machine:
        follow("administrator", tmp_path, inside=machine.inside)
        # What the page says of the two accounts is so: the one that serves never had the key.
        assert machine.run("find /srv/tally ! -user tally").strip() == ""
        assert "authority_key" not in machine.run("find /srv/tally /srv/backup")
        # The stick that knows only the old name is served, and fetches the certificate that it was given.
        machine.run(f"{sys.executable} -c {shlex.quote(_ONE_SESSION)}")
        ends = machine.run("ssh-keygen -L -f /root/stick-07/outbox/.renewed-certificate")
        assert "Principals: stick-07" in " ".join(ends.split())
