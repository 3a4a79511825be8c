"""A playbook as plain data again, spelled as its file spells it: for JSON and for showing it to people."""

from __future__ import annotations

from dataclasses import is_dataclass
from datetime import date, datetime
from typing import Any

from unbrick.incidents.pattern import PathPattern
from unbrick.incidents.playbook import Playbook
from unbrick.settings.strict import keys_of


def to_document(playbook: Playbook) -> dict[str, Any]:
    """The playbook's keys and values, without those not given; fits the JSON Schema."""
    return _record(playbook)


def _record(record: Any) -> dict[str, Any]:
    values = ((name, getattr(record, one.name)) for name, (one, _) in keys_of(type(record)).items())
    return {name: _plain(value) for name, value in values if value is not None}


def _plain(value: Any) -> Any:
    """One value as JSON has it; what the file writes as text becomes that text."""
    if isinstance(value, PathPattern):
        return value.text
    if is_dataclass(value):
        return _record(value)
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, bytes):
        return value.hex(" ").upper()
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value
