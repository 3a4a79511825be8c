"""What is odd in a hive and yet sound stops nothing; what is damaged, cut off or cannot be read is said."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.hives import subkeys, write_hive

from unbrick.errors import Reason, UnbrickError
from unbrick.windows.hive import open_hive
from unbrick.windows.installation import Installation, find_installations

Edit = tuple[int, str, int]
_KEY_FLAGS, _KEY_NAME_LENGTH, _KEY_NAME = 6, 76, 80
_VALUE_NAME_LENGTH, _VALUE_SIZE, _VALUE_TYPE, _VALUE_FLAGS, _VALUE_NAME = 6, 8, 16, 20, 24

CSAGENT = {"Start": 1, "Type": 2, "ImagePath": "\\SystemRoot\\System32\\drivers\\CrowdStrike\\csagent.sys"}
SYSTEM = {
    "Select": {"Current": 1},
    "AAA": {},
    "ControlSet001": {
        "Services": {
            "AAAA": {"Start": 3, "ImagePath": "\\SystemRoot\\aaaa.sys", "Before": 5},
            "CSAgent": {"Blob": b"before", **CSAGENT},
            "Tcpip": {"Parameters": {"NV Hostname": "WARD-7"}},
            "ZZZZ": {"Start": 0},
        },
        "Control": {"Class": {"{0000}": {"LowerFilters": ["ZZZZ"]}}},
    },
}
SOFTWARE = {"Microsoft": {"Windows NT": {"CurrentVersion": {"ProductName": "Windows 10 Pro"}}}}


def made(root: Path) -> Path:
    config = root / "Windows" / "System32" / "config"
    write_hive(config / "SYSTEM", SYSTEM)
    write_hive(config / "SOFTWARE", SOFTWARE)
    return config


def edited(hive: Path, edits: Callable[[Any], Sequence[Edit]]) -> None:
    """Change a hive in place; `edits` is asked with an open hivex, whose handles are offsets in the file."""
    import hivex

    untyped: Any = hivex
    content = bytearray(hive.read_bytes())
    for at, form, value in edits(untyped.Hivex(str(hive))):
        struct.pack_into(form, content, at, value)
    hive.write_bytes(content)


def service(hive: Any, name: str) -> int:
    node = hive.root()
    for part in ("ControlSet001", "Services", name):
        node = hive.node_get_child(node, part)
    return int(node)


def only(root: Path) -> Installation:
    (found,) = find_installations(root)
    return found


def lone_surrogate(hive: Any) -> list[Edit]:
    key = service(hive, "AAAA")
    return [
        (key + _KEY_FLAGS, "<H", 0),
        (key + _KEY_NAME, "<H", 0xD800),
        (key + _KEY_NAME + 2, "<H", ord("A")),
    ]


def odd_length(hive: Any) -> list[Edit]:
    key = service(hive, "AAAA")
    return [(key + _KEY_FLAGS, "<H", 0), (key + _KEY_NAME_LENGTH, "<H", 3)]


def no_name(hive: Any) -> list[Edit]:
    return [(service(hive, "AAAA") + _KEY_NAME_LENGTH, "<H", 0)]


def a_link(hive: Any) -> list[Edit]:
    return [(service(hive, "AAAA") + _KEY_FLAGS, "<H", 0x30)]


def beside_the_control_set(hive: Any) -> list[Edit]:
    key = hive.node_get_child(hive.root(), "AAA")
    return [(key + _KEY_FLAGS, "<H", 0), (key + _KEY_NAME_LENGTH, "<H", 2), (key + _KEY_NAME, "<H", 0xDC00)]


def value_name(hive: Any) -> list[Edit]:
    value = hive.node_get_value(service(hive, "CSAgent"), "Blob")
    return [
        (value + _VALUE_FLAGS, "<H", 0),
        (value + _VALUE_NAME_LENGTH, "<H", 2),
        (value + _VALUE_NAME, "<H", 0xD800),
    ]


def value_type(hive: Any) -> list[Edit]:
    return [(hive.node_get_value(service(hive, "AAAA"), "Start") + _VALUE_TYPE, "<I", 0xFFFF0012)]


def value_of_nothing(hive: Any) -> list[Edit]:
    return [(hive.node_get_value(service(hive, "AAAA"), "ImagePath") + _VALUE_SIZE, "<I", 0x80000000)]


def short_number(hive: Any) -> list[Edit]:
    return [(hive.node_get_value(service(hive, "AAAA"), "Start") + _VALUE_SIZE, "<I", 0x80000002)]


def huge_value(hive: Any) -> list[Edit]:
    return [(hive.node_get_value(service(hive, "AAAA"), "ImagePath") + _VALUE_SIZE, "<I", 0x40000000)]


@pytest.mark.parametrize(
    "edits",
    [
        lone_surrogate,
        odd_length,
        no_name,
        a_link,
        beside_the_control_set,
        value_name,
        value_type,
        value_of_nothing,
        short_number,
        huge_value,
    ],
)
def test_what_is_odd_stops_nothing(tmp_path: Path, edits: Callable[[Any], Sequence[Edit]]) -> None:
    edited(made(tmp_path) / "SYSTEM", edits)
    found = only(tmp_path)
    assert (found.readable, found.warnings, found.hostname) == (True, (), "WARD-7")
    agent = found.service("csagent")
    assert agent is not None
    assert (agent.start, agent.image_path) == (1, CSAGENT["ImagePath"])
    assert len(found.services) == 4
    assert found.class_filters == ("ZZZZ",)


def test_a_name_that_is_no_text_is_shown_as_such(tmp_path: Path) -> None:
    edited(made(tmp_path) / "SYSTEM", lone_surrogate)
    assert "\ufffdA" in {one.name[:2] for one in only(tmp_path).services}


def test_names_that_look_alike_hide_no_driver(tmp_path: Path) -> None:
    services = {name: {"Start": 0, "ImagePath": f"System32\\drivers\\{name}.sys"} for name in ("AAA", "BBB")}
    tree = {"Select": {"Current": 1}, "ControlSet001": {"Services": services}}
    made(tmp_path)
    hive = write_hive(tmp_path / "Windows" / "System32" / "config" / "SYSTEM", tree)

    def alike(opened: Any) -> list[Edit]:
        keys = [service(opened, name) for name in services]
        flags = [(key + _KEY_FLAGS, "<H", 0) for key in keys]
        lengths = [(key + _KEY_NAME_LENGTH, "<H", 2) for key in keys]
        return [*flags, *lengths, *((key + _KEY_NAME, "<H", 0xD800 + n) for n, key in enumerate(keys))]

    edited(hive, alike)
    found = only(tmp_path)
    for name in services:
        assert found.names_boot_file(f"\\Windows\\System32\\drivers\\{name}.sys") == "\ufffd"


def test_a_name_that_reaches_beyond_its_cell_is_damage(tmp_path: Path) -> None:
    hive = write_hive(tmp_path / "H", {"A": {}, "B": {}})

    def too_long(opened: Any) -> list[Edit]:
        return [(opened.node_get_child(opened.root(), "A") + _KEY_NAME_LENGTH, "<H", 0x4000)]

    edited(hive, too_long)
    with open_hive(hive) as opened:
        assert (subkeys(opened, ""), opened.damaged) == (("B",), 1)


@pytest.mark.parametrize("kind", ["REG_MULTI_SZ", "REG_SZ"])
def test_a_path_of_either_type_is_a_path(tmp_path: Path, kind: str) -> None:
    path = "System32\\drivers\\odd.sys"
    services = {"odd": {"Start": 0, "ImagePath": [path] if kind == "REG_MULTI_SZ" else path}}
    config = made(tmp_path)
    write_hive(config / "SYSTEM", {"ControlSet001": {"Services": services}})
    assert only(tmp_path).names_boot_file(f"\\Windows\\{path}") == "odd"


def large(tree: dict[str, Any]) -> dict[str, Any]:
    return tree | {f"Z{number}": {"Text": "t" * 500} for number in range(40)}


def cut(hive: Path, length: int) -> int:
    """Cut a hive off; gives how many KiB it had."""
    content = hive.read_bytes()
    assert len(content) > length
    hive.write_bytes(content[:length])
    return len(content) // 1024


def test_a_software_hive_that_is_cut_off_is_said(tmp_path: Path) -> None:
    config = made(tmp_path)
    whole = cut(write_hive(config / "SOFTWARE", large(SOFTWARE)), 8192)
    found = only(tmp_path)
    assert found.readable
    assert f"SOFTWARE is cut off (8 of its {whole} KiB are there)" in found.warnings[0]


@pytest.mark.parametrize("length", [4097, 9000, 12_000])
def test_a_hive_that_is_cut_off_within_a_bin_is_said_to_be(tmp_path: Path, length: int) -> None:
    config = made(tmp_path)
    cut(write_hive(config / "SYSTEM", large(SYSTEM)), length)
    found = only(tmp_path)
    assert not found.readable
    assert f"it is cut off ({length // 1024} of its" in found.warnings[0]


def test_what_a_cut_off_system_hive_says_is_not_relied_on(tmp_path: Path) -> None:
    config = made(tmp_path)
    cut(write_hive(config / "SYSTEM", large(SYSTEM)), 8192)
    found = only(tmp_path)
    assert not found.readable
    assert "SYSTEM is cut off" in found.warnings[0]


def test_a_hive_with_more_behind_it_is_whole(tmp_path: Path) -> None:
    config = made(tmp_path)
    for name in ("SYSTEM", "SOFTWARE"):
        with (config / name).open("ab") as stream:
            stream.write(bytes(8192))
    assert only(tmp_path).warnings == ()


@pytest.mark.parametrize("name", ["ntoskrnl.exe", "winpeshl.exe"])
def test_presence_is_enough_where_presence_is_asked(tmp_path: Path, name: str) -> None:
    """ntfs-3g shows as a link what Windows keeps compressed (WOF)."""
    config = made(tmp_path)
    (config.parent / name).symlink_to("unsupported reparse tag 0x80000017")
    found = find_installations(tmp_path)
    if name == "winpeshl.exe":
        assert found == ()
    else:
        assert [one.readable for one in found] == [True]


def test_two_spellings_are_presence(tmp_path: Path) -> None:
    config = made(tmp_path)
    for name in ("NTOSKRNL.exe", "ntoskrnl.EXE"):
        (config.parent / name).write_bytes(b"MZ")
    assert only(tmp_path).readable


@pytest.mark.parametrize("library", [None, object()], ids=["missing", "another of that name"])
def test_a_missing_library_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: object
) -> None:
    made(tmp_path)
    monkeypatch.setitem(sys.modules, "hivex", library)
    with pytest.raises(UnbrickError) as caught:
        find_installations(tmp_path)
    assert caught.value.reason == Reason.MISSING_TOOL
    assert "hivex is not installed" in caught.value.message
    assert caught.value.hint is not None
    assert "python3-hivex" in caught.value.hint
