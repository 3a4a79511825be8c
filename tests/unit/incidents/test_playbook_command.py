from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner, Result

from unbrick.cli.playbook import command
from unbrick.errors import UsageError
from unbrick.incidents.library import library_files


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments), catch_exceptions=False, standalone_mode=True)


def test_list() -> None:
    assert "crowdstrike-cf291" in _run("list").stdout
    assert json.loads(_run("list", "--json").stdout.splitlines()[0])["id"] == "crowdstrike-cf291"


def test_show_fits_the_schema_it_prints() -> None:
    schema = json.loads(_run("show", "--schema").stdout)
    shown = json.loads(_run("show", "crowdstrike-cf291", "--json").stdout)
    jsonschema.validate(shown, schema)
    text = _run("show", "crowdstrike-cf291").stdout
    assert "first_bytes: AA AA AA AA 01 00 23 01" in text
    assert "from 2024-07-19T04:09:00Z, before 2024-07-19T05:27:00Z" in text


@pytest.mark.parametrize("arguments", [("show", "nope"), ("show",)])
def test_show_of_nothing_known_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        _run(*arguments)


def test_lint_says_file_line_and_what_was_expected(tmp_path: Path) -> None:
    name, data = library_files()[0]
    good, bad = tmp_path / name, tmp_path / "bad.yaml"
    good.write_bytes(data)
    bad.write_bytes(data.replace(b"title: ", b"titel: ", 1))
    result = _run("lint", str(bad), str(good))
    assert result.exit_code == 2
    assert f"{bad}:8: a playbook: expected one of id, title" in result.stderr
    assert result.stdout == f"{good}: crowdstrike-cf291 is right\n"
    assert _run("lint", str(good)).exit_code == 0


def test_lint_as_json(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("id: x")
    result = _run("lint", "--json", str(bad), str(tmp_path / "none.yaml"))
    first, second = map(json.loads, result.stdout.splitlines())
    assert result.exit_code == 2
    assert result.stderr == ""
    assert (first["file"], first["ok"]) == (str(bad), False)
    assert {"line", "message"} == set(first["problems"][0])
    assert "No such file" in second["problems"][0]["message"]
