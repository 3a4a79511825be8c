"""`tally check`, `backup` and `export`, by the real program, also while the tally is served."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import stat
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from support.outside.tally import OutsideTally

import unbrick
from unbrick.tally.folder import TallyFolder
from unbrick.tally.trust.register import accept_register


@pytest.fixture
def tally(tmp_path: Path) -> OutsideTally:
    """Four machines, a visit each, and a mark by hand."""
    tally = OutsideTally.new(tmp_path / "tally")
    lines = [one for number in range(1, 5) for one in tally.station.visit(number, f"WARD-{number}")]
    (tmp_path / "reports").write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    tally.run("import", tmp_path / "reports")
    tally.run("mark", "WARD-4", "re-imaged", "--reason", "by hand", "--who", "kim")
    return tally


def reports_of(tally: OutsideTally) -> int:
    with closing(sqlite3.connect(tally.folder / "tally.db")) as reader:
        return int(reader.execute("select count(*) from events").fetchone()[0])


def change(tally: OutsideTally, statement: str) -> None:
    with closing(sqlite3.connect(tally.folder / "tally.db")) as writer, writer:
        writer.execute(statement)


def checked(tally: OutsideTally, *options: str, code: int) -> dict[str, object]:
    document: dict[str, object] = json.loads(tally.run("check", "--json", *options, code=code).stdout)
    return document


def test_a_sound_tally_is_well_also_while_it_is_served(tally: OutsideTally) -> None:
    reports = reports_of(tally)
    with tally.served() as running:
        asyncio.run(tally.station.report(running.port, tally.station.visit(5, "WARD-5")))
        found = checked(tally, "--signatures", code=0)
    assert found["complaints"] == found["differences"] == []
    assert found["reports"] == found["signatures"] == reports_of(tally) > reports
    assert "all is well" in tally.run("check").stdout


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (
            "update events set data = cast(replace(data, 'WARD-2', 'WARD-3') as blob)",
            "is not what was signed",
        ),
        ("update events set sequence = sequence + 7 where rowid = 2", "filed under another run"),
        ("update events set station = 'stick-9' where rowid = 2", "filed under stick-9"),
        ("update events set signature = replace(signature, 'A', 'B') where rowid = 3", "signature"),
        ("delete from events where rowid = 4", "was acknowledged and is missing"),
        ("delete from ledger where number = 4", "the ledger has no number 4"),
        ("update ledger set event = zeroblob(32) where number = 2", "does not fit together"),
    ],
)
def test_whatever_became_of_a_report_is_said_and_never_repaired(
    tally: OutsideTally, statement: str, said: str
) -> None:
    change(tally, statement)
    before = (tally.folder / "tally.db").read_bytes()
    found = checked(tally, "--signatures", "--repair", code=1)
    complaints = found["complaints"]
    assert isinstance(complaints, list)
    assert any(said in one for one in complaints), complaints
    assert found["repaired"] is False
    assert (tally.folder / "tally.db").read_bytes() == before
    assert said in tally.run("check", "--signatures", code=1).stderr


def flip_in_machines(tally: OutsideTally) -> None:
    """Four bytes in the row of a machine, in the file itself."""
    path = tally.folder / "tally.db"
    data = path.read_bytes()
    with closing(sqlite3.connect(path)) as reader:
        pages = reader.execute("select pageno from dbstat where name = 'machines'").fetchall()
    for (page,) in pages:
        at = data.find(b"WARD-3", (page - 1) * 4096, page * 4096)
        if at >= 0:
            path.write_bytes(data[: at + 2] + b"XXXX" + data[at + 6 :])
            return
    raise AssertionError("no such row")


@pytest.mark.parametrize(
    "harm",
    [
        flip_in_machines,
        lambda tally: change(tally, "update counters set machines = 7"),
        lambda tally: change(tally, "delete from runs"),
    ],
)
def test_flipped_numbers_are_noticed_and_made_anew(
    tally: OutsideTally, harm: Callable[[OutsideTally], None]
) -> None:
    right = tally.status()
    harm(tally)
    found = checked(tally, code=1)
    assert found["differences"]
    assert found["complaints"] == []
    assert "--repair" in tally.run("check", code=1).stderr
    assert checked(tally, "--repair", "--who", "kim", code=0)["repaired"] is True
    assert checked(tally, code=0)["differences"] == []
    assert tally.status() == right
    assert [one["by"] for one in tally.audit() if one["what"] == "counted-anew"] == ["kim"]


def test_a_damaged_page_is_said(tally: OutsideTally) -> None:
    path = tally.folder / "tally.db"
    data = bytearray(path.read_bytes())
    data[4096 * 3 : 4096 * 4] = bytes(4096)
    path.write_bytes(data)
    found = checked(tally, code=1)
    assert "damaged" in str(found["complaints"])


def test_a_copy_made_while_it_is_served_is_served_in_its_place(tally: OutsideTally, tmp_path: Path) -> None:
    copy = OutsideTally(tmp_path / "copy")
    late = tally.enrol("late", tmp_path / "late")
    with tally.served() as running:
        asyncio.run(late.report(running.port, late.visit(5, "WARD-5")))
        assert f"copied {reports_of(tally)} reports" in tally.run("backup", copy.folder).stdout
        asyncio.run(late.report(running.port, late.visit(6, "WARD-6")))
    private = {p.name for p in copy.folder.rglob("*") if stat.S_IMODE(p.stat().st_mode) & 0o077}
    assert private <= {"authority.pub", "host_key-cert.pub", "station-cert.pub", "unbrick.yaml"}
    assert not any("PRIVATE" in p.read_text() for p in copy.folder.rglob("authority*") if p.is_file())
    checked(copy, "--signatures", code=0)
    with copy.served() as running:
        asyncio.run(late.report(running.port, late.visit(7, "WARD-7")))
    names = {one["name"] for one in copy.status()["machines"]}
    assert names == {"WARD-1", "WARD-2", "WARD-3", "WARD-4", "WARD-5", "WARD-7"}
    copy.run("enrol", "new", "--site", "main", "--out", tmp_path / "new", code=2)


def test_a_copy_with_the_authority_enrols(tally: OutsideTally, tmp_path: Path) -> None:
    copy = OutsideTally(tmp_path / "copy")
    tally.run("backup", copy.folder, "--with-authority")
    copy.enrol("new", tmp_path / "new")
    tally.run("backup", copy.folder, code=2)


def test_restoring_the_database_alone_says_what_came_after_the_copy(
    tally: OutsideTally, tmp_path: Path
) -> None:
    """The manual's way: the mark stays."""
    tally.run("backup", tmp_path / "copy")
    with tally.served() as running:
        asyncio.run(tally.station.report(running.port, tally.station.visit(6, "WARD-6")))
    after = reports_of(tally) - json.loads(tally.run("check", "--json").stdout)["reports"]
    assert after == 0
    lost = reports_of(tally)
    for path in tally.folder.glob("tally.db*"):
        path.unlink()
    shutil.copy(tmp_path / "copy" / "tally.db", tally.folder / "tally.db")
    lost -= reports_of(tally)
    ended = tally.run("serve", "--port", "0", code=1)
    assert f"{lost} acknowledged reports are missing" in ended.stderr
    assert f"{lost} acknowledged reports are missing" in tally.run("status", "--json").stderr
    tally.run("status", "--check", code=1)
    assert checked(tally, code=1)["missing"] == lost
    with tally.served("--accept-loss", "--who", "kim") as running:
        asyncio.run(tally.station.report(running.port, tally.station.visit(6, "WARD-6")))
    checked(tally, code=0)


