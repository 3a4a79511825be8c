"""Damaged volumes: nothing on them is ever destroyed, whatever is damaged and whatever unbrick says of it.

Each seed is a run of its own (`support/damage/`). UNBRICK_DAMAGE_SEEDS chooses others, or more: `1-2000`; by
hand, with the count of what came of them: `PYTHONPATH=tests .venv/bin/python -m support.damage --help`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.artefacts import artefact
from support.damage.bases import SHAPES
from support.damage.claims import read_claims
from support.damage.judge import Done, judge
from support.damage.ntfs_bytes import DATA, NtfsBytes
from support.damage.paths import USERS
from support.damage.plan import RunPlan, plan_run
from support.damage.reader import read_volume
from support.damage.report import shown
from support.damage.run import Campaign
from support.repair_worker import repair_worker

_FIRST, _, _LAST = os.environ.get("UNBRICK_DAMAGE_SEEDS", "1-120").partition("-")
_SEEDS = range(int(_FIRST), int(_LAST or _FIRST) + 1)
_AT_ONCE = 12
_PENDING = 8

_FEW_FREE, _RIGHTS, _MARKS = "bitmap:few free", "rights:stream's runs", "table:bitmap's runs"
_MIRROR, _REDO = "copies:mirror", "copies:redo"
_BLOCK, _CUT_RIGHTS, _NEWEST = "folders:block free", "rights:cut short", "rights:newest forgotten"
NAMED = {
    "the log lies over other files": RunPlan(4, "crowded-tight", "clean", ("log:all elsewhere",), 1),
    "a bit of the log's size": RunPlan(8, "tight", "clean", ("log:sizes",), 1),
    "a film's clusters are called free": RunPlan(1, "tight", "clean", (_FEW_FREE, _FEW_FREE), 2),
    "all clusters are called free": RunPlan(3, "tight", "clean", ("bitmap:all files free",), 1),
    "the bitmap lies in a film": RunPlan(2, "full-earlier", "clean", ("bitmap:runs",) * 3, 3),
    "the table's bitmap lies in a mailbox": RunPlan(7, "linked", "clean", (_MARKS,) * 3, 3),
    "the table's bitmap is another": RunPlan(8, "linked", "clean", (_MARKS,), 1),
    "access rights lie in a letter": RunPlan(1, "roomy", "clean", (_RIGHTS, _RIGHTS), 2),
    "a mailbox shares the file table": RunPlan(3, "tight", "clean", ("copies:shared",), 1),
    "a letter shares a folder's index": RunPlan(10, "linked", "dirty", ("copies:shared",), 1),
    "a program holds a folder's index": RunPlan(19, "earlier", "crashed", ("copies:index",), 1),
    "access rights lie beyond the end": RunPlan(7, "roomy", "clean", (_RIGHTS,) * 3, 3),
    "the file table ends before its last files": RunPlan(19, "roomy", "clean", ("lies:cut short",), 1),
    "the table's mirror lies in a film": RunPlan(
        25, "linked", "clean", (_MIRROR,), 1, start="cut repair", moment=1
    ),
    "access rights lie behind their stream's end": RunPlan(2, "roomy", "clean", (_CUT_RIGHTS,), 1),
    "an index has forgotten the newest access rights": RunPlan(3, "roomy", "clean", (_NEWEST,), 1),
    "a block of the root's list is called free": RunPlan(26, "full-root", "clean", (_BLOCK,), 1),
    "the fault's own clusters are called free": RunPlan(
        1456, "crowded-full", "crashed", ("bitmap:a file free",), 1
    ),
    "a cut-off change lies ready in a letter": RunPlan(0, "roomy", "clean", (_REDO,), 1, start="cut repair"),
}
"""Each of these destroyed a file once, or was written to where a person was needed, or failed there."""


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    with repair_worker() as worker:
        yield Campaign(tmp_path_factory.mktemp("damage"), worker)


def wrong_in(campaign: Campaign, plans: list[RunPlan]) -> list[str]:
    return [shown(outcome) for outcome in map(campaign.run, plans) if outcome.wrong]


@pytest.mark.parametrize(
    "base", [name for name, shape in SHAPES.items() if shape.is_repaired or shape.hibernated]
)
def test_a_sound_volume_is_repaired_and_undone(campaign: Campaign, base: str) -> None:
    outcome = campaign.run(RunPlan(0, base, "clean", (), 0, discard_hibernation=True))
    assert outcome.said["undo"] == "undone"
    assert not outcome.wrong, shown(outcome)


@pytest.mark.parametrize("name", NAMED)
def test_what_was_destroyed_once_is_not_again(campaign: Campaign, name: str) -> None:
    outcome = campaign.run(NAMED[name])
    assert outcome.damages
    assert not outcome.wrong, shown(outcome)


@pytest.mark.parametrize("first", _SEEDS[::_AT_ONCE])
def test_nothing_is_destroyed(campaign: Campaign, first: int) -> None:
    plans = [plan_run(seed) for seed in range(first, min(first + _AT_ONCE, _SEEDS.stop))]
    assert "\n".join(wrong_in(campaign, plans)) == ""


def test_nothing_is_destroyed_where_a_journal_is_replayed(campaign: Campaign) -> None:
    artefact("ntfs/dissect_ntfs-cloud.bin.gz")
    plans = [plan_run(seed, base="pending") for seed in _SEEDS[:_PENDING]]
    assert "\n".join(wrong_in(campaign, plans)) == ""


class TestTheJudge:
    """It bites: what a wrong repair would do is said to be wrong."""

    @pytest.fixture
    def volume(self, campaign: Campaign, tmp_path: Path) -> Path:
        return Path(shutil.copy(campaign.base("roomy").plain, tmp_path / "volume.img"))

    @staticmethod
    def _judged(campaign: Campaign, volume: Path, place: int, data: bytes) -> list[str]:
        with volume.open("r+b") as stream:
            stream.seek(place)
            stream.write(data)
        base = campaign.base("roomy").plain
        sound = read_volume(base)
        assert sound is not None
        truth = read_claims(bytearray(base.read_bytes()), _bytes(base))
        return judge(base, volume, truth, Done(()), sound)

    def test_a_byte_of_a_users_file(self, campaign: Campaign, volume: Path) -> None:
        shape = _bytes(volume)
        (start, _), *_ = shape.runs(shape.find_record(f"{USERS}\\ledger 1.xlsx"), DATA)
        assert start is not None
        said = self._judged(campaign, volume, start * shape.cluster + 7, b"\0")
        assert {one.split(":")[0] for one in said} == {"destroyed"}
        assert any("ledger 1.xlsx" in one and "was written" in one for one in said)
        assert any("ledger 1.xlsx" in one and "reads otherwise" in one for one in said)

    def test_a_record_of_another_file(self, campaign: Campaign, volume: Path) -> None:
        shape = _bytes(volume)
        place = shape.place(shape.find_record(f"{USERS}\\note 003.txt"))
        said = self._judged(campaign, volume, place + 0x60, b"\0\0")
        assert any("note 003.txt" in one and "was written" in one for one in said)

    def test_free_room_that_is_called_used(self, campaign: Campaign, volume: Path) -> None:
        shape = _bytes(volume)
        marks = shape.content(6, DATA)
        free = next(one for one in range(shape.clusters) if not marks[one // 8] >> one % 8 & 1)
        assert self._judged(campaign, volume, free * shape.cluster, b"new") == []


def _bytes(path: Path) -> NtfsBytes:
    return NtfsBytes(bytearray(path.read_bytes()))
