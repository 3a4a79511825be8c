"""A station that fills the disk, and a disk that is full: what must land does, and everybody is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.outside.client import OutsideStation
from support.outside.events import visit
from support.outside.tally import OutsideTally

from unbrick.tally.trust.authority import enrol


@pytest.fixture
def tally(tmp_path: Path) -> OutsideTally:
    return OutsideTally.new(tmp_path / "tally")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


async def _pour(station: OutsideStation, port: int, most: int, size: int = 40_000) -> str:
    """Store until the tally takes no more; gives what it said."""
    async with station.conversation(port) as talk:
        for number in range(most):
            answers = await talk.send(station.notes(10, number=number, size=size))
            if answers[-1]["type"] != "acknowledge":
                return str(answers[-1]["text"])
    raise AssertionError("everything was taken")


def test_a_station_has_a_days_bytes_and_no_more_also_after_a_restart(tally: OutsideTally) -> None:
    greedy = tally.enrol("greedy", tally.folder.parent / "greedy")

    async def main(port: int) -> None:
        assert "1 MiB of today" in await _pour(greedy, port, 10)
        await tally.station.report(port, tally.station.visit(5000))

    for _ in range(2):
        with tally.served("--station-mib", "1") as running:
            asyncio.run(main(running.port))
            _awaited(tally, "used up what a station may report in a day: greedy (1 MiB)", True)
            assert running.end() == 0
            assert "budget-spent: station=greedy" in running.log
    assert (tally.folder / "tally.db").stat().st_size < 4 * 1024 * 1024
    assert [one["station"] for one in tally.audit() if one["what"] == "budget-spent"] == ["greedy"] * 2
    assert tally.status()["by_status"]["repaired"] == 1


def test_on_a_full_disk_a_revocation_lands_with_its_line_and_the_stick_is_sent_away(
    small: Path, tmp_path: Path
) -> None:
    tally = OutsideTally.new(small / "tally")
    lost = tally.enrol("lost", tmp_path / "lost")
    (small / "crumb").write_bytes(b"\0" * 8192)

    async def main(port: int) -> None:
        async with lost.conversation(port) as idle:
            await idle.deliver(lost.visit(1))
            _fill(small / "filler")
            (small / "crumb").unlink()
            _fill(small / "filler")
            said = await _pour(tally.station, port, 1000)
            assert "full" in said
            await asyncio.to_thread(tally.revoke, "lost")
            async with asyncio.timeout(30):
                while await idle.hear() is not None:
                    pass
            with pytest.raises(Exception, match=r"(?i)permission|lost|closed"):
                await lost.connect(port)

    with tally.served() as running:
        asyncio.run(main(running.port))
        shown = " ".join(tally.run("status").stdout.split())
        assert "the disk of the tally is full" in shown
        assert f"freebelow{small / 'tally'}" in shown.replace(" ", "")
        assert "room-short" in running.log
        (small / "filler").unlink()
        asyncio.run(tally.station.report(running.port, tally.station.visit(2)))
    register = json.loads((tally.folder / "stations.json").read_text())
    assert [bool(one["revoked"]) for one in register["stations"] if one["name"] == "lost"] == [True]
    assert [one["station"] for one in tally.audit() if one["what"] == "revoked"] == ["lost"]
    assert tally.status()["by_status"]["repaired"] == 2


def _fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as stream:
        while True:
            stream.write(b"\0" * 65536)
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as stream:
        while True:
            stream.write(b"\0" * 512)
    assert os.statvfs(path).f_bavail <= 1


def test_a_nearly_full_disk_is_told_of_before_it_is_full(small: Path) -> None:
    tally = OutsideTally.new(small / "tally")
    with tally.served() as running:
        asyncio.run(tally.station.report(running.port, tally.station.visit(1)))
        found = os.statvfs(small)
        (small / "filler").write_bytes(b"\0" * (found.f_bavail * found.f_frsize - 1300 * 1024))
        shown = _awaited(tally, "the disk of the tally is nearly full", True)
        assert f"freebelow{small / 'tally'}" in shown.replace(" ", "")  # a long path is cut at the edge
        asyncio.run(tally.station.report(running.port, tally.station.visit(2)))
        (small / "filler").unlink()
        _awaited(tally, "nearly full", False)
        assert running.end() == 0
    whats = [one["what"] for one in tally.audit()]
    assert (whats.count("room-short"), whats.count("room-again")) == (1, 1)


def _awaited(tally: OutsideTally, words: str, there: bool) -> str:
    """What `status` shows, once some words are in it, or are no longer."""
    for _ in range(100):
        shown = " ".join(tally.run("status").stdout.split())
        if (words in shown) is there:
            return shown
    raise AssertionError(shown)


def test_carried_reports_of_an_ended_certificate_are_taken_and_counted_apart(
    tally: OutsideTally, tmp_path: Path
) -> None:
    enrol(tally.folder, "old", "main", tmp_path / "old", now=datetime.now(UTC) - timedelta(days=800))
    old = OutsideStation(tmp_path / "old", "old")
    with tally.served() as running:
        asyncio.run(tally.station.report(running.port, old.signer.signed(visit(1))))
        assert running.end() == 0
    export = tmp_path / "reports.jsonl"
    export.write_text("".join(json.dumps(one) + "\n" for one in (*old.visit(2), *tally.station.visit(3))))
    done = tally.run("import", export)
    assert "4 new" in done.stdout
    assert "2 of them are signed by old, whose certificate has ended" in done.stdout
    assert json.loads(tally.run("import", export, "--json").stdout)["expired"] == {"old": 2}
    told = [one for one in tally.audit() if one["what"] == "signed-by-an-expired-certificate"]
    assert [(one["station"], one["events"], one["by"]) for one in told] == [("old", 2, "station")]
    imports = [one for one in tally.audit() if one["what"] == "imported"]
    assert [(one["new"], one["known"], one["expired"]) for one in imports] == [(4, 0, 2), (0, 4, 2)]
    assert tally.status()["by_status"] == {"repaired": 3}


def test_invented_words_are_few_and_the_lists_say_how_many_more(tally: OutsideTally) -> None:
    liar = tally.enrol("liar", tally.folder.parent / "liar")

    async def main(port: int) -> None:
        async with liar.conversation(port) as talk:
            for number in range(0, 1000, 50):
                datas = [
                    data
                    for one in range(number, number + 50)
                    for data in visit(one, status="failed", reason=f"invented-{one}")
                ]
                answers = await talk.send(liar.signer.signed(datas))
                if answers[-1]["type"] == "busy":
                    assert "500 new sites and reasons" in answers[-1]["text"]
                    return
        raise AssertionError("every word was taken")

    with tally.served() as running:
        asyncio.run(main(running.port))
        asyncio.run(tally.station.report(running.port, tally.station.visit(5000)))
        shown = tally.run("status").stdout
    assert "and 488 more" in " ".join(shown.split())
    assert tally.status()["by_status"] == {"failed": 500, "repaired": 1}
