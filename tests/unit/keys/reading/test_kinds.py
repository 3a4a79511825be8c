"""Every kind of export: the right password is found, and found first where anything in it says so."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
from support.recovery_passwords import leaked_digits, make_guid, make_password

from unbrick.errors import UsageError
from unbrick.keys.chain import MOST_TRIES, KeyChain
from unbrick.keys.reading.text import read_text
from unbrick.keys.sources.files import KeyFiles

Row = tuple[str, str, str]  # computer, key id, password
Form = Callable[[str, str, str], str]

PLACE = 44
ROWS: list[Row] = [(f"PC-{n:04}", make_guid(n), make_password(n)) for n in range(60)]
HOST, ID, KEY = ROWS[PLACE]
WHEN = "2023-09-04T07:12:30-00:00"


def _guid(seed: int) -> str:
    return make_guid(1000 + seed)


def _base64(guid: str) -> str:
    return base64.b64encode(uuid.UUID(guid).bytes_le).decode()


def _folded(line: str, width: int = 76) -> str:
    """As ldapsearch wraps a line: what goes on begins with one space."""
    parts = [line[:width], *(line[at : at + width - 1] for at in range(width, len(line), width - 1))]
    return "\n ".join(parts)


def _wrapped(name: str, value: str, width: int = 79) -> str:
    """As Format-List wraps a value in a window of so many columns."""
    room = width - len(name) - 3
    parts = [value[at : at + room] for at in range(0, len(value), room)]
    return f"{name} : " + ("\n" + " " * (len(name) + 3)).join(parts)


LISTINGS: dict[str, Form] = {
    "windows' own text": lambda h, i, p: (
        f"BitLocker Drive Encryption recovery key\n\nIdentifier:\n\n\t{i}\n\nRecovery Key:\n\n\t{p}\n\n"
    ),
    "windows' own text in german": lambda h, i, p: (
        f"BitLocker-Laufwerkverschlüsselung\n\nBezeichner:\n\n\t{i}\n\nWiederherstellungsschlüssel:\n\n\t{p}\n\n"
    ),
    "manage-bde": lambda h, i, p: (
        f"Volume C: [OSDisk]\nAll Key Protectors\n\n    TPM:\n      ID: {{{_guid(int(p[:3]))}}}\n"
        "      PCR Validation Profile:\n        7, 11\n\n    Numerical Password:\n"
        f"      ID: {{{i}}}\n      Password:\n        {p}\n\n"
    ),
    "manage-bde with two passwords": lambda h, i, p: (
        f"    Numerical Password:\n      ID: {{{_guid(int(p[:3]))}}}\n"
        f"      Password:\n        {make_password(5000)}\n\n"
        f"    Numerical Password:\n      ID: {{{i}}}\n      Password:\n        {p}\n\n"
    ),
    "format-list of a directory": lambda h, i, p: (
        f"\nName                   : {WHEN}{{{i}}}\nmsFVE-RecoveryPassword : {p}\n"
    ),
    "format-list, password first": lambda h, i, p: (
        f"\nmsFVE-RecoveryPassword : {p}\nName                   : {WHEN}{{{i}}}\n"
    ),
    "format-list, wrapped": lambda h, i, p: (
        f"\n{_wrapped('DistinguishedName     ', f'CN={WHEN}{{{i}}},CN={h},OU=PCs,DC=corp,DC=example')}\n"
        f"{_wrapped('msFVE-RecoveryPassword', p)}\n"
    ),
    "format-list of a protector": lambda h, i, p: (
        f"\nKeyProtectorId      : {{{i}}}\nKeyProtectorType    : RecoveryPassword\n"
        f"RecoveryPassword    : {p}\n"
    ),
    "microsoft's script": lambda h, i, p: (
        f"name: {WHEN}{{{i}}}\nmsFVE-RecoveryGuid: {{{i}}}\nmsFVE-RecoveryPassword: {p}\n"
    ),
    "ldif": lambda h, i, p: (
        f"dn: CN={WHEN}\\{{{i}\\}},CN={h},OU=PCs,DC=corp,DC=example\nobjectClass: msFVE-RecoveryInformation\n"
        f"msFVE-VolumeGuid:: {_base64(_guid(7))}\n"
        f"msFVE-RecoveryGuid:: {_base64(i)}\nmsFVE-RecoveryPassword: {p}\n\n"
    ),
    "ldif as ldapsearch folds it": lambda h, i, p: (
        _folded(f"dn: CN={WHEN}\\{{{i}\\}},CN={h},OU=PCs,DC=corp,DC=example")
        + f"\n{_folded(f'msFVE-RecoveryPassword: {p}')}\nmsFVE-RecoveryGuid:: {_base64(i)}\n\n"
    ),
}

TABLES: dict[str, tuple[str, Form]] = {
    "eight characters": ("KeyID,RecoveryKey", lambda h, i, p: f"{i[:8].lower()},{p}"),
    "eight in braces": ("KeyID,RecoveryKey", lambda h, i, p: f"{{{i[:8].lower()}}},{p}"),
    "eight and dots": ("KeyID,RecoveryKey", lambda h, i, p: f"{i[:8]}...,{p}"),
    "eight and a dash": ("KeyID,RecoveryKey", lambda h, i, p: f"{i[:8]}-,{p}"),
    "eight under a german heading": (
        "Computername;Kennwort-ID;Wiederherstellungskennwort",
        lambda h, i, p: f"{h};{i[:8]};{p}",
    ),
    "several passwords with a semicolon": (
        "PCName,Enabled,BitLocker,OS",
        lambda h, i, p: f'"{h}","True","{make_password(int(p[:4]))};{p}","Windows 10 Enterprise"',
    ),
    "several ids and passwords": (
        "Computer,KeyID,RecoveryKey",
        lambda h, i, p: f'"{h}","{_guid(int(p[:3]))}; {i}","{make_password(int(p[:4]))}; {p}"',
    ),
    "several over line ends": (
        "Computer,KeyID,RecoveryKey",
        lambda h, i, p: f'"{h}","{_guid(int(p[:3]))}\r\n{i}","{make_password(int(p[:4]))}\r\n{p}"',
    ),
    "nothing between two passwords": (
        "Device,BitLocker Recovery Key",
        lambda h, i, p: f"{h},{make_password(int(p[:4]))}{p}",
    ),
    "two of 48 digits with nothing between": (
        "Device,BitLocker Recovery Key",
        lambda h, i, p: f"{h},{(make_password(int(p[:4])) + p).replace('-', '')}",
    ),
    "the id in the password's cell": ("Volume,RecoveryKey", lambda h, i, p: f"C:,{i}: {p}"),
    "only the computer's name": ("Device,Recovery Key", lambda h, i, p: f"{h},{p}"),
    "the name in a domain": ("Device,Recovery Key", lambda h, i, p: f"{h.lower()}.corp.example,{p}"),
    "the name of its account": ("Device,Recovery Key", lambda h, i, p: f"CORP\\{h}$,{p}"),
    "the only guid is a device's": ("Device,Id,Recovery Key", lambda h, i, p: f"{h},{_guid(int(p[:3]))},{p}"),
    "a line saved by excel as one cell": ("Name,KeyID,RecoveryKey", lambda h, i, p: f'"{h},{i},{p}"'),
    "the same with its heading": ('"Name,KeyID,RecoveryKey",,', lambda h, i, p: f'"{h},{i},{p}",,'),
    "the same, quoted again": ('"""Name"";""KeyID"";""Key"""', lambda h, i, p: f'"""{h}"";""{i}"";""{p}"""'),
    "a directory without ids": (
        '"Computer Name","whenCreated","msFVE-RecoveryPassword"',
        lambda h, i, p: f'"{h}","9/4/2023 7:12:30 AM","{p}"',
    ),
    "ids of a directory's tool": (
        "ComputerName;OperatingSystem;Date;Time;GMT;PasswordID;RecoveryPassword;DistinguishedName",
        lambda h, i, p: f"{h};Windows 10;2023-09-04;07:12:30;-00:00;{i};{p};CN={h},OU=PCs,DC=corp",
    ),
    "an inventory product": (
        "Computer,RecoveryPassword,Date,BitlocerKeyID",
        lambda h, i, p: f"{h},{p},2023-09-04,{i}",
    ),
    "mbam": (
        "Id,Name,VolumeId,RecoveryKeyId,LastUpdateTime,RecoveryKey",
        lambda h, i, p: f"7,{h},{_guid(8)},{i},2023-09-04 07:12:30,{p}",
    ),
    "mbam, short": (
        "VolumeId,LastUpdateTime,RecoveryKeyId,RecoveryKey,Disclosed",
        lambda h, i, p: f"{_guid(8)},2023-09-04 07:12:30,{i},{p},0",
    ),
    "an id and a key": ("ID,Key", lambda h, i, p: f"{i},{p}"),
}


def _graph(rows: Sequence[Row]) -> str:
    return json.dumps({"value": [{"id": i.lower(), "key": p, "volumeType": "1"} for _, i, p in rows]})


def _graph_wrapped(rows: Sequence[Row]) -> str:
    return "\n".join(json.dumps({"value": {"id": i, "deviceId": _guid(1), "key": p}}) for _, i, p in rows)


def _pretty(rows: Sequence[Row]) -> str:
    named = [{"DeviceName": h, "KeyProtectorId": f"{{{i}}}", "RecoveryPassword": p} for h, i, p in rows]
    return json.dumps({"machines": named}, indent=2)


DOCUMENTS: dict[str, Callable[[Sequence[Row]], str]] = {
    "graph's answers in an array": _graph,
    "graph's wrapped answers, one a line": _graph_wrapped,
    "objects of a script": _pretty,
}


def _listing(form: Form, rows: Sequence[Row]) -> str:
    return "".join(form(*row) for row in rows)


def _table(head: str, form: Form, rows: Sequence[Row]) -> str:
    return "\r\n".join([head, *(form(*row) for row in rows), ""])


KINDS: dict[str, Callable[[Sequence[Row]], str]] = {
    **{name: partial(_listing, form) for name, form in LISTINGS.items()},
    **{name: partial(_table, head, form) for name, (head, form) in TABLES.items()},
    **DOCUMENTS,
}


def tried(data: bytes, name: str = "export") -> list[str]:
    """The passwords as they are tried on the volume of our machine."""
    chain = KeyChain([KeyFiles(name, [data])])
    found = chain.unlock_candidates([ID], computer=HOST)
    return [candidate.password.secret.reveal().decode() for candidate in found]


@pytest.mark.parametrize("kind", KINDS)
def test_one_machine_is_found_in_every_kind(kind: str) -> None:
    assert KEY in tried(KINDS[kind]([ROWS[PLACE]]).encode())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("kind", KINDS)
def test_among_sixty_the_right_password_is_among_the_first(kind: str, encoding: str) -> None:
    first = tried(KINDS[kind](ROWS).encode(encoding))[:2]
    assert KEY in first


@pytest.mark.parametrize("kind", [*LISTINGS, *DOCUMENTS])
def test_what_is_named_as_another_disks_is_not_tried(kind: str) -> None:
    others = [row for row in ROWS if row[1] != ID]
    named = not kind.startswith("windows' own text")
    assert (tried(KINDS[kind](others).encode()) == []) is named


def test_a_heading_in_a_foreign_code_page_hides_no_id() -> None:
    text = "コンピューター名,キー ID,回復キー\r\n" + "".join(f"{h},{i[:8]},{p}\r\n" for h, i, p in ROWS)
    assert tried(text.encode("cp932"))[0] == KEY


def test_of_one_computer_the_newest_is_tried_first() -> None:
    rows = [("9/4/2022 7:12:30 PM", 1), ("2/11/2024 1:00:00 AM", 2), ("12/24/2023 11:59:59 PM", 3)]
    lines = [f'"{HOST}","{when}","{make_password(seed)}"' for when, seed in rows]
    text = "\n".join(['"Computer Name","whenCreated","msFVE-RecoveryPassword"', *lines])
    assert tried(text.encode()) == [make_password(2), make_password(3), make_password(1)]


def test_the_name_of_windows_own_file_is_the_id_in_any_language() -> None:
    form = LISTINGS["windows' own text in german"]
    name = f"BitLocker-Wiederherstellungsschlüssel {make_guid(3)}.TXT"
    data = form("", make_guid(3), make_password(3)).encode("utf-16")
    assert tried(data, name) == []
    assert tried(form("", ID, KEY).encode("utf-16"), f"BitLocker Recovery Key {ID}.TXT") == [KEY]


def test_all_is_tried_up_to_a_bound_that_is_said() -> None:
    text = "RecoveryKey\n" + "".join(f"{make_password(seed)}\n" for seed in range(MOST_TRIES + 5))
    chain = KeyChain([KeyFiles("keys.csv", [text.encode()])])
    assert len(list(chain.unlock_candidates([ID], volume="partition 3"))) == MOST_TRIES
    error = chain.failure([ID], volume="partition 3")
    assert f"none of the first {MOST_TRIES} passwords that may be its own opens it" in error.message
    assert error.reason == "key-missing"
    assert chain.notes[-1] == f"{MOST_TRIES - 5} more passwords do not open partition 3"


def test_of_a_crowded_id_no_more_is_tried_either() -> None:
    lines = "".join(f"{ID},{make_password(seed)}\n" for seed in range(MOST_TRIES + 5))
    chain = KeyChain([KeyFiles("keys.csv", [f"KeyID,RecoveryKey\n{lines}".encode()])])
    assert len(list(chain.unlock_candidates([ID]))) == MOST_TRIES
    assert "there are more, which were not tried" in chain.failure([ID]).message


@pytest.mark.parametrize("filler", [" ", "a", "1", "-", "\t", "{", "CN=", "1 ", '"', ";"])
def test_a_long_line_beside_a_password_is_read_in_no_time(filler: str) -> None:
    """One that takes more than its length would keep a station for hours."""
    text = f"Computer : {HOST}\n{filler * 60_000}x\n{KEY}\n{filler * 60_000} : {ID}\n"
    assert KEY in tried(text.encode())


def test_many_documents_one_after_another_are_read() -> None:
    rows = [(h, make_guid(5000 + n), p) for n, (h, _, p) in enumerate(ROWS * 400)]
    assert tried(_graph_wrapped([*rows, ROWS[PLACE]]).encode()) == [KEY]


def test_a_list_of_graphs_keys_says_what_is_missing() -> None:
    listed = json.dumps({"value": [{"id": i, "volumeType": "1", "deviceId": _guid(1)} for _, i, _ in ROWS]})
    with pytest.raises(UsageError, match=r"^list\.json lists 60 key ids and no password$"):
        read_text(listed, "list.json")


def said_about(text: str) -> str:
    try:
        reading = read_text(text, "x.txt")
    except UsageError as error:
        return f"{error.message} {error.hint}"
    return " ".join(problem.message for problem in reading.problems) + repr(reading)


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_cut_anywhere_raises_nothing_else_and_leaks_no_digit(kind: str) -> None:
    text = KINDS[kind]([ROWS[PLACE]])
    for end in range(0, len(text), 3):
        assert leaked_digits(said_about(text[:end]).replace(ID, ""), KEY) is None


def test_a_folder_is_read_file_by_file_and_what_is_no_export_is_named(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / f"BitLocker Recovery Key {ID}.TXT").write_text(
        LISTINGS["windows' own text"]("", ID, KEY), encoding="utf-16"
    )
    (tmp_path / "others.csv").write_text("KeyID,RecoveryKey\n" + f"{_guid(1)},{make_password(1)}\n")
    (tmp_path / "holiday.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(range(256)))
    (tmp_path / ".hidden").write_text(KEY)
    (tmp_path / "link.csv").symlink_to("/etc/passwd")
    source = KeyFiles.open(tmp_path, name="keys")
    (found,) = source.find([ID])
    assert found.origin == f"keys/deep/er/BitLocker Recovery Key {ID}.TXT line 9"
    assert source.password_count == 2
    assert source.warnings == ("keys: a file is not used: holiday.jpg is not a text file",)


def test_a_folder_without_a_key_is_refused_with_the_first_reason(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    with pytest.raises(UsageError, match=r"^the folder keys has no file .*\(empty\.csv is empty\)$"):
        KeyFiles.open(tmp_path, name="keys")
