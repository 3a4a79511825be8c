"""A redo record is completed only where it writes what a run writes, whoever has put it on the disk."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from support.artefacts import artefact
from support.as_windows import leave_as_windows
from support.bricked_volume import mounted, odd_descriptor, place
from support.damage.bases import Shape, fill_windows
from support.damage.ntfs_bytes import STANDARD, TABLE, NtfsBytes, protected
from support.damage.paths import FAULTY
from support.drilled import Drills, cut_out
from support.forged_redo import leave_carried_out, leave_cut
from support.ntfs_reader import read_independently
from support.ntfs_states import is_marked_dirty, mark_dirty
from support.program import run_program
from support.repair_worker import RepairWorker, repair_worker

from unbrick.disks.change.commit import show_completed
from unbrick.disks.change.facts import facts_of
from unbrick.disks.change.patched_view import PatchedView
from unbrick.disks.change.redo_proof import prove_completion
from unbrick.disks.ntfs.file_table import open_stream, open_table
from unbrick.disks.ntfs.index_entries import read_entries
from unbrick.disks.ntfs.structures import BITMAP, DATA, INDEX_ALLOCATION, open_view, read_geometry
from unbrick.disks.proof.changed_records import SECURE
from unbrick.disks.proof.ownership import CLUSTER_MAP
from unbrick.errors import NeedsHandsError
from unbrick.model import Touched
from unbrick.recovery.case import Goal
from unbrick.windows.ntfs_file import write_acl

LETTER, FILM, NOTE = "\\Users\\Public\\letter.txt", "\\Users\\Public\\film.mp4", "note.txt"


@dataclass(frozen=True)
class Stages:
    """A volume as it was, after a repair, after the undo of that, and after a purge instead."""

    sound: Path
    repaired: Path
    undone: Path
    purged: Path
    run: str
    actions: tuple[tuple[str, str], ...]  # each file that was moved, and its name then

    @property
    def moved(self) -> str:
        """One of them."""
        return self.actions[0][0]

    @property
    def touched(self) -> Touched:
        """All that the repair touches."""
        home, folder = "\\Unbrick", f"\\Unbrick\\{self.run}"
        return Touched(
            moved=tuple((path, f"{folder}\\{name}") for path, name in self.actions),
            made=(home, folder, f"{folder}\\journal.jsonl.gz"),
        )

    @property
    def quarantined(self) -> str:
        """Where that is now."""
        return f"\\Unbrick\\{self.run}\\0001.bin"

    @property
    def note(self) -> str:
        """A file beside those that are moved."""
        return self.moved.rpartition("\\")[0] + f"\\{NOTE}"


@pytest.fixture(scope="module")
def stages(drills: Drills, tmp_path_factory: pytest.TempPathFactory) -> Stages:
    folder = tmp_path_factory.mktemp("stages")
    disk = drills.copy("plain", folder / "disk")
    sound = folder / "sound.img"
    cut_out(disk.image, disk.volume, sound)
    planned = run_program("repair", sound, "--dry-run", "--json").document
    found = planned["installations"][0]["actions"]
    actions = tuple((one["path"], f"{number:04}.bin") for number, one in enumerate(found, 1))
    moved = actions[0][0]
    with mounted(sound, folder / "mount") as root:
        public = place(root, "\\Users\\Public")
        public.mkdir(parents=True, exist_ok=True)
        place(root, LETTER).write_bytes(b"Dear all, " * 20)
        place(root, FILM).write_bytes(os.urandom(300_000))
        place(root, moved).with_name(NOTE).write_bytes(b"kept")
    leave_as_windows(sound, folder / "mount")
    repaired, undone, purged, run = run_on(sound)
    return Stages(sound, repaired, undone, purged, run, actions)


def run_on(sound: Path) -> tuple[Path, Path, Path, str]:
    """A volume repaired, that undone, or purged instead; and the id of the run."""
    repaired, undone, purged = (sound.with_name(f"{name}.img") for name in ("repaired", "undone", "purged"))
    shutil.copyfile(sound, repaired)
    said = run_program("repair", repaired, "--yes", "--json").document
    assert said["status"] == "repaired", said
    shutil.copyfile(repaired, undone)
    assert run_program("undo", undone, "--yes", "--json").document["status"] == "undone"
    shutil.copyfile(repaired, purged)
    purge = run_program("purge", purged, "--run", said["run"], "--yes", "--json").document
    assert purge["status"] == "scanned", purge
    return repaired, undone, purged, said["run"]


@pytest.fixture(scope="module")
def worker() -> Any:
    with repair_worker() as worker:
        yield worker


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def contents(volume: Path) -> dict[str, Any]:
    with volume.open("rb") as stream:
        return {path: one for path, one in read_independently(stream).items() if path != "\\"}


CUTS = {
    "a repair": ("sound", "repaired", Goal.REPAIR, "repaired"),
    "an undo": ("repaired", "undone", Goal.UNDO, "undone"),
    "an undo, by a repair": ("repaired", "undone", Goal.REPAIR, "repaired"),
    "a purge": ("repaired", "purged", Goal.REPAIR, "healthy"),
    "a purge of what was put back": ("undone", "put back and purged", Goal.REPAIR, "repaired"),
}


@pytest.mark.parametrize("done", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("cut", CUTS)
def test_what_a_run_of_ours_has_left_is_completed(
    stages: Stages, worker: RepairWorker, tmp_path: Path, cut: str, done: float
) -> None:
    before, after, goal, status = CUTS[cut]
    target = tmp_path / "target.img"
    shutil.copyfile(stages.undone if " " in after else getattr(stages, after), target)
    if " " in after:
        run_program("purge", target, "--run", stages.run, "--yes", "--json")
    disk = tmp_path / "disk.img"
    shutil.copyfile(getattr(stages, before), disk)
    leave_cut(disk, target, stages.run, done=done)
    said = worker.work(goal, disk, None)
    assert (said["status"], said["error"]) == (status, None)
    assert not is_marked_dirty(disk)
    found, wanted = contents(disk), contents(target)
    if goal is Goal.REPAIR and status == "repaired" and after != "repaired":
        expect_repaired_anew(stages, said["run"], found, wanted)
        return
    assert found.keys() == wanted.keys()
    assert found == wanted


def expect_repaired_anew(stages: Stages, run: str, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """That a volume is as it was wanted, and repaired after that, by another run."""
    assert run != stages.run
    repaired = contents(stages.repaired)
    for _, name in stages.actions:
        lying = found.pop(f"\\Unbrick\\{run}\\{name}")
        assert lying == replace(repaired[f"\\Unbrick\\{stages.run}\\{name}"], path=lying.path)
    assert found.pop(f"\\Unbrick\\{run}\\journal.jsonl.gz").kind == "file"
    assert found.pop(f"\\Unbrick\\{run}").kind == "folder"
    moved = {path for path, _ in stages.actions}
    kept = {path: one for path, one in wanted.items() if path not in moved and path != "\\Unbrick"}
    assert found.pop("\\Unbrick").kind == "folder"
    for folder in {path.rpartition("\\")[0] for path in moved}:  # its times are those of that repair
        was = kept[folder]
        found[folder] = replace(
            found[folder], created=was.created, modified=was.modified, accessed=was.accessed
        )
    assert found.keys() == kept.keys()
    assert found == kept


@pytest.mark.parametrize("done", [0.0, 0.5, 1.0])
def test_windows_dirty_flag_goes_only_where_the_journal_says_that_it_was_not_set(
    stages: Stages, worker: RepairWorker, tmp_path: Path, done: float
) -> None:
    """The record says each time that it was not."""
    disk, target = tmp_path / "disk.img", tmp_path / "target.img"
    shutil.copyfile(stages.sound, disk)
    mark_dirty(disk)
    shutil.copyfile(disk, target)
    run = worker.work(Goal.REPAIR, target, None)["run"]
    assert is_marked_dirty(target)
    leave_cut(disk, target, run, done=done)
    assert worker.work(Goal.REPAIR, disk, None)["status"] == "repaired"
    assert is_marked_dirty(disk)
    assert contents(disk) == contents(target)


@pytest.mark.parametrize("known", [True, False])
def test_a_record_of_what_lies_there_anyway_takes_no_dirty_flag_away(
    stages: Stages, worker: RepairWorker, tmp_path: Path, known: bool
) -> None:
    disk = tmp_path / "disk.img"
    shutil.copyfile(stages.repaired, disk)
    with open_view(disk) as view:
        table = open_table(view, read_geometry(view))
        film = table.find_attribute(_record_of(stages.repaired, FILM), DATA)
        assert film is not None
        ((place, _), *_) = open_stream(view, film).places(0, 512)
    mark_dirty(disk)
    leave_carried_out(disk, stages.run if known else "20240719T061203Z-8f3a1c", [place])
    before = contents(disk)
    said = worker.work(Goal.REPAIR, disk, None)
    assert said["status"] in ("healthy", "repaired"), said
    assert is_marked_dirty(disk)
    assert contents(disk) == before


@pytest.mark.parametrize(("done", "status"), [(0.0, "repaired"), (0.5, "needs-hands"), (1.0, "repaired")])
def test_what_an_older_version_has_left_is_completed_where_that_can_be_judged(
    stages: Stages, worker: RepairWorker, tmp_path: Path, done: float, status: str
) -> None:
    disk = tmp_path / "disk.img"
    shutil.copyfile(stages.sound, disk)
    leave_cut(disk, stages.repaired, stages.run, done=done, older=True)
    if status == "needs-hands":
        assert "older version" in refused(worker, disk, Goal.REPAIR)
    else:
        assert worker.work(Goal.DIAGNOSE, disk, None)["status"] == "found"
        assert worker.work(Goal.REPAIR, disk, None)["status"] == status
        assert contents(disk) == contents(stages.repaired)


def _write_into_a_film(root: Path, stages: Stages) -> None:
    with place(root, FILM).open("r+b") as stream:
        stream.seek(8192)
        stream.write(bytes(4096))


def _write_into_a_letter(root: Path, stages: Stages) -> None:
    with place(root, LETTER).open("r+b") as stream:
        stream.write(b"Dear nobody")


def _empty_a_film(root: Path, stages: Stages) -> None:
    os.truncate(place(root, FILM), 0)


def _delete_a_letter(root: Path, stages: Stages) -> None:
    place(root, LETTER).unlink()


def _rename_a_note(root: Path, stages: Stages) -> None:
    place(root, stages.note).rename(place(root, stages.note).with_name("other.txt"))


def _delete_a_note(root: Path, stages: Stages) -> None:
    place(root, stages.note).unlink()


def _make_a_file(root: Path, stages: Stages) -> None:
    place(root, stages.note).with_name("evil.sys").write_bytes(b"MZ")


def _take_over_a_letter(root: Path, stages: Stages) -> None:
    write_acl(place(root, LETTER), odd_descriptor())


def _alter_what_is_moved(root: Path, stages: Stages) -> None:
    (path,) = [one for one in (place(root, stages.moved), place(root, stages.quarantined)) if one.exists()]
    with path.open("r+b") as stream:
        stream.seek(700)
        stream.write(b"!")


def _move_more(root: Path, stages: Stages) -> None:
    place(root, LETTER).rename(place(root, "\\Unbrick") / stages.run / "0099.bin")


EVIL: list[Callable[[Path, Stages], None]] = [
    _write_into_a_film,
    _write_into_a_letter,
    _empty_a_film,
    _delete_a_letter,
    _rename_a_note,
    _delete_a_note,
    _make_a_file,
    _take_over_a_letter,
]


def refused(worker: RepairWorker, disk: Path, goal: Goal) -> str:
    before = digest(disk)
    for verb, dry_run in ((Goal.DIAGNOSE, False), (goal, True), (goal, False)):
        said = worker.work(verb, disk, None, dry_run=dry_run)
        assert said["status"] == "needs-hands", said
        assert digest(disk) == before
    return str(said["error"])


@pytest.mark.parametrize("cut", [name for name in CUTS if name.count(" ") == 1])
@pytest.mark.parametrize("evil", EVIL)
def test_a_run_that_does_more_is_not_completed(
    stages: Stages, worker: RepairWorker, tmp_path: Path, cut: str, evil: Callable[[Path, Stages], None]
) -> None:
    before, after, goal, _ = CUTS[cut]
    disk, target = tmp_path / "disk.img", tmp_path / "target.img"
    shutil.copyfile(getattr(stages, before), disk)
    shutil.copyfile(getattr(stages, after), target)
    with mounted(target, tmp_path / "mount") as root:
        evil(root, stages)
    leave_cut(disk, target, stages.run)
    refused(worker, disk, goal)


@pytest.mark.parametrize(
    ("cut", "evil"),
    [("a repair", _alter_what_is_moved), ("an undo", _alter_what_is_moved), ("a repair", _move_more)],
)
def test_what_a_run_moves_is_what_its_journal_says_unchanged(
    stages: Stages, worker: RepairWorker, tmp_path: Path, cut: str, evil: Callable[[Path, Stages], None]
) -> None:
    test_a_run_that_does_more_is_not_completed(stages, worker, tmp_path, cut, evil)


@pytest.mark.parametrize("run", ["", "20240719T061203Z-8f3a1c"])
def test_a_record_of_no_run_is_not_completed(
    stages: Stages, worker: RepairWorker, tmp_path: Path, run: str
) -> None:
    disk, target = tmp_path / "disk.img", tmp_path / "target.img"
    shutil.copyfile(stages.sound, disk)
    shutil.copyfile(stages.sound, target)
    with mounted(target, tmp_path / "mount") as root:
        _write_into_a_film(root, stages)
        _write_into_a_letter(root, stages)
    leave_cut(disk, target, run)
    refused(worker, disk, Goal.REPAIR)


def _record_of(target: Path, path: str) -> int:
    with mounted(target, target.with_name("look")) as root:
        return place(root, path).stat().st_ino


def _free_a_films_clusters(target: Path, stages: Stages) -> None:
    number = _record_of(target, FILM)
    with open_view(target, writable=True) as view:
        table = open_table(view, read_geometry(view))
        film, marks = (table.find_attribute(one, DATA) for one in (number, CLUSTER_MAP))
        assert film is not None
        assert marks is not None
        bitmap = open_stream(view, marks)
        for start, length in open_stream(view, film).extents():
            for cluster in range(start // table.geometry.cluster, (start + length) // table.geometry.cluster):
                (byte,) = bitmap.read(cluster // 8, 1)
                bitmap.write(cluster // 8, bytes([byte & ~(1 << cluster % 8)]))


def _write_over_rights(target: Path, stages: Stages) -> None:
    with open_view(target, writable=True) as view:
        table = open_table(view, read_geometry(view))
        found = table.find_attribute(SECURE, DATA, "$SDS")
        assert found is not None
        descriptors = open_stream(view, found)
        for position in (0x20, 0x40020):  # each is there twice
            descriptors.write(position, bytes(64))


def _list_a_file_no_more(target: Path, stages: Stages) -> None:
    """Its record is whole, and in use; only its folder does not list it."""
    number = _record_of(target, stages.note)
    with open_view(target) as view:
        table = open_table(view, read_geometry(view))
        record, marks = table.raw(number), table.bitmap()
    with mounted(target, target.with_name("look")) as root:
        place(root, stages.note).unlink()
    with open_view(target, writable=True) as view:
        table = open_table(view, read_geometry(view))
        found = table.find_attribute(0, BITMAP)
        assert found is not None
        table.stream.write(number * table.geometry.record, record)
        open_stream(view, found).write(0, marks)


def _give_the_table(at: int, value: int) -> Callable[[Path, Stages], None]:
    """Another number in the standard information of the file table's own record."""

    def give(target: Path, stages: Stages) -> None:
        data = bytearray(target.read_bytes())
        volume = NtfsBytes(data)
        record = volume.read(TABLE)
        struct.pack_into("<I", record, volume.find(record, STANDARD).value_at + at, value)
        volume.write(TABLE, record)
        mirror = volume.mirror_cluster * volume.cluster
        data[mirror : mirror + volume.record] = protected(record)
        target.write_bytes(data)

    return give


