"""A playbook as plain data again, and the JSON Schema it fits; both from the types that a file is read into.

The schema tells an editor what may be written where. What no schema can tell (protected paths, empty spans)
is left to `unbrick playbook lint`.
"""

from __future__ import annotations

import types
import typing
from dataclasses import MISSING, is_dataclass
from datetime import date, datetime
from typing import Any

from unbrick.incidents.pattern import PathPattern
from unbrick.incidents.playbook import Playbook, Rule
from unbrick.model import Verdict
from unbrick.settings.strict import Shape, keys_of


def to_document(playbook: Playbook) -> dict[str, Any]:
    """The playbook's keys and values as its file spells them, without those not given."""
    return _plain_record(playbook)


def _plain_record(record: Any) -> dict[str, Any]:
    values = ((name, getattr(record, one.name)) for name, (one, _) in keys_of(type(record)).items())
    return {name: _plain(value) for name, value in values if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, PathPattern):
        return value.text
    if is_dataclass(value):
        return _plain_record(value)
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, bytes):
        return value.hex(" ").upper()
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value


def json_schema() -> dict[str, Any]:
    """The schema (draft 2020-12) as plain data, ready for `json.dumps`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "unbrick playbook",
        **_record(Playbook),
    }


def _of(hint: Any) -> dict[str, Any]:
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        return _scalar(hint.__metadata__[0])
    if origin in (types.UnionType, typing.Union):
        return _of(next(one for one in typing.get_args(hint) if one is not types.NoneType))
    if origin is tuple:
        return {"type": "array", "minItems": 1, "items": _of(typing.get_args(hint)[0])}
    if is_dataclass(hint) and isinstance(hint, type):
        return _record(hint)
    return {"enum": [str(member) for member in hint]}


def _scalar(shape: Shape) -> dict[str, Any]:
    limits = {
        "pattern": shape.pattern,
        "maxLength": shape.longest,
        "minimum": shape.lowest,
        "maximum": shape.highest,
    }
    return {"type": shape.kind.value, **{name: limit for name, limit in limits.items() if limit is not None}}


def _record(hint: type[Any]) -> dict[str, Any]:
    keys = keys_of(hint)
    required = [name for name, (one, _) in keys.items() if one.default is MISSING]
    schema: dict[str, Any] = {
        "type": "object",
        "description": (hint.__doc__ or "").splitlines()[0],
        "properties": {
            name: {"description": one.metadata["about"], **_of(inner)} for name, (one, inner) in keys.items()
        },
        "additionalProperties": False,
    }
    if required:
        schema["required"] = required
    else:
        schema["minProperties"] = 1
    if hint is Rule:
        schema |= _only_faulty_acts()
    return schema


def _only_faulty_acts() -> dict[str, Any]:
    """A faulty rule needs conditions and an action; no other rule has an action."""
    return {
        "if": {"properties": {"verdict": {"const": str(Verdict.FAULTY)}}},
        "then": {"required": ["when", "action"]},
        "else": {"properties": {"action": False}},
    }
