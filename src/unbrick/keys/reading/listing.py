"""Passwords in labelled lines, with the key id on another line than the password.

`manage-bde -protectors -get`, the .TXT that Windows saves (in any language), PowerShell's Format-List, LDIF,
and what Microsoft's Get-BitLockerRecoveryInfo.vbs prints. No label is needed to find an id: what stands in
the same paragraph comes first, then what stands since the password before, then what follows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from unbrick.keys.password import RecoveryPassword
from unbrick.keys.reading.entry import Beside, Entry, Reading
from unbrick.keys.reading.looks import (
    ID_NAMES,
    NAMES_OF_OTHER_GUIDS,
    clean,
    computers_in,
    directory_name,
    guids_in,
    ids_in,
    passwords_in,
    plain_name,
    time_in,
)

_END_OF_A_LABEL = re.compile(r"::?|=")
_LONGEST_LABEL = 64
_NAMES_OF_KEY_IDS = ID_NAMES | {"id", "identifier", "name", "dn", "distinguishedname"}
_PART_OF_COMPUTER_LABELS = ("computer", "device", "host", "name", "pc", "dn")
_MOST_COMPUTERS = 4


@dataclass
class _Said:
    """What some lines say beside a password."""

    named: list[str] = field(default_factory=list)
    hinted: list[str] = field(default_factory=list)
    computers: list[str] = field(default_factory=list)
    created: str = ""

    def beside(self, *, certain: bool) -> Beside:
        ids = tuple(dict.fromkeys([*self.named, *self.hinted]))
        is_certain = certain and len(ids) == 1 and bool(self.named)
        return Beside(ids, is_certain, tuple(dict.fromkeys(self.computers))[:_MOST_COMPUTERS], self.created)

    def __bool__(self) -> bool:
        return bool(self.named or self.hinted)


@dataclass(frozen=True)
class _Line:
    number: int
    text: str
    paragraph: int
    passwords: Sequence[RecoveryPassword]


def read_listing(lines: Sequence[str]) -> Reading:
    """The passwords of a text, each with the ids that stand nearest."""
    reading = Reading()
    marked = list(_marked(_unfolded(lines)))
    places = [index for index, line in enumerate(marked) if line.passwords]
    for nth, place in enumerate(places):
        line = marked[place]
        before = places[nth - 1] + 1 if nth else 0
        after = places[nth + 1] if nth + 1 < len(places) else len(marked)
        preceding, following = marked[before : place + 1], marked[place + 1 : after]
        near = [one for one in preceding if one.paragraph == line.paragraph]
        near_after = [one for one in following if one.paragraph == line.paragraph]
        neighbours = [*places[max(nth - 1, 0) : nth], *places[nth + 1 : nth + 2]]
        alone = all(marked[other].paragraph != line.paragraph for other in neighbours)
        own = _say([*near, *near_after] if alone else near)
        said = own or _say(near_after) or _say(preceding) or _say(following)
        beside = (said or own).beside(certain=said is own and len(line.passwords) == 1)
        reading.entries.extend(Entry(line.number, password, beside) for password in line.passwords)
    return reading


def _unfolded(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Whole lines with the number of their first, where LDIF or PowerShell's Format-List has wrapped them.

    LDIF goes on after one space (RFC 2849); Format-List indents to the column where the value begins.
    """
    is_ldif = any(line.startswith(("dn:", "version: 1")) for line in lines[:2000])
    number, whole, column = 0, "", 0
    for index, line in enumerate(lines, 1):
        indent = len(line) - len(line.lstrip(" "))
        goes_on = indent == 1 if is_ldif else bool(column) and indent == column
        if whole.strip() and line.strip() and goes_on:
            whole += line[indent:]
            continue
        if number:
            yield number, whole
        number, whole = index, line
        column = line.find(" : ") + 3 if " : " in line else 0
    if number:
        yield number, whole


def _marked(lines: Iterator[tuple[int, str]]) -> Iterator[_Line]:
    paragraph = 0
    for number, text in lines:
        if not text.strip():
            paragraph += 1
        yield _Line(number, text, paragraph, passwords_in(text) if len(text) < 4096 else ())


def _label_and_value(text: str) -> tuple[str, str]:
    """What stands before and after the first colon or equals sign; no label where that is far away."""
    end = _END_OF_A_LABEL.search(text, 0, _LONGEST_LABEL)
    return (plain_name(text[: end.start()]), text[end.end() :].strip()) if end else ("", text)


def _say(lines: Sequence[_Line]) -> _Said:
    said = _Said()
    for line in lines:
        label, value = _label_and_value(line.text.strip())
        if directory := directory_name(line.text):
            said.named.append(directory[0])
            said.created = said.created or time_in(directory[1])
            said.computers.extend(computers_in(line.text.rpartition("}")[2].lstrip("\\,")))
        elif label in NAMES_OF_OTHER_GUIDS or line.passwords:
            said.hinted.extend(guids_in(line.text) if line.passwords else [])
        elif label in _NAMES_OF_KEY_IDS and label != "name" and (found := ids_in(value)):
            said.named.extend(found)
        elif found := guids_in(line.text):
            said.hinted.extend(found)
        elif any(part in label for part in _PART_OF_COMPUTER_LABELS):
            said.computers.extend(computers_in(clean(value)))
        else:
            said.created = said.created or time_in(value)
    return said
