"""How many new machines of one station count, over the real server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from support.program import run_program
from support.tally_client import StationFiles, Talk, make_event, sign
from support.tally_events import disk
from support.tally_server import served_here

from unbrick.model import Machine
from unbrick.tally.door.budgets import DayLimits
from unbrick.tally.folder import parse_address
from unbrick.tally.store.store import Store
from unbrick.tally.trust.authority import create_authority


def test_a_key_that_invents_machines_moves_the_total_by_its_day_and_a_person_decides(tmp_path: Path) -> None:
    tally = tmp_path / "tally"
    create_authority(tally, parse_address("127.0.0.1"), make_database=lambda path: Store.open(path).close())
    station = StationFiles(tally)
    events = [
        make_event(
            1,
            run=f"20240719T0900{number:02}Z-0000ab",
            kind="outcome",
            details={"status": "repaired", "reason": None},
            machine=Machine(disk_guid=disk(number)),
        )
        for number in range(12)
    ]

    signed = [sign(one.to_bytes(), station.key) for one in events]
    said: list[str] = []

    async def main() -> None:
        async with (
            served_here(tally, day_limits=DayLimits(machines=5)) as port,
            await station.connect(port) as connection,
        ):
            talk = await Talk.begin(connection)
            said.extend(str(one["type"]) for one in await talk.send(signed))

    asyncio.run(main())
    assert said == ["acknowledge"]
    document = json.loads(run_program("tally", "status", tally, "--json").out)
    assert (document["total"], document["uncounted"]) == (5, 7)
    (one,) = json.loads(run_program("tally", "contradictions", tally, "--json").out)["contradictions"]
    assert (one["kind"], one["stations"], one["machines"]) == ("many", ["station"], 7)
    assert run_program("tally", "settle", tally, one["code"], "--count", "--reason", "a bulk day").code == 0
    assert json.loads(run_program("tally", "status", tally, "--json").out)["total"] == 12
    assert run_program("tally", "settle", tally, one["code"], "--undo").code == 0
    assert json.loads(run_program("tally", "status", tally, "--json").out)["total"] == 5
    assert run_program("tally", "check", tally).code == 0
