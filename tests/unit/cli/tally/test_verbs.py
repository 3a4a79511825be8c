from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
from click.testing import CliRunner

from unbrick.cli.tally import command
from unbrick.errors import UsageError
from unbrick.tally.folder import parse_address
from unbrick.tally.store.store import Store
from unbrick.tally.trust.authority import create_authority


@pytest.mark.parametrize("library", ["asyncssh", "sqlalchemy"])
def test_a_missing_library_is_said_with_what_to_do(tmp_path: Path, library: str) -> None:
    # In a process of its own: what other tests have imported stays in this one.
    program = (
        "import sys; sys.modules[sys.argv.pop(1)] = None; from unbrick.cli import main; "
        "sys.argv[0] = 'unbrick'; main()"
    )
    argv = [sys.executable, "-c", program, library, "tally", "serve", str(tmp_path)]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert f"{library} is not installed" in ended.stderr
    assert "unbrick[tally]" in ended.stderr


def test_a_user_without_a_name_enrols_and_revokes_but_vouches_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = create_authority(tmp_path / "tally", parse_address("127.0.0.1:2291"), site="main")
    Store.open(folder.database).close()

    def nobody(_: int) -> NoReturn:
        raise KeyError("getpwuid(): uid not found")

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    run = CliRunner().invoke
    enrolled = ["enrol", str(tmp_path / "tally"), "stick-7", "--site", "a", "--out", str(tmp_path / "stick")]
    assert run(command, enrolled).exit_code == 0
    revoked = run(command, ["revoke", str(tmp_path / "tally"), "stick-7", "--yes", "--json"])
    assert revoked.exit_code == 0
    said = json.loads(revoked.stdout)
    assert (said["station"], said["machines"]) == ("stick-7", [])
    noted = [json.loads(line) for line in folder.audit.read_text().splitlines()]
    assert [one["by"] for one in noted if "by" in one] == [f"user {os.getuid()}"] * 2
    refused = run(command, ["confirm", str(tmp_path / "tally"), "WARD-3-PC"]).exception
    assert isinstance(refused, UsageError)
    assert refused.hint == "say on whose word it is: --who NAME"


def test_every_verb_has_an_example() -> None:
    for verb in command.commands.values():
        assert "Example: unbrick tally" in (verb.help or ""), verb.name
