"""A program that runs beside us, read while it writes."""

from __future__ import annotations

import sys

from unbrick.command import SystemRunner

LINES = 20_000
PROGRAM = f"""
import os
for number in range({LINES}):
    os.write(2, b"%06d\\n" % number)
"""


def test_reading_what_a_program_says_loses_nothing_of_it() -> None:
    server = SystemRunner().start([sys.executable, "-c", PROGRAM])
    try:
        while server.poll() is None:
            server.read_error()
    finally:
        server.stop(10)
    assert server.read_error().decode().split() == [f"{number:06}" for number in range(LINES)]
