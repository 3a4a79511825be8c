"""A boot that failed: what was told by then is signed, and reaches the stick."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
from support.recorded_runner import RecordedRunner

from unbrick.model import Machine
from unbrick.processes.child import Child
from unbrick.station import restart
from unbrick.station.boot import Boot
from unbrick.station.telling.reports import Reports
from unbrick.station.telling.voice import Voice


class Beside:
    """A companion whose end is noted, and reports whose signing is."""

    def __init__(self, name: str, ended: list[str]) -> None:
        self.name, self.ended = name, ended

    def finish(self, seconds: float) -> bool:
        self.ended.append(self.name)
        return True

    def sign_all(self, machine: Machine) -> None:
        assert machine == Machine()
        self.ended.append(self.name)


def test_all_is_signed_before_what_writes_to_the_stick_ends_and_the_disks_close_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []

    def close(_: object) -> list[str]:
        ended.append("disks")
        return []

    monkeypatch.setattr(restart, "close_everything", close)
    boot = Boot(tmp_path, cast(Voice, None), RecordedRunner())
    boot._companions += [cast(Child, Beside(name, ended)) for name in ("stick", "network")]
    boot._reports = cast(Reports, Beside("signing", ended))

    boot.abandon()

    assert ended == ["signing", "network", "stick", "disks"]
