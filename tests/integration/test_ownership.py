"""That nothing reaches a disk but what was named: changes that touch more, and volumes in doubt."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from support.bricked_volume import (
    CROWDSTRIKE,
    FAULTY,
    FOLDERS,
    GOOD,
    LOOKALIKE,
    findings,
    make_volume,
    mounted,
    place,
    playbooks,
)
from support.changing import change
from support.damage.bases import fill_free_clusters, fill_table
from support.damage.ntfs_bytes import NtfsBytes
from support.ntfs_reader import read_independently

from unbrick.disks.change.patched_view import PatchedView
from unbrick.disks.change.views import ChangeOptions
from unbrick.disks.ntfs.file_table import FileTable, open_stream, open_table
from unbrick.disks.ntfs.index_entries import read_entries
from unbrick.disks.ntfs.structures import DATA, INDEX_ALLOCATION, FileView, open_view, read_geometry
from unbrick.disks.plain import PlainVolume
from unbrick.disks.proof.changed_records import INDEX
from unbrick.disks.proof.claims import Claim, find_claims
from unbrick.disks.proof.ownership import SECTOR, prove
from unbrick.errors import NeedsHandsError
from unbrick.events.run_id import new_run_id
from unbrick.model import Changed, Touched
from unbrick.processes.command import SystemRunner
from unbrick.repair.repair import apply_plan, make_plan
from unbrick.repair.undo import apply_undo, plan_undo
from unbrick.windows.ntfs_file import FileAttributes, write_attributes

OBJECT_ID, _OBJECT_IDS = "system.ntfs_object_id", 25
OTHER = f"{CROWDSTRIKE}\\C-00000002-00000000-00000002.sys"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    make_volume(folder / "volume", folder / "mount")
    return folder / "volume"


@pytest.fixture
def volume(template: Path, tmp_path: Path) -> Path:
    path = tmp_path / "volume"
    path.write_bytes(template.read_bytes())
    return path


def digest(volume: Path) -> str:
    return hashlib.sha256(volume.read_bytes()).hexdigest()


def repair(root: Path) -> Changed:
    plan = make_plan(new_run_id(), findings(root, [FAULTY]))
    return apply_plan(root, plan, volume_was_dirty=False, playbooks=playbooks())


def changed(volume: Path, act: Callable[[Path], Touched]) -> None:
    """Do something to a copy of the volume, then to the volume; `act` says what it may touch."""
    work = volume.with_name("work")
    work.mkdir(exist_ok=True)
    plain = PlainVolume(volume, volume.stat().st_size, lambda: None)
    with change(plain, ChangeOptions(), SystemRunner(), work) as copy:
        copy.touched = act(copy.root)


def refused(volume: Path, act: Callable[[Path], Touched]) -> str:
    before = digest(volume)
    with pytest.raises(NeedsHandsError) as caught:
        changed(volume, act)
    assert caught.value.reason == "damaged-volume"
    assert digest(volume) == before
    return caught.value.message


def _write_into_another(root: Path) -> None:
    with place(root, OTHER).open("r+b") as stream:
        stream.write(b"!")


def _lengthen_another(root: Path) -> None:
    with place(root, GOOD).open("ab") as stream:
        stream.write(bytes(100_000))


def _rename_another(root: Path) -> None:
    place(root, OTHER).rename(place(root, OTHER).with_suffix(".old"))


def _delete_another(root: Path) -> None:
    place(root, OTHER).unlink()


def _name_another_twice(root: Path) -> None:
    os.link(place(root, OTHER), root / "second")


def _make_another(root: Path) -> None:
    (root / "stranger").write_bytes(b"")


def _make_a_folder(root: Path) -> None:
    (root / "strangers").mkdir()


def _give_another_a_stream(root: Path) -> None:
    os.setxattr(place(root, OTHER), "user.stream", b"alternate")


def _move_a_folder(root: Path) -> None:
    place(root, "\\Windows\\Temp").rename(root / "Temp")


def _delete_a_folder(root: Path) -> None:
    place(root, "\\Windows\\Temp").rmdir()


def _alter_what_is_moved(root: Path) -> None:
    (moved,) = root.glob("Unbrick/*/0001.bin")
    with moved.open("r+b") as stream:
        stream.write(b"!")


def _cut_what_is_moved(root: Path) -> None:
    (moved,) = root.glob("Unbrick/*/0001.bin")
    os.truncate(moved, 10)


@pytest.mark.parametrize(
    "more",
    [
        _write_into_another,
        _lengthen_another,
        _rename_another,
        _delete_another,
        _name_another_twice,
        _make_another,
        _make_a_folder,
        _give_another_a_stream,
        _move_a_folder,
        _delete_a_folder,
        _alter_what_is_moved,
        _cut_what_is_moved,
    ],
)
def test_a_driver_that_does_more_than_it_was_told_is_noticed(
    volume: Path, more: Callable[[Path], None]
) -> None:
    def act(root: Path) -> Touched:
        touched = repair(root).touched
        more(root)
        return touched

    refused(volume, act)


def test_a_change_that_could_not_be_completed_after_a_cut_is_not_begun(volume: Path) -> None:
    """Its record would be all that is known of it then, and that is believed in less than a driver is."""

    def act(root: Path) -> Touched:
        touched = repair(root).touched
        (moved,) = root.glob("Unbrick/*/0001.bin")
        write_attributes(moved, FileAttributes.HIDDEN)
        return touched

    assert "other attributes or rights" in refused(volume, act)


@pytest.mark.parametrize("left_out", ["moved", "made"])
def test_what_the_change_does_not_name_is_not_its_own(volume: Path, left_out: str) -> None:
    def act(root: Path) -> Touched:
        touched = repair(root).touched
        return Touched(made=touched.made) if left_out == "moved" else Touched(moved=touched.moved)

    refused(volume, act)


def scatter_table(volume: Path, mount: Path) -> None:
    """Have the file table grow into single free clusters, until its own record needs an attribute list."""
    with mounted(volume, mount) as root:
        fillers = []
        try:
            for number in range(100_000):
                fillers.append(root / f"filler-{number:05}")
                fillers[-1].write_bytes(os.urandom(4096))
        except OSError:
            pass
        for path in fillers[::2]:
            path.unlink()
        for number in range(5200):
            (root / f"small-{number:04}").write_bytes(b"x" * 300)
        for number in range(0, 5200, 10):
            (root / f"small-{number:04}").unlink()


def test_a_cluster_that_one_file_gives_back_may_be_taken_by_another(volume: Path) -> None:
    """As an undo does where the journal takes the attribute list of a file that has one name less."""
    with mounted(volume, volume.with_name("look")) as root:
        room = os.statvfs(root)
        (root / "filler").write_bytes(b"!" * (room.f_bavail - 2) * room.f_frsize)
        size = place(root, GOOD).stat().st_size
    former = clusters_of(volume, GOOD)

    def act(root: Path) -> Touched:
        with (root / "new").open("wb") as stream:
            place(root, GOOD).unlink()
            stream.write(b"?" * size)  # there is room for it nowhere else
        return Touched(deleted=(GOOD,), made=("\\new",))

    changed(volume, act)
    assert former & clusters_of(volume, "\\new")


def clusters_of(volume: Path, path: str) -> set[int]:
    """The clusters in which a file's content lies."""
    number = record_of(volume, path)
    found: set[int] = set()
    with open_view(volume) as view:
        table = open_table(view, read_geometry(view))
        data = table.find_attribute(number, DATA)
        for run in data.runs if data is not None else ():
            assert run.offset is not None
            found.update(
                range(
                    run.offset // table.geometry.cluster, (run.offset + run.length) // table.geometry.cluster
                )
            )
    return found


