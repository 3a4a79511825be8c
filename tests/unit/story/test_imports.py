"""The story of one disk needs nothing of the tally's, nor of the way to it."""

from __future__ import annotations

import subprocess
import sys


def test_the_recovery_loads_no_network_and_no_database() -> None:
    program = (
        "import sys, unbrick.recovery\n"
        "print([name for name in sorted(sys.modules) if name in "
        "{'paramiko', 'asyncssh', 'sqlalchemy', 'cryptography', 'socket', 'unbrick.report.client'}"
        " or name.startswith('unbrick.tally')])"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said == "[]\n"
