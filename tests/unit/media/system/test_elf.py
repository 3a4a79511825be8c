"""Which libraries a program needs, as the system's own loader says it; broken program files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from unbrick.errors import FailedError
from unbrick.media.system.elf import read_needs

PROGRAM = Path("/usr/bin/env")


def test_the_needs_of_a_real_program_are_those_that_its_loader_lists() -> None:
    listed = subprocess.run(
        ["/lib64/ld-linux-x86-64.so.2", "--list", str(PROGRAM)], check=True, capture_output=True, text=True
    ).stdout
    needs = read_needs(PROGRAM.read_bytes())
    assert needs is not None
    assert needs.loader == "/lib64/ld-linux-x86-64.so.2"
    assert needs.libraries
    for name in needs.libraries:
        assert f"{name} =>" in listed


def test_other_bytes_are_no_program() -> None:
    assert read_needs(b"#!/bin/sh\n") is None
    assert read_needs(b"") is None


@pytest.mark.parametrize("length", [20, 60, 64, 200, 700, 3000])
def test_a_program_that_is_cut_short_is_told(length: int) -> None:
    with pytest.raises(FailedError):
        read_needs(PROGRAM.read_bytes()[:length])


def test_headers_that_lie_are_told() -> None:
    data = bytearray(PROGRAM.read_bytes())
    data[56:58] = b"\xff\xff"  # so many program headers
    with pytest.raises(FailedError):
        read_needs(bytes(data))
