"""What a person is told of a machine that does not come back."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from unbrick.drill import switch_on
from unbrick.drill.machine.serial_line import SerialLine
from unbrick.drill.machine.virtual_machine import VirtualMachine
from unbrick.errors import FailedError


class _Stuck:
    def __init__(self, said: Path) -> None:
        self.serial = SerialLine(said)

    def is_running(self) -> bool:
        return True


def test_the_last_lines_of_a_machine_that_hangs_are_shown_as_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "serial").write_bytes(b"Booting\r\nhangs \x07 here\r\n")
    monkeypatch.setattr(switch_on, "_RUN_SECONDS", 0.2)
    told: list[str] = []
    with pytest.raises(FailedError) as caught:
        switch_on._watch(cast(VirtualMachine, _Stuck(tmp_path / "serial")), 0.0, told.append)
    assert "\n" not in caught.value.message
    assert told == ["  Booting", "  hangs  here"]