def test_a_copy_of_a_tally_with_faults_says_so(tally: OutsideTally, tmp_path: Path) -> None:
    change(tally, "delete from events where rowid = 4")
    assert "has the faults of the tally" in tally.run("backup", tmp_path / "copy", code=1).stderr
    assert (tmp_path / "copy" / "tally.db").exists()


def test_an_export_is_taken_by_another_tally_once(tally: OutsideTally, tmp_path: Path) -> None:
    other = OutsideTally.new(tmp_path / "other")
    shutil.copy(tally.folder / "stations.json", other.folder / "stations.json")
    accept_register(TallyFolder(other.folder))  # as `serve --accept-loss` does
    tally.run("export", "--out", tmp_path / "all.jsonl")
    tally.run("export", "--out", tmp_path / "all.jsonl", code=2)
    assert tally.run("export").stdout == (tmp_path / "all.jsonl").read_text()
    reports = reports_of(tally)
    for said in (f"{reports} new, 0 known", f"0 new, {reports} known"):
        assert other.run("import", tmp_path / "all.jsonl").stdout.startswith(said)
    checked(other, "--signatures", code=0)


def test_openssh_verifies_every_report_of_an_export(tally: OutsideTally, tmp_path: Path) -> None:
    folder = tmp_path / "given"
    tally.run("export", "--verifiable", folder)
    reports = sorted(folder.glob("station/*.json"))
    assert len(reports) == reports_of(tally)
    page = (Path(unbrick.__file__).parent / "manual" / "administrator.md").read_text()
    loop = page[
        page.index("    for report in") : page.index("    done\n", page.index("    for report in")) + 9
    ]

    def verified() -> int:
        done = subprocess.run(["sh", "-c", loop], cwd=folder, capture_output=True, text=True, check=False)
        return done.stdout.count("Good ")

    assert verified() == len(reports)
    reports[-1].write_bytes(reports[-1].read_bytes() + b" ")
    assert verified() == len(reports) - 1


