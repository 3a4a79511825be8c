"""A CSV of recovery passwords, in the shapes people export, and in the shapes files break."""

from __future__ import annotations

import base64
import configparser
import os
import stat
import tarfile
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.artefacts import artefact
from support.recovery_passwords import leaked_digits, make_guid, make_password

from unbrick.errors import UsageError
from unbrick.keys.reading import table
from unbrick.keys.sources import files
from unbrick.keys.sources.files import KeyFiles

ID, OTHER_ID, DEVICE = make_guid(1), make_guid(2), make_guid(99)
KEY, OTHER_KEY = make_password(1), make_password(2)
RUN = KEY.replace("-", "")
CN = f"2023-10-10T10:00:00-08:00{{{ID}}}"
LITTLE_ENDIAN = uuid.UUID(ID).bytes_le


def read(text: str | bytes, name: str = "keys.csv") -> KeyFiles:
    return KeyFiles(name, [text if isinstance(text, bytes) else text.encode()])


def passwords(source: KeyFiles, *protectors: str) -> list[tuple[str | None, str, str]]:
    found = [*source.find(protectors), *source.guesses(None)]
    read = [(one.protector_id, one.password.secret.reveal().decode(), one.origin) for one in found]
    return list(
        {(password, origin): (known, password, origin) for known, password, origin in reversed(read)}.values()
    )[::-1]


