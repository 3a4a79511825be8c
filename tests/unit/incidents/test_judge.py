from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.resources import files

import pytest

from unbrick.errors import Reason
from unbrick.incidents.judge import judge, paths_match, weigh
from unbrick.incidents.library import find_playbook, load_library, parse_playbook
from unbrick.incidents.playbook import Playbook
from unbrick.model import ObservedFile, Verdict

CF291 = find_playbook(load_library(), "crowdstrike-cf291")
FOLDER = r"\Windows\System32\drivers\CrowdStrike"
FAULTY_FROM = datetime(2024, 7, 19, 4, 9, tzinfo=UTC)
GOOD_FROM = datetime(2024, 7, 19, 5, 27, tzinfo=UTC)
TICK = timedelta(microseconds=1)

FILE = ObservedFile(
    path=FOLDER + r"\C-00000291-00000000-00000032.sys",
    size=40000,
    first_bytes=bytes.fromhex("AAAAAAAA01002301") + bytes(56),
    all_zero=False,
    sha256="ab" * 32,
    modified=FAULTY_FROM,
)
ZEROS = replace(FILE, first_bytes=bytes(64), all_zero=True)


@pytest.mark.parametrize(
    ("modified", "verdict"),
    [
        (FAULTY_FROM - timedelta(hours=12) - TICK, Verdict.NOTE),
        (FAULTY_FROM - timedelta(hours=12), Verdict.PERSON),
        (FAULTY_FROM - TICK, Verdict.PERSON),
        (FAULTY_FROM, Verdict.FAULTY),
        (GOOD_FROM - timedelta(milliseconds=1), Verdict.FAULTY),
        (GOOD_FROM - TICK, Verdict.FAULTY),
        (GOOD_FROM, Verdict.GOOD),
        (FAULTY_FROM + timedelta(hours=2) - TICK, Verdict.GOOD),
        (FAULTY_FROM + timedelta(hours=2), Verdict.PERSON),
        (FAULTY_FROM + timedelta(hours=12, minutes=1) - TICK, Verdict.PERSON),
        (FAULTY_FROM + timedelta(hours=12, minutes=1), Verdict.GOOD),
        (GOOD_FROM + timedelta(days=400), Verdict.GOOD),
        (datetime(2011, 1, 1, tzinfo=UTC), Verdict.NOTE),
        (datetime(2011, 1, 1, tzinfo=UTC) - TICK, Verdict.PERSON),
        (None, Verdict.PERSON),
    ],
)
def test_channel_file_291_by_its_time(modified: datetime | None, verdict: Verdict) -> None:
    assert judge(CF291, replace(FILE, modified=modified)) is verdict


def test_what_the_script_of_the_acceptance_puts_is_the_fault_and_its_neighbour_is_not() -> None:
    script = files("unbrick.manual").joinpath("acceptance.ps1").read_text(encoding="ascii")
    header = re.search(r"\$header = ((?:0x[0-9A-F]{2}(?:, )?)+)", script)
    time = re.search(r"\$faultyTime = New-Object DateTime ([0-9, ]+),", script)
    names = re.findall(r"'(C-00000[0-9-]+\.sys)'", script)
    assert header
    assert time
    assert len(names) == 2
    put = replace(
        FILE,
        path=rf"{FOLDER}\{names[0]}",
        size=40960,
        first_bytes=bytes(int(byte, 16) for byte in header[1].split(", ")) + bytes(56),
        modified=datetime.strptime(time[1], "%Y, %m, %d, %H, %M, %S").replace(tzinfo=UTC),
    )
    assert judge(CF291, put) is Verdict.FAULTY
    assert judge(CF291, replace(put, path=rf"{FOLDER}\{names[1]}")) is None


def test_a_time_after_the_latest_sensible_one_is_doubtful() -> None:
    late = replace(FILE, modified=GOOD_FROM + TICK)
    judgement = weigh(CF291, late, latest_sensible=GOOD_FROM)
    assert judgement is not None
    assert (judgement.verdict, judgement.reason) == (Verdict.PERSON, Reason.DOUBTFUL_TIME)
    assert judge(CF291, late) is Verdict.GOOD


@pytest.mark.parametrize("modified", [None, FAULTY_FROM, GOOD_FROM, datetime(1980, 1, 1, tzinfo=UTC)])
def test_all_zero_is_faulty_at_any_time(modified: datetime | None) -> None:
    assert judge(CF291, replace(ZEROS, modified=modified)) is Verdict.FAULTY


