from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from unbrick.errors import UsageError
from unbrick.incidents.library import find_playbook, library_files, load_library, parse_playbook
from unbrick.incidents.schema import json_schema, to_document
from unbrick.settings.strict import StrictError


def _validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json_schema())


def _as_an_editor_reads_it(data: bytes) -> Any:
    """YAML as JSON has it: dates stay text, as in YAML 1.2 and in every editor's schema check."""
    return yaml.load(data, yaml.BaseLoader)


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    json.dumps(json_schema())


@pytest.mark.parametrize("playbook", load_library(), ids=lambda playbook: playbook.id)
def test_every_playbook_of_the_library_fits(playbook: Any) -> None:
    _validator().validate(to_document(playbook))


def test_the_library_is_found_and_named_by_its_ids() -> None:
    playbooks = load_library()
    assert "crowdstrike-cf291" in [playbook.id for playbook in playbooks]
    assert [f"{playbook.id}.yaml" for playbook in playbooks] == [name for name, _ in library_files()]
    with pytest.raises(UsageError, match="no playbook 'nope'"):
        find_playbook(playbooks, "nope")


@pytest.mark.parametrize(("name", "data"), library_files())
def test_what_is_shown_is_what_the_file_says(name: str, data: bytes) -> None:
    shown = json.loads(json.dumps(to_document(parse_playbook(data, name))))
    assert _texts(shown) == _texts(_as_an_editor_reads_it(data))


def _texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _texts(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_texts(one) for one in value]
    return str(value).lower() if isinstance(value, bool | int) else value


def _set(*path: Any, to: Any) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = to

    return change


def _drop(*path: Any) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        del document[path[-1]]

    return change


@pytest.mark.parametrize(
    "spoil",
    [
        _set("colour", to="red"),
        _set("id", to="Not An Id"),
        _set("title", to=5),
        _set("dates", "from", to="2024-07-19T04:09:00"),
        _set("dates", "published", to="yesterday"),
        _set("references", to=[]),
        _set("references", 0, to="ftp://example.org/"),
        _set("limits", "files", to=0),
        _set("limits", "bytes", to="many"),
        _set("requires", to={}),
        _set("rules", to=[]),
        _set("rules", 0, "verdict", to="bad"),
        _set("rules", 0, "action", to="delete"),
        _set("rules", 0, "when", to={}),
        _set("rules", 0, "when", "all_zero", to="yes"),
        _set("rules", 0, "path", to="C:\\a"),
        _set("rules", 1, "when", "first_bytes", to="4D 5"),
        _set("rules", 1, "when", "modified", to={}),
        _set("rules", 2, "action", to="quarantine"),
        _drop("rules", 0, "action"),
        _drop("rules", 0, "when"),
        _drop("rules", 0, "path"),
        _drop("id"),
        _drop("limits"),
    ],
)
def test_schema_and_loader_refuse_the_same(spoil: Callable[[Any], None]) -> None:
    document = copy.deepcopy(to_document(find_playbook(load_library(), "crowdstrike-cf291")))
    parse_playbook(json.dumps(document).encode(), "as.json")
    spoil(document)
    with pytest.raises(jsonschema.ValidationError):
        _validator().validate(document)
    with pytest.raises(StrictError):
        parse_playbook(json.dumps(document).encode(), "as.json")


def test_no_test_counts_the_library_or_takes_its_first_for_a_certain_one() -> None:
    """A second incident is a file more, and turns no test red."""
    counted = re.compile(
        r"(load_library|library_files|playbooks)\(\)\[|\(\w+,\) = (load_library|library_files)\(\)"
        r"|(next\(iter|len|sorted)\((load_library|library_files)\(\)"
    )
    tests = Path(__file__).parents[2]
    found = [
        f"{path.name}:{number}"
        for path in tests.rglob("*.py")
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if counted.search(line)
    ]
    assert found == []
