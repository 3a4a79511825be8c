"""`--station FILE`: every event is kept, signed and sent, and whatever fails there stops no repair."""

from __future__ import annotations

import getpass
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.drilled import Drilled, Drills
from support.folded import fold_all
from support.program import Ended, run_program, start_program
from support.signed_events import unsigned_event
from support.stations import MadeStation, make_station
from support.tally_server import ServerProcess, new_tally, served_by_program, stored_ids

from unbrick.events.event import Event, EventKind
from unbrick.events.short_code import short_code
from unbrick.events.standing import MachineStatus
from unbrick.model import Machine
from unbrick.report.outbox import Outbox

pytestmark = pytest.mark.usefixtures("leaves_nothing")


@pytest.fixture
def lonely(tmp_path: Path) -> MadeStation:
    """A station whose tally nobody serves."""
    return make_station(tmp_path / "stick")


@pytest.fixture
def tally(tmp_path: Path) -> Iterator[ServerProcess]:
    """A real tally; `station_of` makes its first station's file lead there."""
    folder = new_tally(tmp_path / "tally")
    with served_by_program(folder) as server:
        file = folder / "unbrick.yaml"
        file.write_text(re.sub(r'"127\.0\.0\.1:\d+"', f'"127.0.0.1:{server.port}"', file.read_text()))
        yield server


def repair(disk: Drilled, station: Path, *options: str) -> Ended:
    return run_program(
        "repair", disk.image, "--keys", disk.keys, "--yes", "--json", "--station", station, *options
    )


def said_of_reports(ended: Ended) -> list[str]:
    """What stderr says besides the repair itself."""
    return [line for line in ended.err.splitlines() if "report" in line]


def events_in(folder: Path) -> list[Event]:
    told: list[str] = []
    events = [signed.event() for _, signed in Outbox(folder, told.append).pending()]
    assert told == []
    return events


def whole_runs(events: list[Event]) -> set[str]:
    """The runs of some events, each of which is numbered from 1 without a gap."""
    runs: dict[str, list[int]] = {}
    for event in events:
        runs.setdefault(event.run, []).append(event.sequence)
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in runs.values())
    return set(runs)


def test_without_a_tally_the_repair_is_the_same_and_its_reports_wait(
    drills: Drills, tmp_path: Path, lonely: MadeStation
) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    ended = repair(disk, lonely.file)
    assert (ended.code, ended.document["status"]) == (0, "repaired")
    assert disk.complaints(repaired=True) == ()
    events = events_in(lonely.outbox)
    assert whole_runs(events) == {ended.document["run"]}
    (line,) = said_of_reports(ended)
    assert line.startswith(
        f"unbrick: {len(events)} reports wait in {lonely.outbox}; send them with unbrick outbox"
    )
    mark = fold_all(events).mark
    assert mark is not None
    assert mark.status is MachineStatus.REPAIRED
    assert {event.site for event in events} == {"st-marys"}
    last = events[-1].machine
    assert [last.disk_guid, list(last.hostnames)] == [
        ended.document["machine"]["disk_guid"],
        ended.document["machine"]["hostnames"],
    ]
    moved = [event.details for event in events if event.kind == EventKind.MOVED]
    assert [one["path"] for one in moved] == [
        a["path"] for a in ended.document["installations"][0]["actions"]
    ]
    assert all(re.fullmatch(r"[0-9a-f]{64}", one["sha256"]) for one in moved)


@pytest.mark.parametrize("verb", ["scan", "diagnose", "undo"])
def test_every_verb_reports(drills: Drills, tmp_path: Path, lonely: MadeStation, verb: str) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    yes = ["--yes"] if verb == "undo" else []
    run_program(verb, disk.image, "--station", lonely.file, *yes)
    events = events_in(lonely.outbox)
    assert len(whole_runs(events)) == 1
    assert events[0].details["goal"] == verb
    assert events[-1].kind == EventKind.OUTCOME


