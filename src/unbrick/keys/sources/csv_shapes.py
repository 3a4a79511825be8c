"""Which cell of a record is a recovery password and which its key ID, in the shapes people export.

Whether a password is well-formed is for `keys/password.py`. The column names are those of CrowdStrike's
BuildISO.ps1, Entra and Graph exports, Active Directory's msFVE attributes and scripts seen in public.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

_ID_NAMES = frozenset(
    [
        *("keyid", "bitlockerkeyid", "bitlockerid", "bitlockerrecoverykeyid", "recoverykeyid"),
        *("recoveryid", "recoveryguid", "recoverypasswordid", "passwordid", "keyprotectorid"),
        *("protectorid", "keyidentifier", "recoverykeyidentifier", "bitlockerkeyidentifier"),
        *("msfverecoveryguid",),
    ]
)
_PASSWORD_NAMES = frozenset(
    [
        *("recoverykey", "bitlockerkey", "bitlockerrecoverykey", "recoverypassword"),
        *("bitlockerrecoverypassword", "bitlockerpassword", "numericalpassword"),
        *("bitlockerrecoverykeypassword", "msfverecoverypassword"),
    ]
)
_NAMES_OF_OTHER_GUIDS = frozenset(
    [
        *("entraobjectid", "objectid", "objectguid", "entradeviceid", "azureaddeviceid"),
        *("aaddeviceid", "deviceid", "manageddeviceid", "intunedeviceid", "tenantid", "userid"),
        *("ownerid", "volumeid", "volumeguid", "msfvevolumeguid", "smbiosuuid", "uuid", "diskguid"),
    ]
)

_AROUND = " \t\r\n\v\f\u00a0\ufeff\u200b\"'“”„‘’`"
_HEX = "[0-9A-Fa-f]"
_GUID = rf"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}"
_ANY_GUID = re.compile(rf"(?<![0-9A-Za-z-])({_GUID})(?![0-9A-Za-z-])")
_ONLY_A_GUID = re.compile(rf"[{{(]?({_GUID})[)}}]?")
_DIRECTORY_NAME = re.compile(rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T[0-9:.+-]{{5,24}}Z?\\?{{({_GUID})\\?}}")
_BARE_GUID = re.compile(rf"[{{(]?({_HEX}{{32}})[)}}]?")
_FIRST_EIGHT = re.compile(rf"{_HEX}{{8}}")
_BASE64_GUID = re.compile(r"[A-Za-z0-9+/]{22}==")
_CSVDE_GUID = re.compile(rf"X'({_HEX}{{32}})'", re.IGNORECASE)
_LIKE_A_PASSWORD = re.compile(r"(?:[0-9][^0-9A-Za-z]{0,3}){36,60}")
_PART_OF_A_PASSWORD = re.compile(r"[0-9]{6}[- ][0-9]{6}[- ][0-9]{6}|[0-9]{48}")
_MOST_CHARACTERS_OF_A_PASSWORD = 200
_DEEPEST_JSON = 6


@dataclass(frozen=True, slots=True)
class Row:
    """One password as a file has it, and its ids (upper case, or their first eight characters).

    `broken_id`: an id was there and could not be read.
    """

    protector_ids: tuple[str, ...]
    password_text: str = field(repr=False)
    broken_id: bool = False


@dataclass(frozen=True)
class Columns:
    """The columns that a header names; where it names none, content decides."""

    count: int = 0
    ids: tuple[int, ...] = ()
    passwords: tuple[int, ...] = ()
    other_guids: frozenset[int] = frozenset()

    @property
    def known(self) -> bool:
        return bool(self.ids or self.passwords)


def read_header(cells: Sequence[str]) -> Columns:
    """A record taken for a header; `.known` is whether it is one."""
    names = [_plain_name(cell) for cell in cells]
    return Columns(
        count=len(cells),
        ids=tuple(index for index, name in enumerate(names) if name in _ID_NAMES),
        passwords=tuple(index for index, name in enumerate(names) if name in _PASSWORD_NAMES),
        other_guids=frozenset(index for index, name in enumerate(names) if name in _NAMES_OF_OTHER_GUIDS),
    )


def count_known_cells(cells: Sequence[str]) -> int:
    """How many cells look like a column name, a GUID or a password: tells delimiters apart."""
    texts = [clean(cell) for cell in cells]
    return sum(
        1
        for text in texts
        if _looks_like_a_password(text)
        or _ONLY_A_GUID.fullmatch(text)
        or _plain_name(text) in _ID_NAMES | _PASSWORD_NAMES | _NAMES_OF_OTHER_GUIDS
    )


def holds_a_guid(cells: Sequence[str]) -> bool:
    """Such a record is no header."""
    return any(_ANY_GUID.search(cell) for cell in cells)


def read_rows(cells: Sequence[str], columns: Columns) -> list[Row]:
    """The passwords of one record with their ids."""
    if len(cells) > columns.count:  # a comma in an unquoted name: content alone decides
        columns = Columns(len(cells))
    texts = [cell and clean(cell) for cell in cells]
    rows: list[Row] = []
    plain: list[str] = []
    for index, text in enumerate(texts):
        if not text or index in columns.ids:
            continue
        if text[:1] in ("{", "[") and (document := _parse_json(text)) is not None:
            rows.extend(_walk(document, 0))
        elif text and (
            index in columns.passwords or (not columns.passwords and _looks_like_a_password(text))
        ):
            plain.append(text)
    if plain:
        ids, broken = _ids_of_record(cells, texts, columns)
        rows.extend(Row(ids, text, broken) for text in plain)
    return rows


def hides_passwords(cell: str) -> bool:
    """Whether a plain cell over several lines has passwords in it: good lines that a stray quote joined."""
    text = clean(cell)
    return "\n" in text and text[:1] not in ("{", "[") and _PART_OF_A_PASSWORD.search(text) is not None


def clean(cell: str) -> str:
    """A cell without what Excel and people put around it: spaces, `="…"`, a leading apostrophe, quotes."""
    return cell.strip(_AROUND).lstrip("=").strip(_AROUND)


def _plain_name(cell: str) -> str:
    return "".join(character for character in clean(cell)[:64].casefold() if character.isalnum())


def _looks_like_a_password(text: str) -> bool:
    return len(text) <= _MOST_CHARACTERS_OF_A_PASSWORD and _LIKE_A_PASSWORD.fullmatch(text) is not None


def _ids_of_record(
    cells: Sequence[str], texts: Sequence[str], columns: Columns
) -> tuple[tuple[str, ...], bool]:
    """Every id that a record's password may belong to, and whether there was one that could not be read."""
    found: list[str] = []
    broken = False
    for index, text in enumerate(texts):
        if match := _DIRECTORY_NAME.search(text):
            found.append(match[1].upper())
        elif index in columns.ids and text:
            protector = _id_in_its_column(cells[index], text)
            broken = broken or protector is None
            if protector is not None:
                found.append(protector)
        elif not columns.ids and index not in columns.other_guids and (match := _ONLY_A_GUID.fullmatch(text)):
            found.append(match[1].upper())
    return tuple(found), broken and not found


