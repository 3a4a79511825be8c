"""Passwords in JSON: what Graph answers, and what scripts put into a file or a cell."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from unbrick.keys.reading.entry import Beside
from unbrick.keys.reading.looks import (
    ID_NAMES,
    PASSWORD_NAMES,
    clean,
    computer_name,
    ids_in,
    plain_name,
    time_in,
)

_DEEPEST = 16
_BETWEEN = re.compile(r"[\s,\ufeff]*")
_NAMES_OF_COMPUTERS = ("computername", "devicename", "displayname", "hostname", "computer", "device", "name")
_NAMES_OF_TIMES = ("createddatetime", "keycreated", "whencreated", "created")


@dataclass(frozen=True)
class Found:
    """An object's password as text, with what the object says of it."""

    text: str = field(repr=False)
    beside: Beside
    broken_id: bool


def parse(text: str) -> dict[str, Any] | list[Any] | None:
    """A JSON object or array; None where the text is none, or too deep to be read."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict | list) else None


def parse_several(text: str) -> list[Any] | None:
    """JSON documents one after another, of one line or of several each; None where the text is not that."""
    decoder, found, at = json.JSONDecoder(), [], 0
    try:
        while at < len(text):
            document, at = decoder.raw_decode(text, at)
            found.append(document)
            at = _between(text, at)
    except (ValueError, RecursionError):
        return None
    return found if all(isinstance(one, dict | list) for one in found) else None


def _between(text: str, at: int) -> int:
    match = _BETWEEN.match(text, at)
    return match.end() if match else at


def walk(document: Any, depth: int = 0) -> Iterator[Found]:
    """Every object that has a password in it."""
    if depth > _DEEPEST:
        return
    if isinstance(document, list):
        for item in document:
            yield from walk(item, depth + 1)
    if not isinstance(document, dict):
        return
    named = {plain_name(name): value for name, value in document.items()}
    passwords = _texts(named, (*sorted(PASSWORD_NAMES), "key"))
    if not passwords:
        for value in document.values():
            yield from walk(value, depth + 1)
        return
    ids = _texts(named, (*sorted(ID_NAMES), "id"))
    read = [one for text in ids if clean(text) for one in ids_in(text)]
    computers = [name for text in _texts(named, _NAMES_OF_COMPUTERS) if (name := computer_name(text))]
    created = next((time for text in _texts(named, _NAMES_OF_TIMES) if (time := time_in(text))), "")
    beside = Beside(tuple(dict.fromkeys(read)), len(set(read)) == 1, tuple(computers), created)
    yield from (Found(clean(text), beside, bool(ids) and not read) for text in passwords)


def ids_without_passwords(document: Any, depth: int = 0) -> int:
    """How many objects have a key's id and no password: what Graph's list of keys is."""
    if depth > _DEEPEST:
        return 0
    if isinstance(document, list):
        return sum(ids_without_passwords(item, depth + 1) for item in document)
    if not isinstance(document, dict):
        return 0
    own = isinstance(document.get("id"), str) and bool(ids_in(document["id"])) and "volumeType" in document
    return int(own) + sum(ids_without_passwords(value, depth + 1) for value in document.values())


def _texts(named: dict[str, Any], names: tuple[str, ...]) -> list[str]:
    return [named[name] for name in names if isinstance(named.get(name), str)]
