"""The contract's `--json` documents: the schema that comes with the program, and what it cannot say.

A script may meet fields of a newer version, so the schema allows them; here exactly those it names may come.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import jsonschema

EXIT_CODES = {
    "failed": 1,
    "needs-hands": 5,
    "needs-key": 4,
    "found": 3,
    "repaired": 0,
    "undone": 0,
    "healthy": 0,
    "scanned": 0,
}
WORST_FIRST = tuple(EXIT_CODES)
SCHEMA: dict[str, Any] = json.loads(files("unbrick.manual").joinpath("result.schema.json").read_text())


def _exactly(schema: Any) -> Any:
    """The same schema, where no object may have a field that is not in it."""
    if isinstance(schema, list):
        return [_exactly(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    exact = {key: _exactly(value) for key, value in schema.items()}
    if schema.get("type") == "object":
        exact["additionalProperties"] = False
    return exact


def _validator(kind: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({**_exactly(SCHEMA), "anyOf": [{"$ref": f"#/$defs/{kind}"}]})


_RESULT, _ERROR = _validator("result"), _validator("error")


def validate(document: Any) -> None:
    """Fails where a document is neither a disk's result nor an error that is no disk's."""
    assert isinstance(document, dict), document
    if "disk" in document:
        check_document(document)
    else:
        _ERROR.validate(document)


def check_document(document: Any) -> None:
    """Fails where a document is not a disk's result, or contradicts itself."""
    _RESULT.validate(document)
    severity = WORST_FIRST.index
    for installation in document["installations"]:
        assert severity(document["status"]) <= severity(installation["status"])
    troubled = document["status"] in {"failed", "needs-hands", "needs-key"}
    assert (document["error"] is not None) == troubled, document
    assert troubled or document["reason"] is None, document
    assert document["reason"] or not troubled, document