def _id_in_its_column(cell: str, text: str) -> str | None:
    """The id in a cell that is known to hold one: text, or Active Directory's 16 little-endian bytes."""
    if match := _ANY_GUID.search(text):
        return match[1].upper()
    if match := _BARE_GUID.fullmatch(text):
        return str(uuid.UUID(hex=match[1])).upper()
    if _FIRST_EIGHT.fullmatch(text):
        return text.upper()
    raw = cell.strip(_AROUND)
    if match := _CSVDE_GUID.fullmatch(cell.strip()):
        return str(uuid.UUID(bytes_le=bytes.fromhex(match[1]))).upper()
    if _BASE64_GUID.fullmatch(raw):
        try:
            return str(uuid.UUID(bytes_le=base64.b64decode(raw, validate=True))).upper()
        except (binascii.Error, ValueError):
            return None
    return None


def _parse_json(text: str) -> dict[str, Any] | list[Any] | None:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict | list) else None


def _walk(document: Any, depth: int) -> Iterator[Row]:
    """Every object in a JSON cell that has a password, as an export script put it there."""
    if depth > _DEEPEST_JSON:
        return
    if isinstance(document, list):
        for item in document:
            yield from _walk(item, depth + 1)
    if not isinstance(document, dict):
        return
    named = {_plain_name(name): value for name, value in document.items()}
    passwords = [
        named[name] for name in (*sorted(_PASSWORD_NAMES), "key") if isinstance(named.get(name), str)
    ]
    if passwords:
        ids = [named[name] for name in (*sorted(_ID_NAMES), "id") if isinstance(named.get(name), str)]
        read = [_id_in_its_column(text, clean(text)) for text in ids if clean(text)]
        found = tuple(protector for protector in read if protector is not None)
        yield from (Row(found, text, bool(read) and not found) for text in map(clean, passwords))
        return
    for value in document.values():
        yield from _walk(value, depth + 1)
