"""The story of one disk needs nothing of the tally's, nor of the way to it; nor does its report, at first."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("modules", "late"),
    [
        ("unbrick.recovery.story", {"ssl", "unbrick.report.session"}),
        ("unbrick.report.link, unbrick.station.boot, unbrick.station.stick.trust", set()),
    ],
)
def test_the_recovery_loads_no_network_no_database_and_no_cryptography(modules: str, late: set[str]) -> None:
    program = (
        f"import sys, {modules}\n"
        "print([name for name in sorted(sys.modules) if name in "
        f"{ {'paramiko', 'asyncssh', 'sqlalchemy', 'cryptography', 'yaml', *late} }"
        " or name.startswith('unbrick.tally')])"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said == "[]\n"