@pytest.mark.parametrize("cut", ["a repair", "an undo", "a purge"])
@pytest.mark.parametrize(
    ("evil", "why"),
    [
        (_give_the_table(0x20, 0), "other attributes or rights"),
        (_give_the_table(0x30, 4), "other attributes or rights"),
        (_give_the_table(0x34, 0x101), "other attributes or rights"),
        (_give_the_table(0x38, 4097), "other attributes or rights"),
        (_give_the_table(0x40, 0x684F), "other attributes or rights"),
        (_free_a_films_clusters, "exactly the clusters that it uses"),
        (_write_over_rights, "over the rights of other files"),
        (_list_a_file_no_more, "how a folder lists other files|a folder that it does not name"),
    ],
)
def test_nothing_is_slipped_in_beside_what_a_run_does(
    stages: Stages,
    worker: RepairWorker,
    tmp_path: Path,
    cut: str,
    evil: Callable[[Path, Stages], None],
    why: str,
) -> None:
    before, after, goal, _ = CUTS[cut]
    disk, target = tmp_path / "disk.img", tmp_path / "target.img"
    shutil.copyfile(getattr(stages, before), disk)
    shutil.copyfile(getattr(stages, after), target)
    evil(target, stages)
    leave_cut(disk, target, stages.run)
    assert re.search(why, refused(worker, disk, goal))