SHAPES = {
    "the contract": f"KeyID,RecoveryKey\n{ID},{KEY}\n",
    "windows line ends": f"KeyID,RecoveryKey\r\n{ID},{KEY}\r\n",
    "old mac line ends": f"KeyID,RecoveryKey\r{ID},{KEY}\r",
    "no end of the last line": f"KeyID,RecoveryKey\n{ID},{KEY}",
    "semicolons": f"KeyID;RecoveryKey\n{ID};{KEY}\n",
    "tabs": f"KeyID\tRecoveryKey\n{ID}\t{KEY}\n",
    "bars": f"KeyID|RecoveryKey\n{ID}|{KEY}\n",
    "excel's own first line": f"sep=;\nKeyID;RecoveryKey\n{ID};{KEY}\n",
    "quotes everywhere": f'"KeyID","RecoveryKey"\n"{ID}","{KEY}"\n',
    "a space after the delimiter": f'KeyID, RecoveryKey\n{ID}, "{KEY}"\n',
    "braces": f"KeyID,RecoveryKey\n{{{ID}}},{KEY}\n",
    "lower case": f"keyid,recoverykey\n{ID.lower()},{KEY}\n",
    "upper case names": f"KEYID,RECOVERYKEY\n{ID},{KEY}\n",
    "lower case in braces and quotes": f'KeyID,RecoveryKey\n"{{{ID.lower()}}}","{KEY}"\n',
    "a guid without hyphens": f"KeyID,RecoveryKey\n{ID.replace('-', '')},{KEY}\n",
    "the first eight characters only": f"KeyID,RecoveryKey\n{ID[:8]},{KEY}\n",
    "the other order": f"RecoveryKey,KeyID\n{KEY},{ID}\n",
    "names with spaces": f"Key ID,Recovery Key\n{ID},{KEY}\n",
    "names of the portal": f"BitLocker Key ID,BitLocker Recovery Key\n{ID},{KEY}\n",
    "powershell's key protector": f"ComputerName,KeyProtectorId,RecoveryPassword\nPC,{{{ID}}},{KEY}\n",
    "names that nobody knows": f"Rechner;Kennung;Schlüssel\nPC-1;{ID};{KEY}\n",
    "known id, unknown password column": f"KeyID,Value\n{ID},{KEY}\n",
    "known password, unknown id column": f"RecoveryKey,Kennung\n{KEY},{ID}\n",
    "an entra script": (
        "EntraObjectId,DeviceId,DisplayName,BitLockerKeyId,RecoveryKey,VolumeType,KeyCreated\n"
        f"{DEVICE},{DEVICE},PC-1,{ID},{KEY},1,2024-07-19T05:27:00Z\n"
    ),
    "graph objects": f"id,createdDateTime,deviceId,key\n{ID.lower()},2024-07-19,{DEVICE},{KEY}\n",
    "a json object in a cell": (
        "DeviceName,DeviceID,BitLockerKey\n"
        f'PC-1,{DEVICE},"{{""BitLockerKey"":""{KEY}"",""BitLockerKeyID"":""{ID}"",""CreatedDatePT"":""x""}}"\n'
    ),
    "a json array in a cell": (
        "DeviceName,DeviceID,BitLockerKey\n"
        f'PC-1,{DEVICE},"[{{""BitLockerKey"":""{OTHER_KEY}"",""BitLockerKeyID"":""{OTHER_ID}""}},'
        f'{{""BitLockerKey"":""{KEY}"",""BitLockerKeyID"":""{ID}""}}]"\n'
    ),
    "json over several lines of a cell": (
        "DeviceName,DeviceID,BitLockerKey\r\n"
        f'PC-1,{DEVICE},"[\r\n  {{\r\n    ""BitLockerKey"":  ""{KEY}"",\r\n'
        f'    ""BitLockerKeyID"":  ""{ID}""\r\n  }}\r\n]"\r\n'
    ),
    "a directory's base64 guid": (
        f"Name,msFVE-RecoveryGuid,msFVE-RecoveryPassword\nx,{base64.b64encode(LITTLE_ENDIAN).decode()},{KEY}\n"
    ),
    "a directory's guid as text": f"msFVE-RecoveryGuid,msFVE-RecoveryPassword\n{{{ID}}},{KEY}\n",
    "csvde's octets": f"DN,msFVE-RecoveryPassword,msFVE-RecoveryGuid\nx,{KEY},X'{LITTLE_ENDIAN.hex()}'\n",
    "a directory's name": f"Name,msFVE-RecoveryPassword\n{CN},{KEY}\n",
    "a distinguished name": f'DistinguishedName,msFVE-RecoveryPassword\n"CN={CN},CN=PC-1,DC=x",{KEY}\n',
    "an array that powershell did not write out": (
        f"Name,msFVE-RecoveryGuid,msFVE-RecoveryPassword\n{CN},System.Byte[],{KEY}\n"
    ),
    "excel's text formula": f'KeyID,RecoveryKey\n="{ID}",="{KEY}"\n',
    "excel's text formula, quoted": f'KeyID,RecoveryKey\n"=""{ID}""","=""{KEY}"""\n',
    "a leading apostrophe": f"KeyID,RecoveryKey\n'{ID},'{KEY}\n",
    "48 digits in a row": f"KeyID,RecoveryKey\n{ID},{RUN}\n",
    "spaces between groups": f"KeyID,RecoveryKey\n{ID},{KEY.replace('-', ' ')}\n",
    "en dashes": f"KeyID,RecoveryKey\n{ID},{KEY.replace('-', chr(0x2013))}\n",
    "no header": f"{ID},{KEY}\n",
    "no header, other order, more columns": f"PC-1,{KEY},2024-07-19,{{{ID}}}\n",
    "extra columns": f"Site,Name,KeyID,Note,RecoveryKey,x\nA,PC,{ID},,{KEY},\n",
    "blank lines": f"\n\n   \nKeyID,RecoveryKey\n\n{ID},{KEY}\n,\n\n",
    "comments": f"# made on Friday\n#TYPE Selected.Thing\nKeyID,RecoveryKey\n# PC-1\n{ID},{KEY}\n",
    "a header that is a comment": f"#KeyID,RecoveryKey\n{ID},{KEY}\n",
    "two exports in one file": f"KeyID,RecoveryKey\n{OTHER_ID},{OTHER_KEY}\nRecoveryKey,KeyID\n{KEY},{ID}\n",
    "a comma in an unquoted name": f"Owner,KeyID,RecoveryKey\nDoe, Jane,{ID},{KEY}\n",
    "a note over two lines": f'KeyID,RecoveryKey,Note\n{ID},{KEY},"first\nsecond"\n',
    "a line end inside the quotes": f'KeyID,RecoveryKey\n"{ID}","{KEY}\n"\n',
}


