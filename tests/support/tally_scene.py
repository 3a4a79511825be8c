"""A tally and its stations, each in a network namespace of its own, and the judge of what came of it.

Whatever the fault was, the judgement is the same: acknowledged is present, nothing is there twice, nobody
was let in who should not be, and the totals are those of the machines.
"""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from support.network import Host, Network
from support.program import Ended, run_program, start_program
from support.stations import make_station
from support.tally_client import audit_lines, event_id, sign
from support.tally_events import disk, run_id, uuid
from support.tally_server import ServerProcess, served_by_program, stored_ids
from support.tally_sums import faults_of

from unbrick.events.event import Event, EventKind
from unbrick.events.wire import SignedEvent
from unbrick.model import Machine
from unbrick.report.outbox import Outbox
from unbrick.signing.certificates import read_private
from unbrick.tally.folder import parse_address
from unbrick.tally.store.store import Store
from unbrick.tally.trust.authority import create_authority, enrol

PORT = 2291
PATIENCE_SECONDS = 120.0
_TOO_SLOW = {"no login in time", "no certificate was offered"}
"""Why the tally gives up on a station of ours whose line lets a login take too long."""
_SENDER = """
import sys
from functools import partial
from pathlib import Path
from unbrick.report.session import Limits, TallySession
from unbrick.report.outbox import outbox_folder
from unbrick.report.sender import BackgroundSender
from unbrick.settings.station_file import load_station

file = Path(sys.argv[1])
tally = load_station(file).tally
connect = partial(TallySession.open, tally, limits=Limits(answer=float(sys.argv[3])))
sender = BackgroundSender(tally, outbox_folder(file), connect=connect)
print("sending", flush=True)
sys.stdin.readline()
print(sender.finish(float(sys.argv[2])), flush=True)
"""


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS:g} s: {what}"
        time.sleep(0.02)


def machine(number: int) -> Machine:
    """The machine with that number; it is called `WARD-1` and so on."""
    return Machine(uuid(number), None, disk(number), (f"WARD-{number}",))


# A tally believes the date of a run that is no older than a month.
_FIRST = datetime.now(UTC) - timedelta(days=1)


def story(number: int, *, run: int | None = None, outcome: str = "repaired", size: int = 0) -> list[Event]:
    """What one run tells of one machine: eight events, each with a text of that many letters."""
    kinds = ["run-started", "locked", "unlocked", "found", "note", "moved", "note", "outcome"]
    text = {"text": "x" * size} if size else {}
    return [
        Event(
            run=run_id(number if run is None else run, _FIRST),
            sequence=sequence,
            kind=kind,
            at="2009-01-01T00:00:00.000000Z",
            machine=machine(number),
            site="st-marys",
            details={"status": outcome} if kind == "outcome" else text,
        )
        for sequence, kind in enumerate(kinds, 1)
    ]


