"""Codes on the screen, read back from its characters by a reader that shares no line with us."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.half_blocks import picture_of

from unbrick.station.screen.qr_code import Code, codes_for

_TEXT = (
    "UNBRICK K7M3-9XPC DESKTOP-NPM7RCA\nnvme0n1 needs-hands hibernated 20260719T140322Z-abcdef\n"
    "stick 01234567 serial 5CG1234XYZ"
)


def read_back(code: Code, folder: Path, columns: int) -> str:
    image = folder / "code.pgm"
    image.write_bytes(picture_of(code.rows, columns))
    read = subprocess.run(
        ["zbarimg", "--quiet", "--raw", "--oneshot", "-Sdisable", "-Sqrcode.enable", image],
        capture_output=True,
        check=True,
        timeout=60,
    )
    return read.stdout.decode().removesuffix("\n")


def test_a_report_is_one_code_on_the_smallest_screen(tmp_path: Path) -> None:
    (code,) = codes_for(_TEXT, 52, 25)
    assert len(code.rows) <= 25
    assert max(map(len, code.rows)) <= 52
    assert read_back(code, tmp_path, 80) == _TEXT


def test_a_large_screen_has_large_modules(tmp_path: Path) -> None:
    (small,) = codes_for(_TEXT, 52, 25)
    (large,) = codes_for(_TEXT, 200, 67)
    assert len(large.rows[0]) >= 2 * len(small.rows[0])
    assert read_back(large, tmp_path, 240) == _TEXT


@pytest.mark.parametrize(("columns", "rows"), [(52, 25), (92, 33), (200, 67)])
def test_a_long_text_is_several_codes_that_say_how_to_put_them_together(
    columns: int, rows: int, tmp_path: Path
) -> None:
    text = "".join(f"{number:05d} {{a}};" for number in range(230))
    codes = codes_for(text, columns, rows)
    assert [code.number for code in codes] == list(range(1, len(codes) + 1))
    whole = ""
    for code in codes:
        assert len(code.rows) <= rows
        read = read_back(code, tmp_path, columns + 28)
        head, _, part = read.partition(":")
        assert len(codes) == 1 or head == f"{code.number}/{len(codes)}"
        assert len(codes) == 1 or part.endswith(".")
        whole += part[:-1] if len(codes) > 1 else read
    assert whole == text


def test_capitals_and_digits_are_packed_tighter(tmp_path: Path) -> None:
    carried = "UNBRICK1:" + "A1B2C3 $%*+-./:" * 12
    (code,) = codes_for(carried, 52, 25)
    assert read_back(code, tmp_path, 80) == carried
    assert len(codes_for(carried.lower(), 52, 25)) > 1


def test_letters_that_readers_would_guess_at_are_left_out(tmp_path: Path) -> None:
    (code,) = codes_for("BÜRO-1 бух", 52, 25)
    assert read_back(code, tmp_path, 80) == "B?RO-1 ???"


@given(st.text(min_size=1, max_size=300), st.integers(21, 120), st.integers(10, 60))
@settings(max_examples=25)
def test_no_code_is_larger_than_its_place(text: str, columns: int, rows: int) -> None:
    for code in codes_for(text, columns, rows):
        assert len(code.rows) <= rows
        assert {len(row) for row in code.rows} == {len(code.rows[0])}
        assert len(code.rows[0]) <= columns


def test_where_there_is_no_room_there_is_none() -> None:
    assert codes_for(_TEXT, 20, 10) == ()