@pytest.mark.parametrize("text", SHAPES.values(), ids=SHAPES.keys())
def test_every_exported_shape_is_understood_without_a_complaint(text: str) -> None:
    source = read(text)
    assert [found[:2] for found in passwords(source, ID)] == [(ID, KEY)]
    assert source.problems == ()


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "latin-1"]
)
def test_every_encoding_windows_writes_is_understood(encoding: str) -> None:
    text = f"Owner;KeyID;RecoveryKey\r\nJürgen Müller;{ID};{KEY}\r\n"
    assert passwords(read(text.encode(encoding)), ID) == [(ID, KEY, "keys.csv line 2")]


def test_a_big_endian_byte_order_mark_and_a_western_dash() -> None:
    text = f"KeyID,RecoveryKey\n{ID},{KEY}\n"
    assert passwords(read(b"\xfe\xff" + text.encode("utf-16-be")), ID)
    assert passwords(read(text.replace(KEY, KEY.replace("-", "\u2013")).encode("cp1252")), ID)


def test_lines_are_numbered_as_an_editor_does() -> None:
    text = f'\r\nKeyID,RecoveryKey,Note\r\n\r\n{OTHER_ID},{OTHER_KEY},"a\r\nb\r\nc"\r\n{ID},{KEY},\r\n'
    source = read(text)
    assert passwords(source, OTHER_ID) == [(OTHER_ID, OTHER_KEY, "keys.csv line 4")]
    assert passwords(source, ID) == [(ID, KEY, "keys.csv line 7")]


def test_bad_lines_are_named_by_number_and_the_good_ones_work() -> None:
    wrong = "-".join(["000001", *KEY.split("-")[1:]])
    lines = [
        "KeyID,RecoveryKey",
        f"{make_guid(3)},{wrong}",
        f"{make_guid(4)},",
        f"{make_guid(5)},1.23457E+47",
        f"{ID},{KEY}",
        f"not-a-guid,{OTHER_KEY}",
        f"{make_guid(6)},{KEY[:-7]}",
        f'{make_guid(7)},"{{""BitLockerKey"":"',
        f"{make_guid(8)},pending",
    ]
    source = read("\n".join(lines))
    assert [(problem.line, problem.message) for problem in source.problems] == [
        (2, "group 1 is not divisible by 11: a digit in it is wrong"),
        (3, "there is no recovery password in it"),
        (4, "a spreadsheet has rounded it to a short number, and its digits are lost"),
        (6, "its key ID is not a GUID, so its password is tried only after all others"),
        (7, "7 groups of digits, and 8 are needed"),
        (8, "the JSON in it cannot be read"),
        (9, "7 characters in a row, and 48 digits are needed"),
    ]
    assert passwords(source, ID) == [(ID, KEY, "keys.csv line 5"), (None, OTHER_KEY, "keys.csv line 6")]
    assert source.warnings[0] == "keys.csv line 2: group 1 is not divisible by 11: a digit in it is wrong"
    assert source.warnings[-1] == "keys.csv: 2 more lines cannot be used"
    everything = " ".join((*source.warnings, *(problem.message for problem in source.problems), repr(source)))
    assert leaked_digits(everything, "\n".join(lines)) is None


def test_a_stray_quotation_mark_costs_no_line() -> None:
    ids = [make_guid(seed) for seed in range(10, 16)]
    keys = [make_password(seed) for seed in range(10, 16)]
    lines = [f"{protector},{key},note" for protector, key in zip(ids, keys, strict=True)]
    lines[1] = f'"{ids[1]},{keys[1]},note'
    lines[4] = f'{ids[4]},{keys[4]},note"'
    source = read("\n".join(["KeyID,RecoveryKey,Note", *lines]))
    assert [bool(passwords(source, protector)) for protector in ids] == [True] * 6
    assert source.problems == ()


def test_two_stray_quotation_marks_do_not_swallow_the_good_lines_between_them() -> None:
    ids = [make_guid(seed) for seed in range(10, 16)]
    lines = [f"{protector},{make_password(10)},note" for protector in ids]
    lines[1] = lines[1].replace("note", '"note')
    lines[4] += '"'
    source = read("\n".join(["KeyID,RecoveryKey,Note", *lines]))
    assert [bool(passwords(source, protector)) for protector in ids] == [True] * 6