@dataclass
class Medium:
    """A station: the folder of its stick, and the machine of the network that it is plugged in at."""

    name: str
    folder: Path
    host: Host
    kept: dict[str, SignedEvent] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        """Its `unbrick.yaml`."""
        return self.folder / "unbrick.yaml"

    @property
    def outbox(self) -> Outbox:
        """What it has to send."""
        return Outbox(self.folder / "outbox", _nothing_is_set_aside)

    def keep(self, events: Iterable[Event]) -> None:
        """Put events into the outbox, signed."""
        key = read_private(self.folder / "station")
        for event in events:
            signed = sign(event.to_bytes(), key)
            self.outbox.put(signed)
            self.kept[event_id(signed)] = signed

    def waiting(self) -> set[str]:
        """The ids of what is still in the outbox."""
        return {event_id(signed) for _, signed in self.outbox.pending()}

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Start the program where the medium is, with its station file."""
        return start_program(*arguments, "--station", self.file, inside=self.host.inside)

    def run(self, *arguments: str | Path) -> Ended:
        """Run the program where the medium is, with its station file."""
        return run_program(*arguments, "--station", self.file, inside=self.host.inside)

    def send(self) -> Ended:
        """`unbrick outbox send`."""
        return self.run("outbox", "send", "--json")

    @contextmanager
    def sending(self, *, answer_seconds: float = 60.0) -> Iterator[Sending]:
        """A process with a sender in the background, as every run has one."""
        program = [*self.host.inside, sys.executable, "-W", "error", "-c", _SENDER]
        with subprocess.Popen(
            [*program, str(self.file), str(PATIENCE_SECONDS), str(answer_seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                sending = Sending(process)
                assert sending.read() == "sending"
                yield sending
            finally:
                process.kill()


@dataclass(frozen=True)
class Sending:
    """A program with a sender in the background."""

    process: subprocess.Popen[str]

    def read(self) -> str:
        """The next line that it says."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def finish(self) -> None:
        """Let it send the rest; that must be everything."""
        _, errors = self.process.communicate("\n", timeout=PATIENCE_SECONDS + 10)
        assert (self.process.returncode, errors) == (0, "")

    def kill(self) -> None:
        """kill -9."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)


def _nothing_is_set_aside(sentence: str) -> None:
    raise AssertionError(sentence)


class Scene:
    """The tally at the first machine of a network, and the media that report to it."""

    def __init__(self, folder: Path, net: Network, *, tally: Path | None = None) -> None:
        self.net = net
        self.tally = tally or folder / "tally"
        self._folder = folder
        self.media: list[Medium] = []
        create_authority(self.tally, parse_address(f"{net['tally'].address}:{PORT}"))
        Store.open(self.tally / "tally.db").close()
        self._stranger = self._make_stranger(net["stranger"])
        self._knocking: subprocess.Popen[str] | None = None

    def enrol(self, name: str, host: str | None = None) -> Medium:
        """A medium of that name, plugged in at the machine of that name."""
        enrol(self.tally, name, "st-marys", self._folder / name)
        medium = Medium(name, self._folder / name, self.net[host or name])
        self.media.append(medium)
        return medium

    def _make_stranger(self, host: Host) -> Medium:
        """Knows our authority and the address, and has a certificate that somebody else signed."""
        made = make_station(self._folder / "stranger", address=f"{self.net['tally'].address}:{PORT}")
        ours = (self.tally / "authority.pub").read_text().strip()
        text = made.file.read_text()
        theirs = text.split('host_ca: "')[1].split('"')[0]
        made.file.write_text(text.replace(theirs, ours))
        stranger = Medium("stranger", made.file.parent, host)
        stranger.keep(story(666))
        return stranger

    @contextmanager
    def served(self) -> Iterator[ServerProcess]:
        """The tally, ended when the block is left."""
        with served_by_program(self.tally, port=PORT, inside=self.net["tally"].inside) as server:
            yield server

    def serve(self) -> ServerProcess:
        """The tally, until it is killed."""
        return ServerProcess(self.tally, port=PORT, inside=self.net["tally"].inside)

    def knock(self) -> None:
        """A stranger comes to send what it has; `judge` looks at what came of it."""
        self._knocking = self._stranger.start("outbox", "send", "--json")

    def look(self) -> None:
        """Judge what must hold at every moment. The outboxes first: what left them must be stored by now."""
        left = {one for medium in self.media for one in medium.kept.keys() - medium.waiting()}
        stored = stored_ids(self.tally)
        assert left <= set(stored)
        assert len(stored) == len(set(stored))
        assert set(stored) <= {one for medium in self.media for one in medium.kept}

    def adopt(self, medium: Medium, run: str) -> None:
        """Take over what the real program told in a run: every number up to the outcome, each once."""
        waiting = [signed for _, signed in medium.outbox.pending()]
        with closing(sqlite3.connect(self.tally / "tally.db")) as database:
            rows = database.execute("select data, signature from events where run = ?", (run,)).fetchall()
        of_run = {event_id(one): one for one in (*waiting, *(SignedEvent(*row) for row in rows))}
        events = sorted((one.event() for one in of_run.values()), key=lambda one: one.sequence)
        assert [one.sequence for one in events] == list(range(1, len(events) + 1))
        assert events[-1].kind == EventKind.OUTCOME
        medium.kept.update(of_run)

    def judge(self, truth: Mapping[str, str]) -> None:
        """Judge the end, when everything was sent: `truth` says how each machine stands, by its name."""
        assert [medium.outbox.count() for medium in self.media] == [0] * len(self.media)
        assert {medium.outbox.count_set_aside() for medium in self.media} <= {(0, 0)}
        self.look()
        assert set(stored_ids(self.tally)) == {one for medium in self.media for one in medium.kept}
        shown = run_program("tally", "status", self.tally, "--json").document
        assert {one["name"]: one["status"] for one in shown["machines"]} == dict(truth)
        assert shown["total"] == len(shown["machines"]) == len(truth)
        assert shown["by_status"] == dict(Counter(truth.values()))
        with Store.open(self.tally / "tally.db") as store:
            assert faults_of(store) == ()
            assert store.summary().events == len(stored_ids(self.tally))
        self._judge_strangers()

    def _judge_strangers(self) -> None:
        if self._knocking is not None:
            out, err = self._knocking.communicate(timeout=PATIENCE_SECONDS + 10)
            assert self._knocking.returncode == 1
            assert json.loads(out)["waiting"] == len(self._stranger.kept)
            assert "does not let this station (station) in" in err
        refused = [one for one in audit_lines(self.tally) if one["what"] == "refused"]
        of_ours = [one for one in refused if one["who"] != "station" and one["why"] not in _TOO_SLOW]
        assert of_ours == [], of_ours
        assert not set(stored_ids(self.tally)) & self._stranger.kept.keys()


def truth_of(numbers: Sequence[int], status: str = "repaired") -> dict[str, Any]:
    """The machines with these numbers, all in one status."""
    return {f"WARD-{number}": status for number in numbers}