def test_everything_that_looks_works_on_a_read_only_mount(tally: OutsideTally, tmp_path: Path) -> None:
    place = OutsideTally(tmp_path / "mounted")
    place.folder.mkdir()
    subprocess.run(["mount", "--bind", tally.folder, place.folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", place.folder], check=True)
        assert place.status()["total"] == 4
        assert "WARD-1" in place.run("status", "--find", "WARD-1").stdout
        assert (
            "no report yet" in place.run("stations").stdout or "last report" in place.run("stations").stdout
        )
        checked(place, "--signatures", code=0)
        place.run("export", "--out", tmp_path / "all.jsonl")
        place.run("backup", tmp_path / "copy")
    finally:
        subprocess.run(["umount", place.folder], check=True)


def test_a_lost_mark_is_said_and_no_verb_hides_that(tally: OutsideTally, tmp_path: Path) -> None:
    (tally.folder / "tally.mark").unlink()
    before = {path.name: path.read_bytes() for path in tally.folder.iterdir() if path.is_file()}
    said = "tally.mark, which says what was acknowledged, is missing or damaged"
    found = checked(tally, code=1)
    assert [said in one for one in found["complaints"]] == [True]  # type: ignore[attr-defined]
    assert "restore a copy" not in tally.run("check", code=1).stderr
    assert said in tally.run("status", "--check", code=1).stdout
    assert said in tally.run("status", "--json").stderr
    assert said in tally.run("backup", tmp_path / "copy", code=1).stderr
    assert said in tally.run("import", tmp_path / "reports", code=1).stderr
    assert said in tally.run("mark", "WARD-4", "confirmed", "--reason", "x", "--who", "kim", code=1).stderr
    assert said in tally.run("serve", "--port", "0", code=1).stderr
    after = {path.name: path.read_bytes() for path in tally.folder.iterdir() if path.is_file()}
    assert {name: after[name] for name in before if name != "audit.log"} == {
        name: before[name] for name in before if name != "audit.log"
    }
    assert "tally.mark" not in after
    assert said in OutsideTally(tmp_path / "copy").run("serve", "--port", "0", code=1).stderr
    with tally.served("--accept-loss", "--who", "kim"):
        pass
    assert [one["by"] for one in tally.audit() if one["what"] == "loss-accepted"] == ["kim"]
    checked(tally, code=0)
    tally.run("import", tmp_path / "reports")


def test_an_export_of_a_tally_that_lost_reports_says_so_and_is_written(
    tally: OutsideTally, tmp_path: Path
) -> None:
    tally.run("backup", tmp_path / "copy")
    with tally.served() as running:
        asyncio.run(tally.station.report(running.port, tally.station.visit(6, "WARD-6")))
    whole = reports_of(tally)
    for path in tally.folder.glob("tally.db*"):
        path.unlink()
    shutil.copy(tmp_path / "copy" / "tally.db", tally.folder / "tally.db")
    here = reports_of(tally)
    for options in ((), ("--out", tmp_path / "rest.jsonl"), ("--verifiable", tmp_path / "given")):
        done = tally.run("export", *options, code=1)
        assert f"{whole - here} acknowledged reports are missing" in done.stderr
        assert f"the export has the {here} reports that can be read" in done.stderr
    assert len((tmp_path / "rest.jsonl").read_text().splitlines()) == here
    assert len(list((tmp_path / "given").glob("*/*.json"))) == here
    again = tally.run("backup", tmp_path / "again", code=1)
    assert f"{whole - here} acknowledged reports are missing" in again.stderr
    refused = OutsideTally(tmp_path / "again").run("serve", "--port", "0", code=1)
    assert f"{whole - here} acknowledged reports are missing" in refused.stderr