def test_no_security_id_is_made_to_lead_to_other_rights(stages: Stages, tmp_path: Path) -> None:
    """The entry for the run's own rights says that they are those of an id that files have."""
    disk, target = tmp_path / "disk.img", tmp_path / "target.img"
    shutil.copyfile(stages.sound, disk)
    data = bytearray(stages.repaired.read_bytes())
    known, new = (_security_ids(one) for one in (stages.sound, stages.repaired))
    head = struct.pack("<HHIHHHH", 0x14, 0x14, 0, 0x28, 4, 0, 0)
    entry = head + struct.pack("<I", max(new - known))
    assert data.count(entry) == 1
    at = data.index(entry) + len(head)
    data[at : at + 4] = struct.pack("<I", max(known))
    target.write_bytes(data)
    leave_cut(disk, target, stages.run)
    with open_view(disk) as view:
        facts = facts_of(view, disk.stat().st_size)
        assert facts.pending is not None
        completed = PatchedView(view, disk.stat().st_size)
        show_completed(completed, facts, facts.pending)
        with pytest.raises(NeedsHandsError, match="lose the rights of other files"):
            prove_completion(view, completed, facts.geometry, facts.pending, stages.touched)


def _security_ids(volume: Path) -> set[int]:
    with open_view(volume) as view:
        entries = read_entries(open_table(view, read_geometry(view)), SECURE, "$SII")
        return {int.from_bytes(one.rest[:4], "little") for one in entries}