@pytest.mark.parametrize("header", ["", "AAAAAAAA010023", "AAAAAAAA01002401", "AAAAAAAA00000000", "4D5A90"])
def test_another_header_is_a_note_at_any_time(header: str) -> None:
    other = replace(FILE, first_bytes=bytes.fromhex(header))
    assert judge(CF291, other) is Verdict.NOTE
    assert judge(CF291, replace(other, modified=None)) is Verdict.NOTE


@pytest.mark.parametrize(
    "path",
    [
        r"\Windows\System32\drivers\CrowdStrike\C-00000290-1.sys",
        r"\Windows\System32\drivers\CrowdStrike\C-00000291-1.sys.bak",
        r"\Windows\System32\drivers\C-00000291-1.sys",
        r"\WINNT\System32\drivers\CrowdStrike\C-00000291-1.sys",
    ],
)
def test_a_file_elsewhere_gets_no_verdict(path: str) -> None:
    assert judge(CF291, replace(FILE, path=path)) is None
    assert not paths_match(CF291, r"\Windows", path)


def test_an_installation_in_another_folder() -> None:
    path = r"\WINNT\System32\drivers\CrowdStrike\C-00000291-1.sys"
    assert judge(CF291, replace(FILE, path=path), r"\WINNT") is Verdict.FAULTY
    assert paths_match(CF291, r"\WINNT", path)
    assert paths_match(CF291, r"\windows", FILE.path.upper())


def _one_rule(
    path: str, when: str = "all_zero: true", verdict: str = "faulty", action: str = "quarantine"
) -> Playbook:
    return parse_playbook(
        f"""
id: made-up
title: Made up
dates: {{published: 2024-01-01}}
references: [https://example.org/]
limits: {{files: 1, bytes: 1}}
rules:
  - path: '{path}'
    verdict: {verdict}
    {"action: " + action if action else ""}
    when: {{{when}}}
    explanation: This is it.
""".encode(),
        "made-up.yaml",
    )


def test_only_a_faulty_rules_path_can_ever_be_moved() -> None:
    assert paths_match(_one_rule(r"\v\a.sys"), r"\Windows", r"\v\a.sys")
    noted = _one_rule(r"\v\a.sys", verdict="note", action="")
    assert not paths_match(noted, r"\Windows", r"\v\a.sys")


def test_the_deny_list_wins_over_a_pattern_that_got_through() -> None:
    playbook = _one_rule(r"\v\*.dat")
    assert paths_match(playbook, r"\Windows", r"\v\a.dat")
    assert not paths_match(playbook, r"\Windows", r"\v\ntuser.dat")
    assert not paths_match(playbook, r"\Windows", r"\v\..\v\a.dat")


@pytest.mark.parametrize(
    ("when", "file", "fits"),
    [
        ("size: {exact: 40000}", FILE, True),
        ("size: {exact: 40001}", FILE, False),
        ("size: {at_least: 40000}", FILE, True),
        ("size: {at_least: 40001}", FILE, False),
        ("size: {at_most: 40000}", FILE, True),
        ("size: {at_most: 39999}", FILE, False),
        ("size: {at_least: 1, at_most: 39999}", FILE, False),
        ("size: {exact: 0}", replace(FILE, size=0), True),
        (f"sha256: [{'AB' * 32}]", FILE, True),
        (f"sha256: [{'cd' * 32}, {'ab' * 32}]", FILE, True),
        (f"sha256: [{'cd' * 32}]", FILE, False),
        ("all_zero: false", FILE, True),
        ("all_zero: false", ZEROS, False),
        ("all_zero: true", FILE, False),
        ("first_bytes: aaaaaaaa, size: {exact: 4}", FILE, False),
        ("modified: {before: 2024-07-19T04:09:00.000001Z}", FILE, True),
        ("modified: {before: 2024-07-19T04:09:00Z}", FILE, False),
        ("modified: {from: 2024-07-19T04:09:00Z}", FILE, True),
        ("modified: {from: 2024-07-19T04:09:00.000001Z}", FILE, False),
    ],
)
def test_every_condition(when: str, file: ObservedFile, fits: bool) -> None:
    playbook = _one_rule(r"%SystemRoot%\System32\drivers\CrowdStrike\C-*.sys", when)
    assert (judge(playbook, file) is Verdict.FAULTY) == fits
