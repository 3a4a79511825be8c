"""The reports on a stick that was carried to the tally: read as they lie there, each counted once."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from support.program import run_program
from support.tally_client import StationFiles, sign
from support.tally_events import Told, disk
from support.tally_server import new_tally

from unbrick.model import Machine
from unbrick.report.outbox import Outbox
from unbrick.report.station_login import RENEWED_NAME
from unbrick.signing.own_key import KEY_NAME


@pytest.fixture
def tally(tmp_path: Path) -> Path:
    new_tally(tmp_path / "tally")
    return tmp_path / "tally"


@pytest.fixture
def stick(tally: Path, tmp_path: Path) -> Path:
    """An opened stick with three reports in its outbox."""
    outbox = Outbox(tmp_path / "stick" / "outbox")
    for one in StationFiles(tally).signed(1, 3):
        outbox.put(one)
    return tmp_path / "stick"


def test_a_stick_is_taken_as_it_is_opened_and_left_as_it_was(tally: Path, stick: Path) -> None:
    before = sorted(path.name for path in (stick / "outbox").iterdir())
    assert run_program("tally", "import", tally, stick).out == "3 new, 0 known already, 0 refused\n"
    assert (
        run_program("tally", "import", tally, stick / "outbox").out == "0 new, 3 known already, 0 refused\n"
    )
    assert sorted(path.name for path in (stick / "outbox").iterdir()) == before


def test_what_was_refused_before_is_taken_from_where_the_station_put_it(tally: Path, stick: Path) -> None:
    outbox = Outbox(stick / "outbox")
    ids = [signed.id for _, signed in outbox.pending()]
    outbox.set_aside(ids, "unknown-station: nobody had enrolled it then")
    said = run_program("tally", "import", tally, stick / "outbox" / "refused").out
    assert said == "3 new, 0 known already, 0 refused\n"


def link(path: Path, beyond: Path) -> None:
    """A link to a good report that lies elsewhere, and that nobody carried here."""
    path.symlink_to(beyond)


def folder(path: Path, beyond: Path) -> None:
    path.mkdir()
    shutil.copy(beyond, path)


def one_long_line(path: Path, _: Path) -> None:
    path.write_bytes(b"x" * 5_000_000)


def many_lines(path: Path, _: Path) -> None:
    path.write_bytes(b"no report\n" * 500_000)


def endless_hole(path: Path, _: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(1 << 40)


def not_utf_8(path: Path, _: Path) -> None:
    path.write_bytes(b"\xff\xfe{\x80}\n" * 3)


def nested(path: Path, _: Path) -> None:
    path.write_bytes(b"[" * 900_000 + b"\n")


def unreadable(path: Path, beyond: Path) -> None:
    shutil.copy(beyond, path)
    path.chmod(0)


def listening(path: Path, _: Path) -> None:
    # Its own path may be too long for a socket's.
    descriptor = os.open(path.parent, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(f"/proc/self/fd/{descriptor}/{path.name}")
    os.close(descriptor)


FOREIGN: list[tuple[Callable[[Path, Path], object], str]] = [
    (link, "links are not followed"),
    (folder, "it is a folder"),
    (one_long_line, "it holds no report"),
    (many_lines, "it holds no report"),
    (endless_hole, "it holds no report"),
    (not_utf_8, "it holds no report"),
    (nested, "it holds no report"),
    (unreadable, "it cannot be read: Permission denied"),
    (listening, "it is a socket"),
    (lambda path, _: os.mkfifo(path), "it is a pipe"),
    (lambda path, _: os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3)), "it is a device"),
    (lambda path, _: path.write_bytes(b""), "it holds no report"),
    (lambda path, _: path.write_text("{}\n"), "it holds no report"),
]
# Root reads every file, but not without these.
LIKE_OTHERS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


NAMES = ("0.json", "zz.json", "holiday\x1b[31m.jpg", os.fsdecode(b"\xff.json"))


@pytest.mark.parametrize(
    ("make", "why", "name"),
    [(*foreign, NAMES[number % len(NAMES)]) for number, foreign in enumerate(FOREIGN)],
    ids=range(len(FOREIGN)),
)
def test_a_foreign_file_keeps_no_report_away(
    tally: Path, stick: Path, tmp_path: Path, make: Callable[[Path, Path], object], why: str, name: str
) -> None:
    elsewhere = tmp_path / "elsewhere.json"
    (other,) = StationFiles(tally).signed(9, 1)
    elsewhere.write_text(json.dumps(other.to_document()) + "\n")
    make(stick / "outbox" / name, elsewhere)
    shown = name.replace("\x1b", "?").replace("\udcff", "?")

    ended = run_program("tally", "import", tally, stick, "--json", inside=LIKE_OTHERS)

    assert ended.code == 1
    assert ended.document == {
        "new": 3,
        "known": 0,
        "refused": 0,
        "skipped": 1,
        "reasons": {},
        "files": [{"file": shown, "why": ended.document["files"][0]["why"]}],
        "lines": [],
        "held": 0,
        "expired": {},
        "accepted": {},
    }
    assert why in ended.document["files"][0]["why"]


def test_what_was_skipped_is_named_to_a_person(tally: Path, stick: Path) -> None:
    for number in range(25):
        (stick / "outbox" / f"foreign-{number:02}").write_bytes(b"no report")
    ended = run_program("tally", "import", tally, stick)
    assert (ended.code, ended.out) == (1, "3 new, 0 known already, 0 refused, 25 skipped\n")
    said = ended.err.splitlines()
    assert said[0] == "unbrick: skipped foreign-00: it holds no report"
    assert said[20] == "unbrick: and 5 more (--json names them)"
    assert len(said) == 21


def test_an_outbox_that_is_a_link_is_not_followed(tally: Path, stick: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "outbox").symlink_to(stick / "outbox")
    ended = run_program("tally", "import", tally, other)
    assert (ended.code, ended.out) == (1, "0 new, 0 known already, 0 refused, 1 skipped\n")
    assert "skipped outbox: it is a link" in ended.err


def test_what_was_set_aside_on_a_stick_is_nothing_foreign(tally: Path, stick: Path) -> None:
    outbox = Outbox(stick / "outbox")
    first = next(iter(outbox.pending()))[1]
    outbox.set_aside([first.id], "unknown-station: nobody had enrolled it then")
    for name in (".new-0123", KEY_NAME, RENEWED_NAME, ".last-run"):
        (stick / "outbox" / name).write_text("no report")
    ended = run_program("tally", "import", tally, stick)
    assert (ended.code, ended.out) == (0, "2 new, 0 known already, 0 refused\n")


@pytest.mark.parametrize("make", [link, folder, lambda path, _: os.mkfifo(path)])
def test_what_a_person_names_is_said_to_be_no_file(
    tally: Path, tmp_path: Path, make: Callable[[Path, Path], object]
) -> None:
    elsewhere = tmp_path / "missing"
    with suppress(OSError):
        make(tmp_path / "named", elsewhere)
    ended = run_program("tally", "import", tally, tmp_path / "named", "--json")
    assert ended.code == 2
    assert ended.document["error"]


def test_damaged_lines_of_an_export_keep_no_other_away(tally: Path, stick: Path, tmp_path: Path) -> None:
    export = tmp_path / "export.jsonl"
    Outbox(stick / "outbox").export(export)
    first, second, third = export.read_text().splitlines(keepends=True)
    torn = [first[: len(first) // 2] + "\n", "\n", "x" * 3_000_000 + "\n", third[: len(third) // 2]]
    export.write_text("".join([first, torn[0], torn[1], second, torn[2], third, torn[3]]))

    ended = run_program("tally", "import", tally, export, "--json")
    assert ended.code == 1
    document = ended.document
    assert (document["new"], document["refused"], document["skipped"]) == (3, 3, 0)
    assert [(one["file"], one["line"]) for one in document["lines"]] == [
        ("export.jsonl", 2),
        ("export.jsonl", 5),
        ("export.jsonl", 7),
    ]
    said = run_program("tally", "import", tally, export)
    assert (said.code, said.out) == (1, "0 new, 3 known already, 3 refused\n")
    assert "export.jsonl line 7 is damaged: a line that is cut off" in said.err


def test_reports_twice_and_of_a_revoked_station_keep_no_other_away(
    tally: Path, stick: Path, tmp_path: Path
) -> None:
    assert run_program("tally", "enrol", tally, "lost", "--site", "x", "--out", tmp_path / "lost").code == 0
    (bad,) = StationFiles(tmp_path / "lost").signed(1, 1, run="20240719T090000Z-0000cd")
    assert run_program("tally", "revoke", tally, "lost", "--yes").code == 0
    export = tmp_path / "export.jsonl"
    Outbox(stick / "outbox").export(export)
    lines = export.read_text()
    export.write_text(json.dumps(bad.to_document()) + "\n" + lines + lines)
    ended = run_program("tally", "import", tally, export, "--json")
    assert ended.code == 1
    assert (ended.document["new"], ended.document["known"], ended.document["refused"]) == (3, 3, 1)
    ((why, count),) = ended.document["reasons"].items()
    assert ("revoked" in why, count) == (True, 1)


def test_a_stick_without_reports_is_told_of(tally: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ended = run_program("tally", "import", tally, tmp_path / "empty")
    assert ended.code == 2
    assert "holds no reports" in ended.said


def test_machines_beyond_what_a_station_may_bring_are_said_and_more_may_be_taken(
    tally: Path, tmp_path: Path
) -> None:
    key = StationFiles(tally).key
    for name, first in (("some", 0), ("others", 30)):
        told = [
            one.event
            for number in range(first, first + 30)
            for one in Told(number, Machine(None, None, disk(number), (f"PC-{number}",))).story("repaired")
        ]
        lines = (json.dumps(sign(one.to_bytes(), key).to_document()) for one in told)
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines))
    few = run_program("tally", "import", tally, tmp_path / "some", "--station-machines", "10")
    assert "20 machines not counted: unbrick tally contradictions" in few.out
    status = run_program("tally", "status", tally, "--json").document
    assert (status["total"], status["uncounted"]) == (10, 20)
    more = run_program("tally", "import", tally, tmp_path / "others", "--station-machines", "60", "--json")
    assert more.document["held"] == 0
    status = run_program("tally", "status", tally, "--json").document
    assert (status["total"], status["uncounted"]) == (60, 0)
