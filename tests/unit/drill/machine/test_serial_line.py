"""What is read off a serial port, which firmware draws on."""

from __future__ import annotations

from pathlib import Path

import pytest

from unbrick.drill.machine.serial_line import SerialLine
from unbrick.errors import FailedError


def test_lines_are_plain_text_and_a_line_that_has_not_ended_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "serial.log"
    line = SerialLine(file)
    assert line.read() == []
    file.write_bytes(b"\x1b[2J\x1b[01;01H\x1b[0mBdsDxe: starting\r\n\r\x1b[0munbrick: sta")
    assert [one.text for one in line.read()] == ["BdsDxe: starting"]
    with file.open("ab") as stream:
        stream.write(b"tion started\r\n\xff\n")
    assert [one.text for one in line.read()] == ["unbrick: station started", "�"]
    assert line.said("station started")


def test_waiting_goes_on_after_what_was_waited_for_last(tmp_path: Path) -> None:
    file = tmp_path / "serial.log"
    file.write_bytes(b"one\ntwo\none\n")
    line = SerialLine(file)
    assert line.wait_for("one", seconds=0, alive=lambda: True) is line.lines[0]
    assert line.wait_for("one", seconds=0, alive=lambda: True) is line.lines[2]
    with pytest.raises(FailedError, match="not within 0 s"):
        line.wait_for("one", seconds=0, alive=lambda: True)


def test_the_last_words_of_a_machine_that_ended_are_heard(tmp_path: Path) -> None:
    file = tmp_path / "serial.log"
    line = SerialLine(file)

    def ends() -> bool:
        file.write_bytes(b"the last words\n")
        return False

    assert line.wait_for("last words", seconds=60, alive=ends).text == "the last words"
    with pytest.raises(FailedError, match=r"the machine ended before.*\n.*the last words"):
        line.wait_for("more", seconds=60, alive=ends)