def test_no_event_names_a_person_a_secret_or_a_place_of_this_computer(
    drills: Drills, tmp_path: Path, lonely: MadeStation
) -> None:
    """The station's file brings the keys, too."""
    disk = drills.copy("xts-128", tmp_path / "zebra-folder", name="zebra-disk.img")
    lonely.file.write_text(lonely.file.read_text() + "keys: [zebra-keys.csv]\ntechnician: Zoltan Zebra\n")
    disk.keys.rename(lonely.file.parent / "zebra-keys.csv")
    ended = run_program("repair", disk.image, "--yes", "--json", "--station", lonely.file)
    assert ended.document["status"] == "repaired"
    assert len(events_in(lonely.outbox)) > 15
    text = "".join(path.read_text() for path in lonely.outbox.iterdir())
    assert "C-00000291" in text
    rows = (lonely.file.parent / "zebra-keys.csv").read_text().splitlines()[1:]
    groups = {group for row in rows for group in re.findall(r"[0-9]{6}", row.split(",", 1)[1])}
    assert len(groups) >= 8
    digits = set(re.findall(r"(?<![0-9A-Fa-f])[0-9]{6}(?![0-9A-Fa-f])", text))
    # A microsecond can look like one group of a password, but not like most of them.
    assert len(groups & digits) <= 1
    for password in (row.split(",", 1)[1] for row in rows):
        assert password not in text
        assert password.replace("-", "") not in text
    lowered = text.casefold()
    for name in ("zebra", "zoltan", "\\users\\", "documents and settings", str(tmp_path).casefold()):
        assert name not in lowered
        assert name.replace("\\", "\\\\\\\\") not in lowered
    for own in (getpass.getuser(), socket.gethostname()):
        assert re.search(rf"\b{re.escape(own.casefold())}\b", lowered) is None


def test_a_broken_station_file_stops_everything_before_it_begins(
    drills: Drills, tmp_path: Path, lonely: MadeStation
) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    before = disk.digest()
    whole = lonely.file.read_text()
    key = lonely.file.parent / "station"
    for hurt in ("[", whole.replace("tally:", "telly:"), whole.replace("key: station,", "key: ../station,")):
        lonely.file.write_text(hurt)
        for verb, yes in (("scan", []), ("diagnose", []), ("repair", ["--yes"]), ("undo", ["--yes"])):
            ended = run_program(verb, disk.image, "--station", lonely.file, "--json", *yes)
            assert ended.refusal["error"]
            assert str(lonely.file) in ended.err
    lonely.file.write_text(whole)
    key.write_text("no key")
    assert repair(disk, lonely.file).code == 2
    assert run_program("repair", disk.image, "--yes", "--station", tmp_path / "missing.yaml").code == 2
    assert disk.digest() == before
    assert not lonely.outbox.exists()


def test_every_event_of_a_repair_reaches_the_tally_once(
    drills: Drills, tmp_path: Path, tally: ServerProcess
) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    file = tmp_path / "tally" / "unbrick.yaml"
    ended = repair(disk, file)
    assert (ended.code, said_of_reports(ended)) == (0, [])
    assert Outbox(file.parent / "outbox").count() == 0
    ids = stored_ids(file.parent)
    assert len(ids) == len(set(ids)) > 15
    status = run_program("tally", "status", file.parent, "--json").document
    (machine,) = status["machines"]
    assert (machine["name"], machine["status"]) == (ended.document["machine"]["hostnames"][0], "repaired")
    known = ended.document["machine"]
    code = short_code(Machine(disk_guid=known["disk_guid"], hostnames=tuple(known["hostnames"])), None)
    found = run_program("tally", "status", file.parent, "--find", code.lower().replace("-", " "), "--json")
    (one,) = found.document["machines"]
    assert one == {**machine, "code": code, "marks": [], "held_by": None}


