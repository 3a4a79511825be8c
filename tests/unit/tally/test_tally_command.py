from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from unbrick.cli.tally import command


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


def test_every_verb_has_an_example() -> None:
    for verb in command.commands.values():
        assert "Example: unbrick tally" in (verb.help or ""), verb.name