def test_a_utf_16_file_cut_in_the_middle_of_a_character_keeps_its_lines() -> None:
    whole = f"KeyID,RecoveryKey\n{ID},{KEY}\n{OTHER_ID},{OTHER_KEY}\n".encode("utf-16")
    assert passwords(read(whole[:-9]), ID) == [(ID, KEY, "keys.csv line 2")]


def test_endlessly_nested_json_in_a_cell_is_a_bad_line_only() -> None:
    source = read(f"KeyID,RecoveryKey\n{OTHER_ID},{'[' * 60_000}\n{ID},{KEY}\n")
    assert passwords(source, ID) == [(ID, KEY, "keys.csv line 3")]
    assert [str(problem) for problem in source.problems] == ["line 2: the JSON in it cannot be read"]


@pytest.mark.parametrize("line", ["x" * 70_000, "," * 600, '"' * 70_001])
def test_an_absurd_line_is_a_bad_line_only(line: str) -> None:
    source = read(f"{line}\nKeyID,RecoveryKey\n{line}\n{ID},{KEY}\n")
    assert passwords(source, ID) == [(ID, KEY, "keys.csv line 4")]
    assert [str(problem) for problem in source.problems] == [
        "line 1: it is far too long for a line of keys",
        "line 3: it is far too long for a line of keys",
    ]


def test_an_unclosed_quotation_mark_at_the_start_swallows_nothing() -> None:
    filler = "".join(f"{make_guid(seed)},{make_password(seed)}\n" for seed in range(100, 500))
    source = read(f'KeyID,RecoveryKey\n"{OTHER_ID},{OTHER_KEY}\n{filler}{ID},{KEY}\n')
    assert source.password_count == 402
    assert passwords(source, ID) == [(ID, KEY, "keys.csv line 403")]


def test_a_line_of_zero_bytes_is_a_bad_line_only() -> None:
    filler = "".join(f"{make_guid(seed)},{make_password(seed)}\n" for seed in range(100, 200))
    source = read(f"KeyID,RecoveryKey\n{ID},{KEY}\n{filler}{chr(0) * 4096}".encode())
    assert passwords(source, ID) == [(ID, KEY, "keys.csv line 2")]
    assert [problem.line for problem in source.problems] == [103]


def test_only_the_asked_ids_and_those_without_one_are_tried_the_known_first() -> None:
    text = (
        f"KeyID,RecoveryKey\n,{make_password(5)}\n{OTHER_ID},{OTHER_KEY}\n"
        f"{make_guid(3)},{make_password(3)}\n{ID},{KEY}\n"
    )
    found = passwords(read(text), ID, OTHER_ID)
    assert found == [
        (ID, KEY, "keys.csv line 5"),
        (OTHER_ID, OTHER_KEY, "keys.csv line 3"),
        (None, make_password(5), "keys.csv line 2"),
    ]
    assert passwords(read(text), DEVICE) == [(None, make_password(5), "keys.csv line 2")]


def test_the_asked_id_may_have_braces_and_any_case() -> None:
    assert passwords(read(SHAPES["the contract"]), f"{{{ID.lower()}}}") == [(ID, KEY, "keys.csv line 2")]


def test_a_device_id_is_no_key_id() -> None:
    source = read(f"DeviceId,RecoveryKey\n{DEVICE},{KEY}\n")
    assert passwords(source, DEVICE) == [(None, KEY, "keys.csv line 2")]


def test_an_id_with_several_passwords_has_each_of_them() -> None:
    text = f"KeyID,RecoveryKey\n{ID},{OTHER_KEY}\n{ID},{KEY}\n,{KEY}\n{ID[:8]},{KEY}\n"
    assert [(known, line[-1]) for known, _, line in passwords(read(text), ID)] == [
        (ID, "2"),
        (ID, "3"),
        (ID, "5"),
        (None, "4"),
    ]