def test_what_waited_is_listed_exported_sent_and_counted_once(
    drills: Drills, tmp_path: Path, tally: ServerProcess
) -> None:
    folder = tmp_path / "tally"
    file = folder / "unbrick.yaml"
    reachable = file.read_text()
    file.write_text(reachable.replace(f":{tally.port}", ":1"))
    disk = drills.copy("plain", tmp_path / "disks")
    run = repair(disk, file).document["run"]
    listed = run_program("outbox", "list", "--station", file, "--json").document
    assert [one["run"] for one in listed["runs"]] == [run]
    assert listed["waiting"] == listed["runs"][0]["events"] > 15
    assert run in run_program("outbox", "list", "--station", file).out
    export = run_program("outbox", "export", tmp_path / "out.jsonl", "--station", file, "--json")
    assert export.document["exported"] == listed["waiting"]
    assert run_program("outbox", "export", tmp_path / "out.jsonl", "--station", file).code == 1

    failed = run_program("outbox", "send", "--station", file, "--json")
    assert failed.code == 1
    assert failed.document["waiting"] == listed["waiting"]
    assert "cannot be reached" in failed.document["error"]
    file.write_text(reachable)
    sent = run_program("outbox", "send", "--station", file, "--json")
    assert (sent.code, sent.document) == (
        0,
        {
            "state": "sent",
            "sent": listed["waiting"],
            "refused": 0,
            "waiting": 0,
            "error": None,
            "answered": f"127.0.0.1:{tally.port}",
            "refusals": [],
        },
    )
    tried = run_program("outbox", "send", "--station", file)
    assert tried.code == 0
    assert tried.out == f"0 reports sent, 0 wait\nthe tally answered at 127.0.0.1:{tally.port}\n"
    file.write_text(reachable.replace(f":{tally.port}", ":1"))
    nobody = run_program("outbox", "send", "--station", file, "--json")
    assert (nobody.code, nobody.document["state"], nobody.document["answered"]) == (1, "unreachable", None)
    file.write_text(reachable)
    assert run_program("tally", "import", folder, tmp_path / "out.jsonl").code == 0
    assert len(stored_ids(folder)) == listed["waiting"]


def test_what_waits_can_be_carried_where_the_key_of_the_station_is_damaged(
    lonely: MadeStation, tmp_path: Path
) -> None:
    Outbox(lonely.outbox).put(unsigned_event(1))
    (lonely.file.parent / "station-cert.pub").write_text("torn")
    assert run_program("outbox", "send", "--station", lonely.file).code == 2
    assert run_program("outbox", "list", "--station", lonely.file, "--json").document["waiting"] == 1
    carried = tmp_path / "carried.jsonl"
    assert run_program("outbox", "export", carried, "--station", lonely.file).code == 0
    assert len(carried.read_text().splitlines()) == 1


def test_a_site_without_a_tally_keeps_its_reports_and_can_carry_them_to_one(
    drills: Drills, tmp_path: Path
) -> None:
    disk = drills.copy("xts-128", tmp_path / "disks")
    file, outbox = disk.keys.parent / "unbrick.yaml", disk.keys.parent / "outbox"
    file.write_text(f"mode: unattended\nfinish: restart\nsite: st-marys\nkeys: [{disk.keys.name}]\n")

    ended = run_program("repair", disk.image, "--yes", "--json", "--station", file)

    assert (ended.code, ended.document["status"]) == (0, "repaired")
    events = events_in(outbox)
    assert whole_runs(events) == {ended.document["run"]}
    assert {event.site for event in events} == {"st-marys"}
    (line,) = said_of_reports(ended)
    assert f"{len(events)} reports are kept in {outbox}; the station file names no tally" in line
    sent = run_program("outbox", "send", "--station", file)
    assert (sent.code, sent.out) == (2, "")
    assert "names no tally" in sent.err.splitlines()[0]
    assert run_program("undo", disk.image, "--yes", "--station", file).code == 0
    waiting = len(events_in(outbox))
    assert run_program("outbox", "list", "--station", file, "--json").document["waiting"] == waiting
    carried, tally = tmp_path / "carried.jsonl", new_tally(tmp_path / "tally")
    assert run_program("outbox", "export", carried, "--station", file).code == 0
    refused = run_program("tally", "import", tally, carried)
    (key,) = set(re.findall(r"SHA256:[A-Za-z0-9+/]{43}", refused.said))
    taken = run_program(
        "tally", "import", tally, carried, "--accept-key", key, "--reason", "the helpers' own"
    )
    count, accepted = taken.out.splitlines()
    assert count == f"{waiting} new, 0 known already, 0 refused"
    assert accepted.startswith(f"{key} is medium-")


def test_a_tally_of_another_authority_gets_nothing_and_it_is_said(
    drills: Drills, tmp_path: Path, tally: ServerProcess, lonely: MadeStation
) -> None:
    lonely.file.write_text(lonely.file.read_text().replace("127.0.0.1:1", f"127.0.0.1:{tally.port}"))
    ended = repair(drills.copy("plain", tmp_path / "disks"), lonely.file)
    assert (ended.code, ended.document["status"]) == (0, "repaired")
    assert "reports wait in" in ended.err
    assert "not the one" in ended.err
    sent = run_program("outbox", "send", "--station", lonely.file)
    assert sent.code == 1
    assert "not the one" in sent.err
    assert stored_ids(tmp_path / "tally") == []


