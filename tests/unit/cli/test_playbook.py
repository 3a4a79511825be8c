from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner, Result
from support.own_playbooks import NAME, TEXT, write_playbook

from unbrick.cli.playbook import command
from unbrick.errors import UsageError
from unbrick.incidents.library import library_files


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments), catch_exceptions=False, standalone_mode=True)


def test_list() -> None:
    assert "crowdstrike-cf291" in _run("list").stdout
    listed = [json.loads(line) for line in _run("list", "--json").stdout.splitlines()]
    assert [one["id"] for one in listed] == sorted(one["id"] for one in listed)
    assert "crowdstrike-cf291" in [one["id"] for one in listed]


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
    good = write_playbook(tmp_path / "good.yaml")
    bad = write_playbook(tmp_path / "bad.yaml", TEXT.replace("title: ", "titel: "))
    result = _run("lint", str(bad), str(good))
    assert result.exit_code == 2
    assert f"{bad}:3: a playbook: expected one of id, title" in result.stderr
    assert result.stdout == f"{good}: {NAME} is right\n"
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


@pytest.mark.parametrize(("name", "data"), library_files())
def test_a_copy_of_the_librarys_is_right_and_another_of_its_id_is_not(
    tmp_path: Path, name: str, data: bytes
) -> None:
    copy = tmp_path / name
    copy.write_bytes(b"# ours\n" + data)
    assert _run("lint", str(copy)).exit_code == 0
    copy.write_bytes(b"# ours\n" + data.replace(b"title: ", b"title: Our ", 1))
    result = _run("lint", str(copy))
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert "id: expected one that no other playbook has" in line


def test_lint_of_two_files_with_one_id(tmp_path: Path) -> None:
    first = write_playbook(tmp_path / "first.yaml")
    second = write_playbook(tmp_path / "second.yaml", TEXT.replace("title: An", "title: Another"))
    result = _run("lint", str(first), str(second))
    assert result.exit_code == 2
    assert result.stderr == (
        f"{second}:2: id: expected one that no other playbook has, not '{NAME}', "
        f"which belongs to the one in {first}\n"
    )
