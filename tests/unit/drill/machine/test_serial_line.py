"""What is read off a serial port, which firmware draws on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from support.machine_hands import WatchedMachine

from unbrick.drill.machine.qmp import Monitor
from unbrick.drill.machine.serial_line import SerialLine
from unbrick.drill.machine.virtual_machine import VirtualMachine
from unbrick.errors import FailedError
from unbrick.processes.command import Server


class Watched(WatchedMachine):
    def __init__(self, line: SerialLine, alive: Callable[[], bool] = lambda: True) -> None:
        super().__init__(VirtualMachine(cast(Server, None), cast(Monitor, None), line))
        self.is_running = alive  # type: ignore[method-assign]


def test_lines_are_plain_text_and_a_line_that_has_not_ended_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "serial.log"
    line = SerialLine(file)
    assert line.read() == []
    file.write_bytes(b"\x1b[2J\x1b[01;01H\x1b[0mBdsDxe: starting\r\n\r\x1b[0munbrick: sta")
    assert [one.text for one in line.read()] == ["BdsDxe: starting"]
    with file.open("ab") as stream:
        stream.write(b"tion started\r\n\xff\n")
    assert [one.text for one in line.read()] == ["unbrick: station started", "�"]
    assert Watched(line).said("station started")


def test_waiting_goes_on_after_what_was_waited_for_last(tmp_path: Path) -> None:
    file = tmp_path / "serial.log"
    file.write_bytes(b"one\ntwo\none\n")
    line = SerialLine(file)
    machine = Watched(line)
    assert machine.wait_for("one", seconds=0) is line.lines[0]
    assert machine.wait_for("one", seconds=0) is line.lines[2]
    with pytest.raises(FailedError, match="not within 0 s"):
        machine.wait_for("one", seconds=0)


def test_the_last_words_of_a_machine_that_ended_are_heard(tmp_path: Path) -> None:
    file = tmp_path / "serial.log"

    def ends() -> bool:
        file.write_bytes(b"the last words\n")
        return False

    machine = Watched(SerialLine(file), ends)
    assert machine.wait_for("last words", seconds=60).text == "the last words"
    with pytest.raises(FailedError, match=r"the machine ended before.*\n.*the last words"):
        machine.wait_for("more", seconds=60)