def test_a_file_table_in_many_pieces_is_followed(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    make_volume(volume, tmp_path / "mount", mebibytes=24)
    scatter_table(volume, tmp_path / "mount")
    with open_view(volume) as view:
        table = open_table(view, read_geometry(view))
        assert len(table.stream.runs) > 100
        assert any(one.kind == 0x20 for one in table.attributes(0))
    with volume.open("rb") as stream:
        before = read_independently(stream)

    changed(volume, lambda root: repair(root).touched)
    with volume.open("rb") as stream:
        assert FAULTY not in read_independently(stream)

    def undo(root: Path) -> Touched:
        return apply_undo(root, plan_undo(root, playbooks(), FOLDERS)).touched

    changed(volume, undo)
    with volume.open("rb") as stream:
        after = read_independently(stream)
    assert {path: after[path] for path in before if path != "\\"} == {
        path: before[path] for path in before if path != "\\"
    }


def record_of(volume: Path, path: str) -> int:
    with mounted(volume, volume.with_name("look")) as root:
        return place(root, path).stat().st_ino


def with_table(volume: Path, use: Callable[[FileView, FileTable], None]) -> None:
    with open_view(volume, writable=True) as view:
        use(view, open_table(view, read_geometry(view)))


def test_claims_are_found_wherever_a_record_lists_them(volume: Path) -> None:
    number = record_of(volume, FAULTY)

    def use(_: FileView, table: FileTable) -> None:
        data = table.find_attribute(number, DATA)
        assert data is not None
        cluster = table.geometry.cluster
        start, length = data.runs[0].offset or 0, data.runs[0].length
        claims = find_claims(table, [(start, 1), (start + length - 1, 1), (table.geometry.mft, 1)])
        assert claims.unreadable == []
        first = table.geometry.mft // cluster
        assert Claim(number, DATA, start // cluster, (start + length) // cluster) in claims.found
        assert {claim.owner for claim in claims.found} == {0, number}
        assert min(claim.start for claim in claims.found if claim.owner == 0) == first

    with_table(volume, use)


@pytest.mark.parametrize("harm", ["magic", "update sequence", "attribute", "runs", "only a flag"])
def test_a_record_that_cannot_be_read_may_claim_anything(volume: Path, harm: str) -> None:
    number = record_of(volume, OTHER)

    def use(view: FileView, table: FileTable) -> None:
        record = bytearray(table.raw(number))
        if harm == "magic":
            record[:4] = b"BAAD"
        elif harm == "update sequence":
            record[510] ^= 0xFF
        elif harm == "attribute":
            struct.pack_into("<I", record, struct.unpack_from("<H", record, 0x14)[0] + 4, 0x7FFFFFF8)
        elif harm == "runs":
            at = bytes(record).rindex(struct.pack("<I", 0x80))
            record[at + 8] = 1  # a resident attribute that is called one with runs
            struct.pack_into("<H", record, at + 32, 0x3FF)
        else:
            record[0x16] &= 0xFE  # not in use, it says; the table's bitmap says that it is
        ((place, _),) = table.stream.places(number * table.geometry.record, table.geometry.record)
        view.write(place, bytes(record))
        claims = find_claims(table, [(0, 1)])
        assert claims.unreadable == ([] if harm == "only a flag" else [number])

    with_table(volume, use)


def claim_with(volume: Path, path: str, find: Callable[[FileTable], int]) -> None:
    """Have a file say that its data is one cluster, which `find` gives: a damaged list of clusters."""
    number = record_of(volume, path)

    def use(view: FileView, table: FileTable) -> None:
        record = bytearray(table.raw(number))
        at = record.index(struct.pack("<I", DATA), 0x100)
        at += struct.unpack_from("<H", record, at + 32)[0]
        record[at : at + 6] = b"\x31\x01" + find(table).to_bytes(3, "little") + b"\0"
        size = table.geometry.record
        done = 0
        for start, length in table.stream.places(number * size, size):
            view.write(start, bytes(record[done : done + length]))
            done += length

    with_table(volume, use)


def cluster_of(table: FileTable, number: int, kind: int, name: str, index: int) -> int:
    found = table.find_attribute(number, kind, name)
    assert found is not None
    cluster = table.geometry.cluster
    return open_stream(table.view, found).places(index * cluster, 1)[0][0] // cluster


def repair_faulty(root: Path) -> Touched:
    return repair(root).touched


def _delete_good(root: Path) -> Touched:
    place(root, GOOD).unlink()
    return Touched(deleted=(GOOD,))


def test_no_cluster_is_given_back_that_another_file_holds_to(volume: Path) -> None:
    good = record_of(volume, GOOD)
    claim_with(volume, LOOKALIKE, lambda table: cluster_of(table, good, DATA, "", 3))
    assert "belongs to another file too" in refused(volume, _delete_good)


def test_a_block_in_several_clusters_is_not_known_by_one_of_them(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    make_volume(volume, tmp_path / "mount", neighbours=20, cluster=512)
    changed(volume, repair_faulty)
    make_volume(volume, tmp_path / "mount", neighbours=20, cluster=512)
    folder = record_of(volume, CROWDSTRIKE)
    claim_with(volume, LOOKALIKE, lambda table: cluster_of(table, folder, INDEX_ALLOCATION, INDEX, 7))
    assert "belongs to another file too" in refused(volume, repair_faulty)


@pytest.mark.parametrize("cluster", [8192, 65536])
def test_a_mirror_of_more_than_four_records_is_one(tmp_path: Path, cluster: int) -> None:
    volume = tmp_path / "volume"
    make_volume(volume, tmp_path / "mount", mebibytes=24, cluster=cluster)
    whole = volume.read_bytes()
    changed(volume, repair_faulty)
    volume.write_bytes(whole)
    claim_with(volume, LOOKALIKE, lambda table: table.geometry.mirror // cluster)
    assert "belongs to another file too" in refused(volume, repair_faulty)


def test_a_record_that_is_called_free_and_still_listed_is_not_taken(volume: Path) -> None:
    """Flag and bitmap agree that it is free; the folder that lists it says that it is not."""
    with mounted(volume, volume.with_name("look")) as root:
        (root / "letters").mkdir()
        numbers = []
        for number in range(40):  # whichever the driver takes next, one of them it is
            letter = root / "letters" / f"letter-{number:02}.txt"
            letter.write_text("Dear all" * 200)
            numbers.append(letter.stat().st_ino)

    def use(view: FileView, table: FileTable) -> None:
        bitmap = table.find_attribute(0, 0xB0)
        assert bitmap is not None
        for number in numbers:
            ((place, length),) = table.stream.places(number * table.geometry.record, table.geometry.record)
            record = bytearray(view.read(place, length))
            record[0x16] &= 0xFE
            view.write(place, bytes(record))
            if bitmap.runs:
                at = (bitmap.runs[0].offset or 0) + number // 8
            else:
                at = table.geometry.mft + bitmap.position + number // 8
            view.write(at, bytes([view.read(at, 1)[0] & ~(1 << number % 8)]))
        assert not any(table.is_marked_used(number) for number in numbers)

    with_table(volume, use)
    assert "still listed" in refused(volume, lambda root: repair(root).touched)


def test_a_folder_whose_list_claims_to_be_endless_does_not_hold_up_the_proof(volume: Path) -> None:
    """Its own deleted files leave records, of which the driver takes one: then that list is gone through."""
    with mounted(volume, volume.with_name("look")) as root:
        folder = root / "letters"
        folder.mkdir()
        letters = [folder / f"letter-{number:03}-with-a-long-name.txt" for number in range(120)]
        for letter in letters:
            letter.write_bytes(b"")
        for letter in letters[:40]:
            letter.unlink()
        number = folder.stat().st_ino

    def use(view: FileView, table: FileTable) -> None:
        ((place, length),) = table.stream.places(number * table.geometry.record, table.geometry.record)
        record = bytearray(view.read(place, length))
        at = record.index(struct.pack("<I", 0xA0))
        clusters = 1 << 45
        (runs,) = struct.unpack_from("<H", record, at + 32)
        record[at + runs : at + runs + 8] = b"\x06" + clusters.to_bytes(6, "little") + b"\0"
        struct.pack_into("<QQQ", record, at + 40, *[clusters * table.geometry.cluster] * 3)
        struct.pack_into("<Q", record, at + 24, clusters - 1)
        view.write(place, bytes(record))

    with_table(volume, use)
    assert "larger than any" in refused(volume, lambda root: repair(root).touched)


@pytest.fixture
def full(volume: Path) -> Path:
    """A volume whose file table has no room in its clusters, on a disk that has been in use."""
    fill_table(volume, volume.with_name("look"))
    fill_free_clusters(volume)
    return volume


def test_a_file_table_grows_over_what_was_deleted(full: Path) -> None:
    with full.open("rb") as stream:
        before = read_independently(stream)
    changed(full, repair_faulty)
    with full.open("rb") as stream:
        after = read_independently(stream)
    assert {path for path in before if before[path] != after.get(path)} == {"\\", CROWDSTRIKE, FAULTY}


def test_a_file_table_does_not_grow_over_a_file_that_its_bitmap_calls_free(full: Path) -> None:
    tried = full.with_name("tried")
    shutil.copyfile(full, tried)
    changed(tried, repair_faulty)
    last: list[int] = []
    with_table(tried, lambda _, table: last.extend(table.stream.places(table.count * 1024 - 1, 1)[0]))
    claim_with(full, LOOKALIKE, lambda table: last[0] // table.geometry.cluster)
    assert "calls free belongs to a file" in refused(full, repair_faulty)


@pytest.mark.parametrize(
    ("behind", "written", "otherwise"),
    [
        ("noise", "zeros", ""),
        ("noise", "noise", "behind the end of its file table"),
        ("a file", "zeros", "end before a file that lies in it"),
    ],
)
def test_behind_the_end_of_the_table_only_what_is_no_files_is_cleared(
    volume: Path, behind: str, written: str, otherwise: str
) -> None:
    def use(view: FileView, table: FileTable) -> None:
        size, number = table.geometry.record, table.count
        ((place, length),) = table.stream.places(number * size, size)
        sound = table.raw(number - 1)
        record = bytearray(sound[:0x2C] + number.to_bytes(4, "little") + sound[0x30:])
        record[0x16] |= 1
        view.write(place, random.Random(7).randbytes(length) if behind == "noise" else bytes(record))
        after = PatchedView(view, table.geometry.length)
        after.write(place, bytes(length) if written == "zeros" else random.Random(8).randbytes(length))
        sectors = range(place, place + length, SECTOR)
        if not otherwise:
            assert not prove(view, after, table.geometry, sectors, Touched()).written
            return
        with pytest.raises(NeedsHandsError, match=otherwise):
            prove(view, after, table.geometry, sectors, Touched())

    with mounted(volume, volume.with_name("look")) as root:
        (root / "last").touch()
    with_table(volume, use)


ID, OTHERS_ID = b"0123456789abcdef", b"fedcba9876543210"


def give_object_ids(volume: Path, more: int) -> None:
    """Give two files, and as many new ones, an object id, as Windows does for a shortcut's target."""
    with mounted(volume, volume.with_name("look")) as root:
        os.setxattr(place(root, GOOD), OBJECT_ID, ID)
        os.setxattr(place(root, OTHER), OBJECT_ID, OTHERS_ID)
        for number in range(more):
            (root / f"linked {number}").touch()
            os.setxattr(root / f"linked {number}", OBJECT_ID, hashlib.md5(b"%d" % number).digest() * 4)


def object_ids(volume: Path) -> Counter[tuple[bytes, int]]:
    """Each id in the volume's index, and the record of its file."""
    found: Counter[tuple[bytes, int]] = Counter()

    def use(_: FileView, table: FileTable) -> None:
        for one in read_entries(table, _OBJECT_IDS, "$O"):
            found[one.rest[:16], int.from_bytes(one.rest[16:22], "little")] += 1

    with_table(volume, use)
    return found


@pytest.mark.parametrize("more", [0, 60, 200])
def test_a_file_that_is_deleted_is_taken_out_of_the_list_of_object_ids(volume: Path, more: int) -> None:
    give_object_ids(volume, more)
    before = object_ids(volume)
    assert before[ID, record_of(volume, GOOD)] == 1
    assert len(before) == more + 2
    gone = Counter({(ID, record_of(volume, GOOD)): 1})
    changed(volume, _delete_good)
    assert object_ids(volume) == before - gone


def _take_anothers_id(root: Path) -> None:
    os.removexattr(place(root, OTHER), OBJECT_ID)


def _give_a_new_id(root: Path) -> None:
    os.setxattr(root, OBJECT_ID, bytes(range(16)))


@pytest.mark.parametrize("more", [_take_anothers_id, _give_a_new_id])
def test_no_other_file_loses_its_object_id(volume: Path, more: Callable[[Path], None]) -> None:
    give_object_ids(volume, 0)

    def act(root: Path) -> Touched:
        more(root)
        return _delete_good(root)

    refused(volume, act)


@pytest.mark.parametrize("harm", ["of another file", "twice"])
def test_an_object_id_that_is_listed_wrongly_is_left_to_a_person(volume: Path, harm: str) -> None:
    give_object_ids(volume, 0)
    image = NtfsBytes(bytearray(volume.read_bytes()))
    record = image.read(_OBJECT_IDS)
    at, other = record.index(ID) + len(ID), record.index(OTHERS_ID) + len(OTHERS_ID)
    if harm == "twice":
        record[other : other + 8] = record[at : at + 8]
    else:
        record[at : at + 8] = record[other : other + 8]
    image.write(_OBJECT_IDS, record)
    volume.write_bytes(bytes(image.data[:]))
    assert "list of object ids" in refused(volume, _delete_good)
