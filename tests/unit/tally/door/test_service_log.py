from __future__ import annotations

import logging
import os
import re
from pathlib import Path

from unbrick.tally.door.service_log import ServiceLog, goes_to_journal


def test_a_line_has_the_time_and_nothing_that_a_terminal_would_act_on(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as stream:
        log = ServiceLog(logging.INFO, stream.fileno(), {})
        log(logging.INFO, "visit counted: \x1b[2JWARD\n<0>forged")
        log(logging.DEBUG, "nobody asked for this")
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ visit counted:  \[2JWARD <0>forged", line)


def test_under_journald_each_line_begins_with_its_priority(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as stream:
        found = os.fstat(stream.fileno())
        journal = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        assert goes_to_journal(stream.fileno(), journal)
        assert not goes_to_journal(stream.fileno(), {"JOURNAL_STREAM": "1:2"})
        log = ServiceLog(logging.DEBUG, stream.fileno(), journal)
        for level in (logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG):
            log(level, "x")
    assert (tmp_path / "log").read_text() == "<3>x\n<4>x\n<6>x\n<7>x\n"


def test_where_nobody_reads_nobody_waits_and_what_is_lost_is_counted() -> None:
    reading, writing = os.pipe()
    try:
        log = ServiceLog(logging.INFO, writing, {})
        for number in range(2000):
            log(logging.INFO, f"line {number} " + "x" * 100)
        first = os.read(reading, 1 << 20)
        assert first.startswith(b"20")
        log(logging.INFO, "again")
        lost, again = os.read(reading, 1 << 20).decode().splitlines()
        assert int(lost.split()[1].replace(",", "")) == 2000 - first.count(b"\n")
        assert again.endswith(" again")
    finally:
        os.close(reading)
        os.close(writing)
