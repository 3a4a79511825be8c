"""The register of stations: fields that came later, and what an older unbrick wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unbrick.tally.folder import parse_address
from unbrick.tally.trust.authority import create_authority, enrol
from unbrick.tally.trust.register import RegisterError, StationRegister

_OLDER_FIELDS = ("name", "site", "serial", "public_key", "enrolled", "expires", "revoked")


def _register(folder: Path) -> StationRegister:
    register = StationRegister(folder / "stations.json")
    register.refresh()
    return register


def test_a_station_that_may_report_for_any_site_is_kept_as_such(tmp_path: Path) -> None:
    tally = tmp_path / "tally"
    create_authority(tally, parse_address("tally.example.org"), site="south")
    enrol(tally, "roaming", "north", tmp_path / "out", everywhere=True, by="mary")
    register = _register(tally)
    roaming, first = register.current("roaming"), register.current("station")
    assert roaming is not None
    assert first is not None
    assert (roaming.everywhere, roaming.by) == (True, "mary")
    assert not first.everywhere


@pytest.mark.parametrize("content", ['{"version": 1, "stations": ["x"]}', "[" * 9000, "[]", "{", ""])
def test_a_damaged_register_is_said(tmp_path: Path, content: str) -> None:
    (tmp_path / "stations.json").write_text(content)
    with pytest.raises(RegisterError, match="damaged"):
        _register(tmp_path)


def test_a_register_of_an_older_unbrick_is_read(tmp_path: Path) -> None:
    tally = tmp_path / "tally"
    create_authority(tally, parse_address("tally.example.org"))
    path = tally / "stations.json"
    document = json.loads(path.read_bytes())
    for station in document["stations"]:
        for later in set(station) - set(_OLDER_FIELDS):
            del station[later]
    path.write_text(json.dumps(document))
    (station,) = _register(tally).stations
    assert station.name == "station"
    assert not station.everywhere
