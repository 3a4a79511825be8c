"""`unbrick keys check`: what can be used, what cannot, and who has none; never a digit of a password."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.program import run_program
from support.recovery_passwords import leaked_digits, make_guid, make_password

GOOD, OTHER = make_password(1), make_password(2)
BROKEN = GOOD[:-1]


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Two usable passwords, of PC-1 and PC-2, and a line that is cut off, of PC-3."""
    file = tmp_path / "keys.csv"
    rows = [("PC-1", 1, GOOD), ("pc-2.corp.example", 2, OTHER), ("PC-3", 3, BROKEN)]
    lines = [f"{name},{make_guid(seed)},{password}" for name, seed, password in rows]
    file.write_text("\n".join(["Device,KeyID,RecoveryKey", *lines, ""]))
    return file


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    file = tmp_path / "machines.csv"
    file.write_text("name,site\nPC-1,a\nPC-2,a\nCORP\\PC-3$,b\nPC-4,b\n")
    return file


def documents(*arguments: object) -> tuple[int, dict[str, Any]]:
    ended = run_program("keys", "check", *map(str, arguments), "--json")
    for password in (GOOD, OTHER, BROKEN):
        assert leaked_digits(ended.said, password) is None
    return ended.code, json.loads(ended.out)


def test_usable_passwords_are_counted_and_bad_lines_named_by_number(keys: Path) -> None:
    ended = run_program("keys", "check", keys)
    assert ended.code == 0
    assert ended.out.splitlines() == [
        f"{keys}: 2 usable recovery passwords, 1 line cannot be used",
        "  line 4: group 8 has 5 digits, not 6",
    ]
    assert leaked_digits(ended.said, GOOD) is None


def test_machines_without_a_usable_password_are_named(keys: Path, inventory: Path) -> None:
    ended = run_program("keys", "check", keys, "--inventory", inventory)
    assert ended.code == 4
    *_, said, first, second = ended.out.splitlines()
    assert said == "machines.csv: 2 of 4 machines have no recovery password here"
    assert [first.strip(), second.strip()] == ["CORP\\PC-3$", "PC-4"]
    code, document = documents(keys, "--inventory", inventory)
    assert (code, document["machines"], document["missing"]) == (4, 4, ["CORP\\PC-3$", "PC-4"])
    (file,) = document["files"]
    assert (file["passwords"], file["problem_count"], file["error"]) == (2, 1, None)
    assert file["problems"] == [
        {"file": "keys.csv", "line": 4, "message": "group 8 has 5 digits, not 6"},
    ]


def test_where_every_machine_has_one_all_is_well(keys: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.csv"
    few.write_text("name\nPC-1\nPC-2\n")
    assert documents(keys, "--inventory", few) == (0, documents(keys, "--inventory", few)[1])
    assert run_program("keys", "check", keys, "--inventory", few).out.endswith(
        "few.csv: 0 of 2 machines have no recovery password here\n"
    )


def test_passwords_without_names_say_nothing_of_machines(tmp_path: Path, inventory: Path) -> None:
    bare = tmp_path / "bare.csv"
    bare.write_text(f"KeyID,RecoveryKey\n{make_guid(1)},{GOOD}\n")
    ended = run_program("keys", "check", bare, "--inventory", inventory)
    assert ended.code == 4
    assert "no password has a computer's name beside it" in ended.out


@pytest.mark.parametrize(
    "content", [b"", bytes(5000), b"MZ\x90\0" + bytes(range(256)) * 4, b"noise\n" * 1000]
)
def test_a_file_that_holds_none_gets_one_line_and_hides_no_other(
    keys: Path, tmp_path: Path, content: bytes
) -> None:
    bad = tmp_path / "bad.bin"
    bad.write_bytes(content)
    ended = run_program("keys", "check", bad, keys)
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert ended.err.startswith(f"{bad}: bad.bin ")
    assert "2 usable recovery passwords" in ended.out


def test_a_password_given_as_a_file_is_not_said_again(keys: Path) -> None:
    ended = run_program("keys", "check", GOOD)
    assert ended.code == 2
    assert leaked_digits(ended.said, GOOD) is None
    code, document = documents(GOOD, keys)
    assert (code, document["files"][0]["error"]) == (
        2,
        "a recovery password does not belong on the command line, where others can see it",
    )
