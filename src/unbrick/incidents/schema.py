"""The JSON Schema of a playbook, made from the types that the loader fills, so that both cannot disagree.

It tells an editor what may be written where. What no schema can tell (protected paths, empty spans) is
left to `unbrick playbook lint`.
"""

from __future__ import annotations

import types
import typing
from dataclasses import MISSING, is_dataclass
from typing import Any

from unbrick.incidents.playbook import Playbook, Rule
from unbrick.model import Verdict
from unbrick.settings.strict import Shape, keys_of


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
    """A faulty rule needs its conditions and its action; no other rule has one."""
    return {
        "if": {"properties": {"verdict": {"const": str(Verdict.FAULTY)}}},
        "then": {"required": ["when", "action"]},
        "else": {"properties": {"action": False}},
    }
