"""From a file's text to its passwords: a JSON document, labelled lines or a table, whichever it is."""

from __future__ import annotations

import re
from dataclasses import replace

from unbrick.errors import UsageError
from unbrick.keys.password import PasswordError, RecoveryPassword
from unbrick.keys.reading import document
from unbrick.keys.reading.entry import Beside, Entry, Reading
from unbrick.keys.reading.listing import read_listing
from unbrick.keys.reading.looks import guids_in
from unbrick.keys.reading.table import read_table
from unbrick.settings.csv_records import physical_lines

UNDERSTOOD = (
    "a CSV with the columns KeyID,RecoveryKey is always understood;"
    " `unbrick help technician` names the other kinds"
)

_OPENING = re.compile(r"[\[{]")
_DEEPER_THAN_ANY = 100


def read_text(text: str, name: str) -> Reading:
    """The passwords of a file that messages call `name`.

    Raises UsageError where there is none; a table whose header names the columns may be empty.
    """
    reading = _read_document(text, name) or _read_lines(text, name)
    if not reading.entries and not (reading.is_an_empty_escrow and not reading.problem_count):
        first = reading.problems[0] if reading.problems else None
        said = f" (line {first.line}: {first.message})" if first else ""
        raise UsageError(f"{name} has no line with a usable recovery password{said}", hint=UNDERSTOOD)
    return _with_the_id_in_its_name(reading, name)


def _read_lines(text: str, name: str) -> Reading:
    lines = physical_lines(text)
    table = read_table(lines, name)
    if table.has_header or any(entry.beside.ids or entry.beside.computers for entry in table.entries):
        return table
    listing = read_listing(lines)
    says_more = any(entry.beside.ids or entry.beside.computers for entry in listing.entries)
    return listing if says_more or len(listing.entries) > len(table.entries) else table


def _read_document(text: str, name: str) -> Reading | None:
    """The passwords of a JSON document, or of several in a row; None where the text is no JSON."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    documents = document.parse_several(text.strip())
    if documents is None:
        if len(_OPENING.findall(text[:1000])) > _DEEPER_THAN_ANY:
            raise UsageError(f"{name} is a JSON document that cannot be read", hint=UNDERSTOOD)
        return None
    reading = Reading()
    for found in document.walk(documents):
        try:
            password = RecoveryPassword.parse(found.text)
        except PasswordError as error:
            reading.complain(1, error.message)
            continue
        reading.entries.append(Entry(1, password, found.beside))
    if (
        not reading.problem_count
        and not reading.entries
        and (count := document.ids_without_passwords(documents))
    ):
        raise UsageError(
            f"{name} lists {count} key ids and no password",
            hint="Graph gives a password only to a request for one key, with $select=key",
        )
    return reading


def _with_the_id_in_its_name(reading: Reading, name: str) -> Reading:
    """Windows puts the id of the only password of a .TXT into the file's name, whatever the language."""
    own = guids_in(name)
    if len(reading.entries) == 1 and len(own) == 1 and not reading.entries[0].beside.certain:
        (entry,) = reading.entries
        others = [one for one in entry.beside.ids if one != own[0]]
        beside = Beside((own[0], *others), not others, entry.beside.computers, entry.beside.created)
        return replace(reading, entries=[replace(entry, beside=beside)])
    return reading
