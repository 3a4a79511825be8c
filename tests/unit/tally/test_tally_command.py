from __future__ import annotations

import sys
from pathlib import Path

import pytest

from unbrick.cli.tally import command
from unbrick.errors import FailedError


@pytest.mark.parametrize("library", ["asyncssh", "sqlalchemy"])
def test_a_missing_library_is_said_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    for name in [name for name in sys.modules if name.startswith(("unbrick.tally.", library))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(FailedError, match=f"{library} is not installed") as caught:
        command.main(["serve", str(tmp_path)], standalone_mode=False)
    assert caught.value.hint is not None
    assert "unbrick[tally]" in caught.value.hint


def test_every_verb_has_an_example() -> None:
    for verb in command.commands.values():
        assert "Example: unbrick tally" in (verb.help or ""), verb.name
