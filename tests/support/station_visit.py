"""A program for the tests of the station: one disk is worked on as on a booted medium, without its screens.

Takes what to do as a JSON argument and prints what became of it. A process of its own because the work needs
one with a single thread.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from unbrick.events.event import Event
from unbrick.keys.chain import KeyChain
from unbrick.model import Machine
from unbrick.settings.station_file import load_station
from unbrick.signing.event_signer import Signer
from unbrick.signing.own_key import own_signer
from unbrick.station.stick.key_files import open_key_files
from unbrick.station.stick.settings import Settings
from unbrick.station.targets import Target
from unbrick.station.telling.event_log import EventLog
from unbrick.station.telling.reports import SPOOL, Reports, Spool
from unbrick.station.telling.serial_line import SerialLine
from unbrick.station.telling.voice import Voice
from unbrick.station.unattended import Visit, work_on_all


def visit(
    disks: list[Path],
    memory: Path,
    *,
    keys: list[Path] | None = None,
    station: Path | None = None,
    medium: str = "0123456789abcdef",
    only_looks: str | None = None,
    online: bool = True,
    fault: bool = False,
) -> dict[str, Any]:
    """What the station says of the disks, how many reports wait, and what it told.

    `fault` has a mistake of our own happen in the work on the first of them.
    """
    asked = {
        "disks": [str(disk) for disk in disks],
        "memory": str(memory),
        "keys": [str(key) for key in keys or ()],
        "station": str(station) if station else None,
        "medium": medium,
        "only_looks": only_looks,
        "online": online,
        "fault": fault,
    }
    done = subprocess.run(
        [sys.executable, __file__, json.dumps(asked)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    from support.contract_schema import check_document  # the program itself does not find it

    answer: dict[str, Any] = json.loads(done.stdout)
    for document in answer["disks"]:
        check_document({key: value for key, value in document.items() if key != "notes"})
    return answer


def main() -> None:
    asked = json.loads(sys.argv[1])
    memory, told = Path(asked["memory"]), list[str]()
    (memory / "outbox").mkdir(parents=True, exist_ok=True)
    station = load_station(Path(asked["station"])) if asked["station"] else None

    tally = station.tally if station else None
    signer = Signer.load(tally.key) if tally else own_signer(memory / "outbox")
    (memory / SPOOL).mkdir(exist_ok=True)
    spool = Spool(memory / SPOOL)
    reports = Reports(
        memory / "outbox", spool, station, signer, told.append, is_online=lambda: bool(asked["online"])
    )
    reports.start_sending(lambda _: None)
    sources, notes = open_key_files([Path(key) for key in asked["keys"]], None)
    log = EventLog(memory / "log" / "visit.log")
    if asked["fault"]:
        (memory / "fault").touch()

    def fail_once(_: Event) -> None:
        if (memory / "fault").exists():
            (memory / "fault").unlink()
            raise ZeroDivisionError("a mistake of our own")

    visit = Visit(
        settings=Settings(station, only_looks=asked["only_looks"]),
        medium=asked["medium"],
        keys=KeyChain(sources, interactive=False),
        reports=reports,
        listeners=(log, fail_once),
        tell=lambda report: told.append(f"{Path(report.disk).name} {report.status}"),
        fault=Voice(None, SerialLine(None), log).fault,
    )
    disks = [Target(Path(disk), ("a note",)) for disk in asked["disks"]]
    done = work_on_all(lambda: disks, visit.work_on)
    reports.sign_all(Machine())
    deadline = time.monotonic() + (30.0 if reports.has_tally and asked["online"] else 0.0)
    while reports.waiting() and time.monotonic() < deadline:
        time.sleep(0.1)
    reports.finish_sending(0.1)
    answer = {
        "disks": [
            {
                **report.to_document(),
                "notes": report.notes,
            }
            for report in done
        ],
        "told": [*notes, *told],
        "waiting": reports.waiting(),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
