"""Makes what was seen on a disk fit for an event: short, plain, without anybody's profile path.

Names, paths and reasons come from hostile disks. An event that the tally refuses for its size or shape would
not be counted, so what is too long is cut, and ends in an ellipsis.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from unbrick.events.event import GUID, LONGEST_NAME, MOST_HOSTNAMES, canonical_json
from unbrick.events.identity import valid_serial, valid_smbios_uuid
from unbrick.model import Machine
from unbrick.text import printable

_LONGEST_TEXT = 400
_MOST_ENTRIES = 64
_DEEPEST = 3  # of the lists and tables in a detail; `parse_event` takes no more
_MOST_BYTES = 32 * 1024
_PROFILE = re.compile(r"(^|[\\/])(users|documents and settings|home)[\\/].*", re.IGNORECASE | re.DOTALL)


def short_facts(details: Mapping[str, Any]) -> dict[str, Any]:
    """The details of an event as it may carry them; None values are left out."""
    most = _MOST_ENTRIES
    while True:
        facts = {
            _text(key): _fact(value, _DEEPEST, most) for key, value in details.items() if value is not None
        }
        if most == 0 or len(canonical_json(facts)) <= _MOST_BYTES:
            return facts
        most //= 2


def plain_machine(machine: Machine) -> Machine:
    """A machine with identifiers of a known shape only; computer names are as hostile as their disk."""
    plain = (printable(name, "")[:LONGEST_NAME] for name in machine.hostnames)
    names = tuple(dict.fromkeys(name for name in plain if name))
    guid = machine.disk_guid
    return Machine(
        smbios_uuid=valid_smbios_uuid(machine.smbios_uuid),
        serial=valid_serial(machine.serial),
        disk_guid=guid if guid and GUID.fullmatch(guid) else None,
        hostnames=names[:MOST_HOSTNAMES],
    )


def _fact(value: Any, left: int, most: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < 2**63 else str(value)[:_LONGEST_TEXT]
    if left > 0 and isinstance(value, Mapping):
        entries = list(value.items())[:most]
        return {_text(str(key)): _fact(one, left - 1, most) for key, one in entries}
    if left > 0 and isinstance(value, list | tuple):
        return [_fact(one, left - 1, most) for one in value[:most]]
    return _text(str(value))


def _text(text: str) -> str:
    whole = _PROFILE.sub(r"\1\2\\…", text.encode(errors="replace").decode())
    return whole if len(whole) <= _LONGEST_TEXT else whole[: _LONGEST_TEXT - 1] + "…"