def test_every_password_without_an_id_may_be_the_right_one() -> None:
    text = "RecoveryKey\n" + "".join(make_password(seed) + "\n" for seed in range(50))
    source = read(text)
    assert [one[1] for one in passwords(source, ID)] == [make_password(seed) for seed in range(50)]
    assert source.warnings == ()


def test_the_key_of_microsofts_documentation_is_a_bad_line() -> None:
    whole = artefact("keys/graph_get_recoveryKey_with_key.json").read_text()
    sample = whole.split('"key": "')[1].split('"')[0]
    source = read(f"KeyID,RecoveryKey\n{OTHER_ID},{sample}\n{ID},{KEY}\n")
    assert [problem.line for problem in source.problems] == [2]
    assert leaked_digits(source.problems[0].message, sample) is None
    with pytest.raises(
        UsageError,
        match=r"^graph\.json has no line with a usable recovery password \(line 1: group 1 is not ",
    ):
        read(whole, "graph.json")


def test_the_passwords_that_windows_itself_made_are_found_under_their_protectors() -> None:
    known = configparser.ConfigParser()
    with tarfile.open(artefact("bitlk/bitlk-images.tar.xz")) as archive:
        member = next(item for item in archive if item.name.endswith("images.conf"))
        content = archive.extractfile(member)
        assert content is not None
        known.read_string(content.read().decode())
    pairs = {image["RP_VMK_GUID"]: image["RP"] for image in known.values() if image.get("RP")}
    assert len(pairs) >= 10
    source = read("KeyID,RecoveryKey\n" + "".join(f"{protector},{key}\n" for protector, key in pairs.items()))
    assert source.problems == ()
    for protector, key in pairs.items():
        assert [found[:2] for found in passwords(source, protector)] == [(protector.upper(), key)]


def write(folder: Path, data: bytes) -> Path:
    path = folder / "keys.csv"
    path.write_bytes(data)
    return path


REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "blank": (b" \r\n\r\n", "is empty"),
    "zero bytes": (bytes(5000), "is empty"),
    "half a header only": (b"KeyID,Owner\r\n", "has no line with a usable recovery password"),
    "prose": (
        b"hello\nworld\n",
        "has no line with a usable recovery password (line 2: there is no recovery password in it)",
    ),
    "a workbook": (b"PK\x03\x04" + bytes(100), "is an Excel workbook or a ZIP archive, not a CSV"),
    "an old workbook": (b"\xd0\xcf\x11\xe0" + bytes(100), "is an old Excel workbook, not a CSV"),
    "a program": (b"MZ\x90\0\3\0\0\0\4\0\0\0\xff\xff" + bytes(range(256)), "is not a text file"),
    "deep json": (b"[" * 100_000, "is a JSON document that cannot be read"),
    "many lines": (
        b"x\n" * (table.MOST_LINES + 1),
        "has more than a million lines, too many for a file of keys",
    ),
}


