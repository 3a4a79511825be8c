"""The whole chain while things go wrong: real tally, real stations, a network of namespaces between them.

After each fault the same judge decides (`support/tally_scene.py`): acknowledged is present, nothing is there
twice, nobody was let in who should not be, the outboxes are empty and the totals right.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.drilled import Drills
from support.network import Network, Weather, network
from support.program import await_end, run_program
from support.tally_client import audit_lines
from support.tally_scene import Medium, Scene, story, truth_of, wait_for
from support.tally_server import stored_ids

pytestmark = pytest.mark.usefixtures("leaves_nothing")

KILLS = int(os.environ.get("UNBRICK_TALLY_KILLS", "3"))
"""How often the tally and the stations are killed; 100 where there is time."""
BAD = Weather(delay=0.15, jitter=0.05, loss=0.2, duplicated=0.1, reordered=0.1)
"""300 ms there and back; of each hundred packets 20 are lost, 10 come twice, 10 ahead of their turn."""


@pytest.fixture
def net() -> Iterator[Network]:
    with network("tally", "north", "south", "east", "stranger") as made:
        yield made


@pytest.fixture
def scene(tmp_path: Path, net: Network) -> Scene:
    return Scene(tmp_path, net)


def served_meanwhile(medium: Medium, number: int) -> None:
    """Somebody whom the fault does not concern has reported a machine, and is rid of it at once."""
    medium.keep(story(number))
    ended = medium.send()
    assert (ended.code, ended.document["waiting"], ended.err) == (0, 0, "")


def test_delay_loss_duplication_and_reordering(scene: Scene, drills: Drills, tmp_path: Path) -> None:
    north, south, east = (scene.enrol(name) for name in ("north", "south", "east"))
    disk = drills.copy("plain", tmp_path / "disks")
    bad = [north.host, south.host]
    for host in bad:
        host.weather = BAD
    with scene.served():
        for number in range(1, 6):
            north.keep(story(number))
        with north.sending() as sending:
            repairing = south.start("repair", disk.image, "--yes", "--json")
            scene.knock()
            served_meanwhile(east, 6)
            repaired = await_end(repairing)
            assert (repaired.code, repaired.document["status"]) == (0, "repaired")
            sending.finish()
        wait_for(lambda: south.send().code == 0, "what was left of the repair")
    assert disk.complaints(repaired=True) == ()
    assert all(host.lost and host.repeated for host in bad)
    scene.adopt(south, repaired.document["run"])
    (name,) = repaired.document["machine"]["hostnames"]
    scene.judge(truth_of(range(1, 7)) | {name: "repaired"})


def test_a_cable_that_is_pulled_in_the_middle_of_frames(scene: Scene) -> None:
    north, east = scene.enrol("north"), scene.enrol("east")
    chance = random.Random(5)
    for number in range(1, 11):
        north.keep(story(number, size=3900))
    with scene.served(), north.sending() as sending:
        for pulled in range(4):
            north.keep(story(11 + pulled, size=3900))
            north.host.cut_after = chance.randint(2, 60)
            wait_for(lambda: not north.host.up, "a cable that is pulled")
            scene.look()
            if pulled == 0:
                scene.knock()
                served_meanwhile(east, 20)
            time.sleep(0.3)
            north.host.up = True
        sending.finish()
    scene.judge(truth_of([*range(1, 15), 20]))


def test_a_link_that_goes_down_with_its_address(scene: Scene) -> None:
    """As when a machine is moved to another network: the old connection can never go on."""
    north = scene.enrol("north")
    with scene.served(), north.sending(answer_seconds=2.0) as sending:
        for number in range(1, 4):
            north.keep(story(number))
            wait_for(lambda: len(north.waiting()) < 4, "some that is sent")
            north.host.move(f"10.29.1.{50 + number}")
            north.keep(story(number + 10))
        scene.knock()
        sending.finish()
    scene.judge(truth_of([1, 2, 3, 11, 12, 13]))


def test_a_station_that_vanished_is_forgotten_and_its_medium_goes_on_elsewhere(scene: Scene) -> None:
    north, east = scene.enrol("north"), scene.enrol("east")
    program = (
        "import sys; from pathlib import Path; from unbrick.tally.door.limits import Limits\n"
        "from unbrick.tally.door.server import serve\n"
        "serve(Path(sys.argv[1]), ready=lambda _: print('listening', flush=True),"
        " limits=Limits(keepalive_seconds=0.5))"
    )
    at = scene.net["tally"]
    tally = [*at.inside, sys.executable, "-c", program, str(scene.tally)]
    with subprocess.Popen(tally, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "listening\n"
            north.keep(story(1))
            with north.sending() as sending:
                wait_for(lambda: not north.waiting(), "a session that stands")
                north.host.up = False
                north.keep(story(2))
                sending.kill()
            peer = f"{north.host.address}:"
            assert peer in at.run("ss", "-Htn", "state", "established")
            north.host = scene.net["south"]
            served_meanwhile(east, 3)
            assert north.send().code == 0
            wait_for(
                lambda: peer not in at.run("ss", "-Htn", "state", "established"),
                "the session of a station that vanished is ended",
            )
        finally:
            server.terminate()
    scene.judge(truth_of([1, 2, 3]))


def test_a_tally_that_lost_its_power_while_nobody_could_hear_it(scene: Scene) -> None:
    north = scene.enrol("north")
    cable = scene.net["tally"]
    with north.sending() as sending:
        with scene.served() as server:
            north.keep(story(1))
            wait_for(lambda: not north.waiting(), "a session that stands")
            cable.up = False
            server.kill()
        with scene.served():
            north.keep(story(2))
            time.sleep(0.5)
            cable.up = True
            wait_for(lambda: not north.waiting(), "a new session")
            scene.knock()
            sending.finish()
            scene.judge(truth_of([1, 2]))


def test_the_tally_is_killed_under_several_stations(scene: Scene) -> None:
    media = [scene.enrol(name) for name in ("north", "south", "east")]
    chance = random.Random(7)
    number = 0

    def arrived(more_than: int) -> bool:
        nonlocal number
        for medium in media:
            number += 1
            medium.keep(story(number))
        return len(stored_ids(scene.tally)) > more_than

    with media[0].sending() as first, media[1].sending() as second, media[2].sending() as third:
        for _ in range(KILLS):
            before = len(stored_ids(scene.tally))
            with scene.served() as server:
                wait_for(lambda before=before: arrived(before + 20), "some that arrives")  # type: ignore[misc]
                time.sleep(chance.uniform(0, 0.1))
                server.kill()
            scene.look()
        with scene.served():
            scene.knock()
            for sending in (first, second, third):
                sending.finish()
            scene.judge(truth_of(range(1, number + 1)))


def test_the_disk_of_the_tally_fills_up_while_stations_send(tmp_path: Path, net: Network) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", small], check=True)
    try:
        _fill_the_disk(Scene(tmp_path, net, tally=small / "tally"), small / "ballast")
    finally:
        subprocess.run(["umount", small], check=True)


def _fill_the_disk(scene: Scene, ballast: Path) -> None:
    north, south = scene.enrol("north"), scene.enrol("south")
    with scene.served(), north.sending() as sending:
        served_meanwhile(south, 1)
        with ballast.open("wb", buffering=0) as stream:
            try:
                while True:
                    stream.write(bytes(4096))
            except OSError:
                pass
        numbers = iter(range(2, 200))
        sent = 1
        while not south.waiting():  # what SQLite has in hand still takes some
            sent = next(numbers)
            south.keep(story(sent, size=3900))
            refused = south.send()
        assert refused.code == 1
        assert "the disk of the tally is full" in refused.document["error"]
        north.keep(story(sent + 1, size=3900))
        scene.knock()
        said = run_program("tally", "status", scene.tally, "--json")
        assert "the disk of the tally is full" in said.err
        scene.look()
        waiting = south.waiting()
        assert not waiting & set(stored_ids(scene.tally))
        assert south.send().document["waiting"] == len(waiting)
        ballast.unlink()
        wait_for(lambda: not north.waiting(), "a sender that tries again by itself")
        sending.finish()
        assert south.send().code == 0
        assert run_program("tally", "status", scene.tally, "--json").err == ""
        scene.judge(truth_of(range(1, sent + 2)))
    told = [line["what"] for line in audit_lines(scene.tally)]
    assert told.count("storing-failed") >= 1
    assert told.count("storing-again") == told.count("storing-failed")


def test_a_station_is_killed_at_any_moment_and_run_again(scene: Scene) -> None:
    north, south = scene.enrol("north"), scene.enrol("south")
    chance = random.Random(11)
    with scene.served():
        for number in range(1, 2 * KILLS + 1):
            north.keep(story(number, size=1000))
            if number % 2:
                process = north.start("outbox", "send")
                time.sleep(chance.uniform(0.2, 0.8))
                process.kill()
                process.communicate(timeout=30)
            else:
                with north.sending() as sending:
                    time.sleep(chance.uniform(0, 0.4))
                    sending.kill()
            scene.look()
        scene.knock()
        served_meanwhile(south, 0)
        assert north.send().code == 0
        scene.judge(truth_of(range(2 * KILLS + 1)))


def test_two_media_report_one_machine_at_once(scene: Scene) -> None:
    north, south = scene.enrol("north"), scene.enrol("south")
    with scene.served(), north.sending() as first, south.sending() as second:
        for number in range(1, 6):
            ours, theirs = (story(number, run=run, outcome=outcome) for run, outcome in _runs(number))
            for one, other in zip(ours, theirs, strict=True):
                north.keep([one])
                south.keep([other])
        scene.knock()
        first.finish()
        second.finish()
        scene.judge(truth_of([1, 3, 5], "undone") | truth_of([2, 4]))


def _runs(number: int) -> list[tuple[int, str]]:
    """Two runs on one machine by two media: the one that began later was an undo, or the repair."""
    order = [(10 * number, "repaired"), (10 * number + 1, "undone")]
    return order if number % 2 else [(order[0][0], "undone"), (order[1][0], "repaired")]


def test_an_export_that_is_carried_there_after_all_was_sent(scene: Scene, tmp_path: Path) -> None:
    north = scene.enrol("north")
    for number in range(1, 31):
        north.keep(story(number))
    export = tmp_path / "reports.jsonl"
    assert north.run("outbox", "export", export, "--json").document["exported"] == 240
    with scene.served():
        scene.knock()
        sent = north.send().document
        assert sent.pop("answered")
        assert sent == {
            "state": "sent",
            "sent": 240,
            "refused": 0,
            "waiting": 0,
            "error": None,
            "refusals": [],
        }
        for _ in range(2):
            ended = run_program("tally", "import", scene.tally, export)
            assert (ended.code, ended.out.strip()) == (0, "0 new, 240 known already, 0 refused")
        north.keep(one for number in range(1, 31) for one in story(number))
        assert north.send().code == 0
        scene.judge(truth_of(range(1, 31)))


def test_events_in_any_order(scene: Scene) -> None:
    north = scene.enrol("north")
    outcomes = {1: "repaired", 2: "undone", 3: "healthy", 4: "needs-hands", 5: "failed"}
    events = [event for number, outcome in outcomes.items() for event in story(number, outcome=outcome)]
    random.Random(13).shuffle(events)
    with scene.served(), north.sending() as sending:
        for start in range(0, len(events), 4):
            north.keep(events[start : start + 4])
            wait_for(lambda: not north.waiting(), "each handful sent before the next")
        scene.knock()
        sending.finish()
        scene.judge({f"WARD-{number}": outcome for number, outcome in outcomes.items()})