def in_own_mounts(script: str, *arguments: str | Path) -> Ended:
    """The program in a mount namespace in which a script has mounted something; it is gone afterwards."""
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", f'{script}; exec "$@"', "sh"]
    program = [*argv, sys.executable, "-m", "unbrick", *map(str, arguments)]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=120)
    assert "Traceback" not in done.stderr, done.stderr
    return Ended(done.returncode, done.stdout, done.stderr)


def _full(folder: Path) -> str:
    return (
        f"mkdir -p {folder}; mount -t tmpfs -o size=16k,mode=700 none {folder}; "
        f"head -c 100000 /dev/zero > {folder}/.fill 2>/dev/null || true"
    )


def _read_only(folder: Path) -> str:
    stick = folder.parent
    return (
        f"mount --bind {stick} {stick}; mount -o remount,bind,ro {stick}; mount -t tmpfs -o ro none /var/lib"
    )


@pytest.mark.parametrize("hurt", [_full, _read_only])
def test_a_failing_outbox_stops_no_repair(
    drills: Drills, tmp_path: Path, lonely: MadeStation, hurt: object
) -> None:
    assert callable(hurt)
    disk = drills.copy("plain", tmp_path / "disks")
    arguments = ("repair", disk.image, "--yes", "--json", "--station", lonely.file)
    ended = in_own_mounts(hurt(lonely.outbox), *arguments)
    assert (ended.code, ended.document["status"]) == (0, "repaired")
    assert disk.complaints(repaired=True) == ()
    first, last = said_of_reports(ended)
    assert "cannot be kept" in first
    assert "the work goes on" in first
    assert "could be neither kept nor sent" in last


@pytest.mark.parametrize("hurt", [_full, _read_only])
def test_what_a_failing_outbox_cannot_keep_is_still_sent(
    drills: Drills, tmp_path: Path, tally: ServerProcess, hurt: object
) -> None:
    assert callable(hurt)
    stick = tmp_path / "stick"
    stick.mkdir()
    for name in ("unbrick.yaml", "station", "station-cert.pub"):
        (stick / name).write_bytes((tmp_path / "tally" / name).read_bytes())
    disk = drills.copy("plain", tmp_path / "disks")
    arguments = ("repair", disk.image, "--yes", "--json", "--station", stick / "unbrick.yaml")
    ended = in_own_mounts(hurt(stick / "outbox"), *arguments)
    assert (ended.code, ended.document["status"]) == (0, "repaired")
    (line,) = said_of_reports(ended)
    assert "cannot be kept" in line
    assert len(stored_ids(tmp_path / "tally")) > 15


def test_an_outbox_that_has_room_for_some_keeps_those(
    drills: Drills, tmp_path: Path, lonely: MadeStation
) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    copy = tmp_path / "copy"
    script = f"mkdir -p {lonely.outbox}; mount -t tmpfs -o size=40k,mode=700 none {lonely.outbox}"
    arguments = ("repair", str(disk.image), "--yes", "--station", str(lonely.file))
    work = f"{script}; {sys.executable} -m unbrick {' '.join(arguments)}; cp -a {lonely.outbox} {copy}"
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", work]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    kept = events_in(copy)
    assert 0 < len(kept) < 15
    assert len(whole_runs(kept)) == 1
    assert f"{len(kept)} reports wait" in done.stderr
    assert "could be neither kept nor sent" in done.stderr