@pytest.mark.parametrize(("data", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_a_file_that_is_no_csv_of_keys_gets_one_clear_line(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        KeyFiles.open(write(tmp_path, data))
    assert caught.value.message == f"keys.csv {said}"
    assert caught.value.exit_code == 2


def test_an_escrow_that_is_still_empty_is_taken_and_said_to_be_empty(tmp_path: Path) -> None:
    source = KeyFiles.open(write(tmp_path, b"KeyID,RecoveryKey\r\n"))
    assert list(source.find([ID])) == []
    assert source.warnings == ("keys.csv has no recovery password in it",)


def sparse_giant(folder: Path) -> Path:
    path = folder / "keys.csv"
    with path.open("wb") as stream:
        stream.truncate(files.SORT.most_bytes + 1)
    return path


def make_folder(folder: Path) -> Path:
    (folder / "keys.csv").mkdir()
    return folder / "keys.csv"


UNREADABLE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda folder: folder / "keys.csv", "there is no keys file keys.csv"),
    "a folder": (make_folder, "the folder keys.csv has no file with a usable recovery password"),
    "a device": (lambda _: Path(os.devnull), "null is a device, not a file of keys"),
    "a file as a folder": (
        lambda folder: write(folder, b"x") / "keys.csv",
        "keys.csv cannot be read: Not a directory",
    ),
    "too large": (sparse_giant, "keys.csv is larger than 64 MiB, too large for a file of keys"),
}


@pytest.mark.parametrize(("make", "said"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_cannot_be_read_gets_one_clear_line(
    tmp_path: Path, make: Callable[[Path], Path], said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        KeyFiles.open(make(tmp_path))
    assert caught.value.message == said


def test_a_pipe_is_read_so_that_keys_need_not_lie_on_a_disk() -> None:
    reading, writing = os.pipe()
    os.write(writing, SHAPES["the contract"].encode())
    os.close(writing)
    try:
        assert stat.S_ISFIFO(os.fstat(reading).st_mode)
        source = KeyFiles.open(Path(f"/dev/fd/{reading}"), name="keys.csv")
    finally:
        os.close(reading)
    assert passwords(source, ID) == [(ID, KEY, "keys.csv line 2")]


def test_of_a_hundred_thousand_lines_each_is_found() -> None:
    lines = [f"{make_guid(seed)},{make_password(seed % 500)}\r\n" for seed in range(100_000)]
    data = "".join(["KeyID,RecoveryKey\r\n", *lines]).encode()
    source = KeyFiles("keys.csv", [data])
    assert source.password_count == 100_000
    assert passwords(source, make_guid(77_777))[0][2] == "keys.csv line 77779"


def test_many_bad_lines_are_counted_and_not_all_kept() -> None:
    source = read(f"KeyID,RecoveryKey\n{ID},{KEY}\n" + f"{OTHER_ID},x\n" * 5000)
    assert (len(source.problems), source.problem_count) == (1000, 5000)


def said_about(data: bytes) -> str:
    """Everything that could reach a log when these bytes are given as a keys file."""
    try:
        source = KeyFiles("keys.csv", [data])
    except UsageError as error:
        return f"{error.message} {error.hint} {error.reason}"
    candidates = [*source.find([ID]), *source.find([])]
    texts = [problem.message for problem in source.problems]
    return " ".join([*source.warnings, *texts, repr(source), repr(source.problems), repr(candidates)])


def assert_silent(data: bytes) -> None:
    said = said_about(data).replace(ID, "").replace("keys.csv line ", "")
    for encoding in ("utf-8", "utf-16-le", "utf-16-be", "latin-1"):
        assert leaked_digits(said, data.decode(encoding, errors="replace")) is None


words = [
    "KeyID",
    "RecoveryKey",
    "BitLockerKey",
    "DeviceId",
    "msFVE-RecoveryGuid",
    "Name",
    "sep=",
    "#",
    "E+47",
]
signs = [
    *",;\t|\"'={}[]:\n\r\0\ufeff\u2013\u20ac",
    '""',
    "\r\n",
    "===",
    '{""BitLockerKey"":""',
    '"",""BitLockerKeyID"":""',
]
values = [
    ID,
    ID.lower(),
    ID[:8],
    CN,
    KEY,
    RUN,
    KEY[:-1],
    KEY[:-7],
    KEY[1:],
    OTHER_KEY.replace("-", " "),
    "123456",
]
pieces = st.sampled_from([*words, *signs, *values]) | st.text(max_size=8)


@given(st.binary(max_size=400))
def test_any_bytes_raise_nothing_but_usage_error_and_leak_no_digit(data: bytes) -> None:
    assert_silent(data)


@settings(max_examples=400)
@given(st.lists(pieces, max_size=40), st.sampled_from(["utf-8", "utf-16", "utf-16-be", "cp1252"]))
def test_any_pieces_of_a_csv_raise_nothing_but_usage_error_and_leak_no_digit(
    parts: list[str], encoding: str
) -> None:
    assert_silent("".join(parts).encode(encoding, errors="replace"))


@settings(max_examples=200)
@given(st.sampled_from(sorted(SHAPES)), st.data())
def test_a_damaged_export_raises_nothing_but_usage_error_and_leaks_no_digit(
    shape: str, data: st.DataObject
) -> None:
    raw = bytearray(SHAPES[shape].encode())
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place] = data.draw(st.integers(0, 255))
    assert_silent(bytes(raw))