@pytest.mark.parametrize("harm", [None, "record", "new record", "list"])
def test_what_a_record_has_not_seen_is_not_written_over(
    stages: Stages, tmp_path: Path, harm: str | None
) -> None:
    """As where the record invents what was there: what is half written is torn, and this is whole."""
    disk = tmp_path / "disk.img"
    shutil.copyfile(stages.sound, disk)
    folder = _record_of(disk, stages.moved.rpartition("\\")[0])
    number = _record_of(disk, stages.moved)
    leave_cut(disk, stages.repaired, stages.run)
    length = disk.stat().st_size
    with open_view(disk) as view:
        facts = facts_of(view, length)
        assert facts.pending is not None
        table = open_table(view, facts.geometry)
        completed, lying = PatchedView(view, length), PatchedView(view, length)
        show_completed(completed, facts, facts.pending)
        if harm == "record":
            ((place, _),) = table.stream.places(number * facts.geometry.record + 0x60, 1)
            lying.write(place, b"!")
        if harm == "new record":
            longer = open_table(completed, facts.geometry)
            assert longer.count > table.count, "the file table has not become longer"
            for place, _ in longer.stream.places(table.count * facts.geometry.record, facts.geometry.record):
                lying.write(place, table.raw(number))
        if harm == "list":
            blocks = table.find_attribute(folder, INDEX_ALLOCATION, "$I30")
            assert blocks is not None, "the folder's list lies in its record"
            ((place, _),) = open_stream(view, blocks).places(0x80, 1)
            lying.write(place, b"!")
        if harm is None:
            prove_completion(lying, completed, facts.geometry, facts.pending, stages.touched)
            return
        with pytest.raises(NeedsHandsError, match="neither what was there before"):
            prove_completion(lying, completed, facts.geometry, facts.pending, stages.touched)


@pytest.fixture(scope="module")
def windows_stages(tmp_path_factory: pytest.TempPathFactory) -> Stages:
    """On a volume that Windows 7 has formatted."""
    folder = tmp_path_factory.mktemp("windows")
    formatted, sound = folder / "formatted.img", folder / "sound.img"
    with gzip.open(artefact("ntfs/dfir_ntfs_index.raw.gz")) as disk:
        formatted.write_bytes(disk.read()[128 * 512 :])
    shutil.copyfile(formatted, sound)
    with mounted(sound, folder / "mount") as root:
        fill_windows(root, Shape(), folder)
    leave_as_windows(sound, folder / "mount", formatted)
    repaired, undone, purged, run = run_on(sound)
    return Stages(sound, repaired, undone, purged, run, ((FAULTY, "0001.bin"),))


@pytest.mark.parametrize("done", [0.0, 0.6])
@pytest.mark.parametrize("cut", CUTS)
def test_what_a_run_of_ours_has_left_on_a_volume_of_windows_is_completed(
    windows_stages: Stages, worker: RepairWorker, tmp_path: Path, cut: str, done: float
) -> None:
    test_what_a_run_of_ours_has_left_is_completed(windows_stages, worker, tmp_path, cut, done)