def test_a_later_run_on_a_machine_whose_clock_went_back_counts_as_later(
    drills: Drills, tmp_path: Path, tally: ServerProcess
) -> None:
    folder = tmp_path / "tally"
    disk = drills.copy("plain", tmp_path / "disks")
    assert repair(disk, folder / "unbrick.yaml").code == 0
    back = [
        "faketime",
        "2009-01-01 00:00:40",
        sys.executable,
        "-m",
        "unbrick",
        "undo",
        str(disk.image),
        "--yes",
    ]
    done = subprocess.run([*back, "--station", folder / "unbrick.yaml"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    (machine,) = run_program("tally", "status", folder, "--json").document["machines"]
    assert machine["status"] == "undone"


def test_two_repairs_at_once_share_an_outbox(drills: Drills, tmp_path: Path, lonely: MadeStation) -> None:
    running = []
    for number in (1, 2):
        disk = drills.copy("plain", tmp_path / f"disks-{number}", name=f"disk-{number}.img")
        running.append(start_program("repair", disk.image, "--yes", "--json", "--station", lonely.file))
    runs = set()
    for process in running:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        runs.add(json.loads(out)["run"])
    assert whole_runs(events_in(lonely.outbox)) == runs


def test_killed_at_any_moment_a_station_loses_nothing_that_was_kept(
    drills: Drills, tmp_path: Path, lonely: MadeStation
) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    for step in range(5):
        kept = len(list(lonely.outbox.glob("*.json")))
        process = start_program("repair", disk.image, "--yes", "--json", "--station", lonely.file)
        while len(list(lonely.outbox.glob("*.json"))) < kept + 3 * step and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    wait_until_free(disk)
    before = whole_runs(events_in(lonely.outbox))
    assert before
    ended = repair(disk, lonely.file)
    assert ended.code == 0
    assert len(whole_runs(events_in(lonely.outbox)) - before) == 1
    assert not list(lonely.outbox.glob(".new-*"))
    assert disk.complaints(repaired=True) == ()


def test_a_run_whose_process_dies_has_a_last_word(
    drills: Drills, tmp_path: Path, lonely: MadeStation
) -> None:
    disk = drills.copy("xts-128", tmp_path / "disks")
    arguments = ("repair", disk.image, "--keys", disk.keys, "--yes", "--json", "--station", lonely.file)
    process = start_program(*arguments)
    deadline = time.monotonic() + 60
    while not list(lonely.outbox.glob("*-000005-*.json")):  # the password is being stretched
        assert time.monotonic() < deadline
        time.sleep(0.002)
    (worker,) = grandchildren(process.pid)
    os.kill(worker, signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, json.loads(out)["reason"]) == (1, "interrupted"), err
    events = events_in(lonely.outbox)
    assert events[-1].details == {"status": "failed", "reason": "interrupted"}
    assert {event.run for event in events} == whole_runs(events[:-1])
    mark = fold_all(events).mark
    assert mark is not None
    assert mark.status is MachineStatus.FAILED


def grandchildren(process: int) -> list[int]:
    """The children of a process's children: of our program, the one that works on the disk."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [
        int(one)
        for child in children
        for one in Path(f"/proc/{child}/task/{child}/children").read_text().split()
    ]


def test_what_a_power_cut_has_torn_is_set_aside_and_said(
    drills: Drills, tmp_path: Path, lonely: MadeStation
) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    run_program("scan", disk.image, "--station", lonely.file)
    first, second, *_ = sorted(lonely.outbox.glob("*.json"))
    first.write_bytes(first.read_bytes()[:100])
    second.write_bytes(b"")
    ended = run_program("scan", disk.image, "--station", lonely.file)
    assert ended.code == 0
    for torn in (first, second):
        assert sum(torn.name in line for line in ended.err.splitlines()) == 1
        assert (lonely.outbox / "damaged" / torn.name).exists()
    listed = run_program("outbox", "list", "--station", lonely.file, "--json")
    assert (listed.code, listed.document["damaged"]) == (0, 2)


def wait_until_free(disk: Drilled) -> None:
    """The kernel ends what a killed run had started, in its own time."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if run_program("scan", disk.image).code == 0:
            return
        time.sleep(0.2)
    raise AssertionError("the disk of a killed run stays in use")


def test_ctrl_c_after_the_repair_ends_only_the_waiting(
    drills: Drills, tmp_path: Path, lonely: MadeStation
) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    process = start_program("repair", disk.image, "--yes", "--json", "--station", lonely.file)
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["status"] == "repaired"
    time.sleep(0.5)  # it waits for seconds now, since nobody answers
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert f"reports wait in {lonely.outbox}" in err


def test_ctrl_c_ends_the_sender_too(drills: Drills, tmp_path: Path, lonely: MadeStation) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    process = start_program("repair", disk.image, "--yes", "--station", lonely.file)
    deadline = time.monotonic() + 60
    while not list(lonely.outbox.glob("*.json")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped; nothing is lost" in err
    *told, last = events_in(lonely.outbox)
    assert len(whole_runs(told)) == 1
    assert last.details == {"status": "failed", "reason": "interrupted"}
