"""What an answer about one machine, the numbers and the board cost does not grow with the machines."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.database_trace import traced
from support.tally_events import Told, disk, uuid
from support.tally_sums import faults_of

from unbrick.cli.tally import command
from unbrick.model import Machine
from unbrick.tally.count.decisions import What
from unbrick.tally.folder import parse_address
from unbrick.tally.store.store import Store
from unbrick.tally.trust.authority import create_authority

MANY = 60_000
# As many rows as there are words, not as there are machines.
MAY_BE_READ_WHOLE = {"counters", "totals", "changes", "decisions", "unlisted"}
# The last events in the order of their index, and no more than a screen has room for.
LIMITED = {"SCAN events USING INDEX events_by_arrival", "SCAN anon_1"}


@pytest.fixture
def tally(tmp_path: Path) -> Path:
    folder = tmp_path / "tally"
    create_authority(folder, parse_address("127.0.0.1"))
    listed = tmp_path / "inventory.csv"
    listed.write_text("name,serial\nWARD-1,SN-1\nWARD-2,SN-2\n")
    with Store.open(folder / "tally.db") as store:
        store.import_inventory(listed)
        store.add(Told(1, Machine(uuid(1), "SN-1", disk(1), ("WARD-1",))).story("repaired"))
        store.add(Told(2, Machine(None, None, disk(2), ("WARD-5",))).story("needs-key", "key-missing"))
        store.add(Told(3, Machine(None, None, disk(3), ("WARD-6",))).story("failed", "timed-out"))
    return folder


@pytest.fixture
def statements() -> Iterator[list[str]]:
    """Every statement that is executed meanwhile, with its values."""
    with traced() as said:
        yield said


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--check",),
        ("--find", "ward-1"),
        ("--find", "SN-1"),
        ("--find", "sn-2"),
        ("--find", "2222-2222"),
        ("--find", "nobody"),
        ("--find", "ward-1", "--json"),
    ],
)
def test_no_answer_reads_every_machine(tally: Path, statements: list[str], options: tuple[str, ...]) -> None:
    CliRunner().invoke(command, ["status", str(tally), *options])
    whole = set()
    with sqlite3.connect(tally / "tally.db") as database:
        for statement in statements:
            if statement.lstrip().upper().startswith(("SELECT", "WITH")):
                for *_, step in database.execute(f"EXPLAIN QUERY PLAN {statement}"):
                    limited = step in LIMITED or statement.endswith("LIMIT 1") or "sqlite_" in statement
                    if step.startswith("SCAN ") and not limited:
                        whole.add(step.split()[1])
    database.close()
    assert statements
    assert whole <= MAY_BE_READ_WHOLE


def test_the_document_of_all_machines_is_what_it_was(tally: Path) -> None:
    ended = CliRunner().invoke(command, ["status", str(tally), "--json"])
    (line,) = ended.stdout.splitlines()
    document = json.loads(line)
    assert line == json.dumps(document)
    assert document["total"] == 4
    assert document["by_status"] == {"repaired": 1, "needs-key": 1, "failed": 1, "expected": 1}
    assert [one["name"] for one in document["machines"]] == ["WARD-1", "WARD-2", "WARD-5", "WARD-6"]
    assert document["machines"][2] == {
        "name": "WARD-5",
        "site": "st-marys",
        "status": "needs-key",
        "reason": "key-missing",
    }


def test_an_empty_tally_is_a_document_too(tmp_path: Path) -> None:
    create_authority(tmp_path / "tally", parse_address("127.0.0.1"))
    Store.open(tmp_path / "tally" / "tally.db").close()
    ended = CliRunner().invoke(command, ["status", str(tmp_path / "tally"), "--json"])
    document = json.loads(ended.stdout)
    assert (document["total"], document["by_status"], document["machines"]) == (0, {}, [])
    assert (document["contradictions"], document["uncounted"], document["without_identity"]) == (0, 0, 0)


def test_the_document_of_all_machines_is_written_as_it_is_read(tally: Path) -> None:
    few = peak_megabytes(tally)
    with sqlite3.connect(tally / "tally.db") as database:
        names = [row[1] for row in database.execute("PRAGMA table_info(machines)")]
        copied = ", ".join({"key": "'x:' || n", "name_key": "'X' || n"}.get(name, name) for name in names)
        database.execute(
            f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {MANY}) "
            f"INSERT INTO machines ({', '.join(names)}) SELECT {copied} FROM numbers, "
            "(SELECT * FROM machines WHERE name_key = 'WARD-5')"
        )
    database.close()
    assert peak_megabytes(tally) - few < 12


def peak_megabytes(tally: Path) -> float:
    """The most memory that the program took for the document of all machines."""
    process = subprocess.Popen(
        [sys.executable, "-m", "unbrick", "tally", "status", str(tally), "--json"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used.ru_maxrss / 1024


def test_a_long_list_of_contradictions_ends_and_says_how_many_more_there_are(tally: Path) -> None:
    with Store.open(tally / "tally.db") as store:
        for number in range(10, 65):
            told = Told(number, Machine(uuid(number), None, None, (f"X-{number}",)))
            store.add([told.outcome("repaired"), told.tell("outcome", sequence=1, status="failed")])
        store.settle(store.disputes()[0].code, What.DISMISS, reason="known", who="kim")
        assert store.summary().contradictions == 54
        assert faults_of(store) == ()
    shown = CliRunner().invoke(command, ["contradictions", str(tally)])
    assert shown.exit_code == 0
    assert shown.output.count("said by") == 50
    assert "and 4 more: --all" in shown.output
    whole = CliRunner().invoke(command, ["contradictions", str(tally), "--all"])
    assert whole.output.count("said by") == 55
    assert "more: --all" not in whole.output
