"""The rounds: serve, report, kill, harm; then what the next `serve` says is held against what is there."""

from __future__ import annotations

import asyncio
import json
import random
import re
import shutil
import time
from collections import Counter
from pathlib import Path

from support.outside.client import OutsideStation
from support.tally_kills.harms import HARMS
from support.tally_kills.load import Load
from support.tally_kills.servers import Program, program
from support.tally_kills.state import State, read_mark, read_state

_STATIONS = ("station", "north", "south", "east")
_ROUNDS_A_TALLY = 40
_CHECK_EVERY = 10
_NUMBER = re.compile(r"(up to |at least )?(\d+) acknowledged reports? (?:is|are) missing")
_WORDS = (
    "is damaged",
    "is not what was signed",
    "the ledger does not fit",
    "cannot be used",
    "is not a tally's",
)
_LOOKED_THROUGH = {"database flipped", "database blanked"}


class Campaign:
    """One tally after another, killed and harmed; an AssertionError says which promise was broken."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._root = folder
        self._chance = random.Random(seed)
        self._seed = seed
        self.counted: Counter[str] = Counter()
        self._number = 0

    def run(self, rounds: int) -> None:
        """So many kills."""
        for number in range(rounds):
            if number % _ROUNDS_A_TALLY == 0:
                self._begin()
            self._number = number
            try:
                self._round()
            except AssertionError as error:
                self._keep_evidence()
                raise AssertionError(f"seed {self._seed}, round {number}: {error}") from error
        self._end()

    def _keep_evidence(self) -> None:
        """For who looks at it: what was acknowledged lies beside the tally."""
        acknowledged = sorted(self._load.acknowledged)
        (self._root / "acknowledged.json").write_text(json.dumps(acknowledged))

    def _begin(self) -> None:
        self._number = 0
        for path in self._root.iterdir():
            shutil.rmtree(path)
        self._folder, self._before = self._root / "tally", self._root / "before"
        self._say("init", self._folder)
        folders = [self._folder, *(self._root / name for name in _STATIONS[1:])]
        for name, place in zip(_STATIONS[1:], folders[1:], strict=True):
            self._say("enrol", self._folder, name, "--site", "main", "--out", place)
        stations = [OutsideStation(*pair) for pair in zip(folders, _STATIONS, strict=True)]
        self._load = Load(stations, self._chance)
        self._harm = "nothing"

    def _say(self, *arguments: str | Path, code: int = 0) -> Program:
        with program("tally", *arguments) as running:
            assert running.awaited() == code, (arguments, running.out, running.err)
            return running

    def _round(self) -> None:
        state = read_state(self._folder)
        self._judge_state(state)
        with program("tally", "serve", self._folder, "--port", "0") as server:
            port = server.port()
            self.counted["served" if port else "refused"] += 1
            if port is None:
                self._judge_refusal(server, state)
                again = self._recover(state)
            else:
                self._judge_served(server, state)
                again = False
            if port and not again:
                self._press_and_kill(server, port)
        if port is None:
            self._serve_again()
        self._check_now_and_then()
        self._do_harm()

    def _judge_state(self, state: State) -> None:
        assert state.ids <= self._load.sent, "reports that nobody sent"

    def _judge_served(self, server: Program, state: State) -> None:
        missing = self._load.acknowledged - state.ids
        assert not missing, f"{self._harm}: {len(missing)} acknowledged reports are gone in silence"
        if self._harm.startswith("mark"):
            assert self._marked or not state.ids, f"{self._harm}: a lost mark was not told"

    def _judge_refusal(self, server: Program, state: State) -> None:
        assert server.awaited() == 1, (self._harm, server.err)
        missing = self._load.acknowledged - state.ids
        vouched = int(self._marked["events"]) if self._marked else 0
        if "tally.mark, which says" in server.err:
            assert self._marked is None, f"{self._harm}: {server.err}"
            self.counted["lost marks told"] += 1
            return
        if "tally.mark says of stations.json" in server.err:
            assert self._harm.startswith("mark"), f"{self._harm}: {server.err}"
            self.counted["lost marks told"] += 1
            return
        if "made at the tally" in server.err:
            assert not missing, f"{self._harm}: {len(missing)} are missing: {server.err}"
            self.counted["changes missing and said"] += 1
            return
        wrong = bool(missing) or not state.is_sound or vouched > len(state.ids)
        assert wrong, f"{self._harm}: refused for nothing: {server.err}"
        said = _NUMBER.search(server.err)
        if said is None:
            assert any(word in server.err for word in _WORDS), f"{self._harm}: {server.err}"
            assert not state.is_sound, f"{self._harm}: without a number: {server.err}"
            self.counted["damage said"] += 1
            return
        number = int(said[2])
        if said[1] == "at least ":
            assert not state.is_sound, f"{self._harm}: not damaged, and not exact: {server.err}"
        else:
            assert number >= len(missing), f"{self._harm}: {number} said, {len(missing)} are missing"
        if state.is_sound or not state.is_there:
            exact = vouched if said[1] else vouched - len(state.ids)
            assert number == exact, f"{self._harm}: {number} said, {exact} are missing"
        self.counted["losses said with their number"] += 1
        self.counted["reports missing"] += number

    def _recover(self, state: State) -> bool:
        """Accept the loss, where the database is one; else put everything back."""
        self._accept = (state.is_sound or not state.is_there) and self._chance.random() < 0.5
        if self._accept:
            self._load.acknowledged &= state.ids
        else:
            shutil.rmtree(self._folder)
            shutil.copytree(self._before, self._folder)
        return True

    def _serve_again(self) -> None:
        options = ("--accept-loss", "--who", "kim") if self._accept else ()
        state = read_state(self._folder)
        with program("tally", "serve", self._folder, "--port", "0", *options) as server:
            port = server.port()
            assert port is not None, f"{self._harm}, then {options or 'put back'}: {server.err}"
            assert self._load.acknowledged <= state.ids
            if self._accept:
                assert "accepted by kim" in server.err, server.err
                assert '"what": "loss-accepted"' in (self._folder / "audit.log").read_text()
                self.counted["losses accepted"] += 1
            self._press_and_kill(server, port)

    def _press_and_kill(self, server: Program, port: int) -> None:
        moment = self._chance.choice((0.0, 0.1, 0.3, 0.6)) * self._chance.random()

        async def until_killed() -> None:
            pressing = asyncio.create_task(self._load.press(port))
            before = len(self._load.acknowledged)
            while moment > 0.05 and len(self._load.acknowledged) == before and not pressing.done():
                await asyncio.sleep(0.005)
            await asyncio.sleep(moment)
            await asyncio.to_thread(server.kill)
            await pressing

        asyncio.run(until_killed())
        self.counted["kills"] += 1
        state = read_state(self._folder)
        assert state.is_sound, "a kill damaged the database"
        missing = self._load.acknowledged - state.ids
        assert not missing, f"a kill lost {len(missing)} acknowledged reports"

    def _check_now_and_then(self) -> None:
        if self._number % _CHECK_EVERY == _CHECK_EVERY - 1:
            self._say("check", self._folder, "--signatures", "--json")
            self.counted["whole checks"] += 1

    def _do_harm(self) -> None:
        shutil.rmtree(self._before, ignore_errors=True)
        shutil.copytree(self._folder, self._before)
        self._harm = self._chance.choice(("nothing", *HARMS))
        if not HARMS[self._harm](self._folder, self._chance):
            self._harm = "nothing"
        self.counted[f"harm: {self._harm}"] += 1
        self._marked = read_mark(self._folder)
        if self._chance.random() < 0.2:
            shutil.rmtree(self._root / "older", ignore_errors=True)
            shutil.copytree(self._before, self._root / "older")
        if self._harm in _LOOKED_THROUGH:
            self._look_through()

    def _look_through(self) -> None:
        """What changed a byte of what was told is found by `check`; then all is put back."""
        before, after = read_state(self._before), read_state(self._folder)
        with program("tally", "check", self._folder, "--signatures", "--json") as running:
            code = running.awaited()
            assert code in (0, 1), running.err
            if before.rows != after.rows or not after.is_sound:
                assert code == 1, f"{self._harm}: check finds nothing"
                assert json.loads(running.out)["complaints"], running.out
            self.counted["damage found by check" if code else "damage to nothing"] += 1
        with program("tally", "serve", self._folder, "--port", "0") as server:
            if server.port() is not None:
                missing = self._load.acknowledged - after.ids
                assert not missing, f"{self._harm}: {len(missing)} reports are gone in silence"
        shutil.rmtree(self._folder)
        shutil.copytree(self._before, self._folder)
        self._harm, self._marked = "nothing", read_mark(self._folder)

    def _end(self) -> None:
        """Whatever the last harm was, put back; all of it adds up and nothing is there twice."""
        shutil.rmtree(self._folder)
        shutil.copytree(self._before, self._folder)
        found = json.loads(self._say_and_hear("check", self._folder, "--signatures", "--json"))
        assert found["reports"] == len(read_state(self._folder).ids)

    def _say_and_hear(self, *arguments: str | Path) -> str:
        with program("tally", *arguments) as running:
            assert running.awaited() == 0, (running.out, running.err)
            return running.out


def campaign(folder: Path, rounds: int, seed: int) -> tuple[Counter[str], float]:
    """Run one; what came of it, and the seconds it took."""
    begin = time.monotonic()
    run = Campaign(folder, seed)
    run.run(rounds)
    return run.counted, time.monotonic() - begin
