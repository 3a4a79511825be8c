"""The volumes that are hurt: a small NTFS with a Windows tree, a fault, and users' files of every shape.

Each is made once, when a run first asks for it, and is never written to afterwards.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from support.bricked_volume import mounted, place
from support.damage.ntfs_bytes import BITMAP, CLUSTER_BITMAP, DATA, TABLE, NtfsBytes
from support.damage.odd_trees import LEFT_ALONE, TREES
from support.damage.paths import FAULTY, FAULTY_TIME, USERS
from support.damage.starts import Starts
from support.ntfs_states import hibernate
from support.pending_log import forget, make_pending_volume
from support.repair_worker import RepairWorker

from unbrick.disks.bitlocker.master_key import open_clear_key
from unbrick.disks.bitlocker.metadata import read_metadata
from unbrick.drill.bitlocker.areas import prepare_reserved_files
from unbrick.drill.bitlocker.encrypt import encrypt_volume
from unbrick.drill.bitlocker.settings import BitLockerSettings, make_recovery_password
from unbrick.drill.contents.planned import moment, ordinary_times
from unbrick.drill.contents.tree import TreeOptions, plan_volume
from unbrick.drill.disk import hives
from unbrick.drill.disk.ntfs import finish_folders, write_volume
from unbrick.drill.disk.partition import Partition, Role
from unbrick.drill.disk.registry import make_hive
from unbrick.drill.options import MIB, default_incident, dice
from unbrick.processes.command import SystemRunner, wait_until
from unbrick.recovery.case import Goal
from unbrick.windows.ntfs_file import NtfsTimes, write_short_name, write_times

_SIZE = 24 * MIB
_TIGHT, _FULL = 640 * 1024, 16 * 1024
_RUNNER = SystemRunner()
_FIRST_GIVEN = 64  # records below are given out by ntfs-3g only when its table grows
_HEADER = bytes.fromhex("aaaaaaaa01002301")


@dataclass(frozen=True)
class Shape:
    """What a base is besides small and faulty.

    `spare`: how many bytes are free. `crowded`: the file table has no free record. `brimming`: nor room for
    one in its clusters. `used`: wherever no file lies, there is noise. `earlier`: `\\Unbrick` is there, of an
    earlier run. `pending`: the log is a crashed Windows 10's, with records to replay. `odd` is what is odd
    about the tree (`odd_trees.py`), `tail` how many bytes of rubbish lie behind the volume.
    """

    variant: int = 0
    cluster: int = 4096
    sector: int = 512
    spare: int | None = None
    crowded: bool = False
    brimming: bool = False
    used: bool = False
    earlier: bool = False
    locked: bool = False
    hibernated: bool = False
    pending: bool = False
    odd: str = ""
    tail: int = 0

    @property
    def is_repaired(self) -> bool:
        """Whether the sound volume is repaired, and needs no person's leave for it."""
        return not self.hibernated and self.odd not in LEFT_ALONE


SHAPES = {
    "roomy": Shape(),
    "linked": Shape(variant=3),
    "earlier": Shape(variant=2, earlier=True),
    "tight": Shape(variant=2, spare=_TIGHT),
    "tight-earlier": Shape(spare=_TIGHT, earlier=True),
    "full": Shape(variant=1, spare=_FULL),
    "full-earlier": Shape(spare=_FULL, earlier=True),
    "crowded": Shape(crowded=True),
    "crowded-tight": Shape(variant=1, crowded=True, spare=_TIGHT),
    "crowded-full": Shape(crowded=True, spare=_FULL),
    "crowded-used": Shape(crowded=True, used=True),
    "brimming": Shape(brimming=True, used=True),
    "brimming-earlier": Shape(variant=3, brimming=True, used=True, earlier=True),
    "brimming-large-clusters": Shape(cluster=16384, brimming=True, used=True),
    "brimming-small-clusters": Shape(cluster=512, brimming=True, used=True),
    "small-clusters": Shape(cluster=512),
    "hibernated": Shape(hibernated=True),
    "pending": Shape(pending=True),
    "large-sectors": Shape(sector=4096),
    "large-sectors-tight": Shape(sector=4096, variant=3, spare=_TIGHT),
    "tailed": Shape(variant=1, tail=MIB + 4096 + 512),
    **{odd: Shape(variant=at % 4, odd=odd) for at, odd in enumerate(TREES)},
    "locked": Shape(locked=True),
    "locked-earlier": Shape(variant=3, locked=True, earlier=True),
    "locked-tight": Shape(variant=2, locked=True, spare=_TIGHT),
}


@dataclass(frozen=True)
class Base:
    """A finished base: `plain` is the volume, `locked` the same in BitLocker, `key` its master key in a file.

    `starts` are disks on which an earlier run was done, or cut off by the power: of `plain`, or of `locked`
    where there is one. `areas` are the bytes that BitLocker keeps for itself.
    """

    shape: Shape
    plain: Path
    locked: Path | None
    key: Path | None
    starts: Starts
    areas: tuple[tuple[int, int], ...] = ()


class Bases:
    """All bases, in a folder."""

    def __init__(self, folder: Path, worker: RepairWorker) -> None:
        self._folder, self._worker = folder, worker
        self._made: dict[str, Base] = {}

    def get(self, name: str) -> Base:
        """The base of that name."""
        if name not in self._made:
            folder = self._folder / name
            folder.mkdir(parents=True)
            self._made[name] = self._make(SHAPES[name], folder)
        return self._made[name]

    def _make(self, shape: Shape, folder: Path) -> Base:
        plain = folder / "plain.img"
        if shape.pending:
            # The records lie in the log before the tree is there: nothing may be asked of it then.
            make_pending_volume(plain, lambda top: fill_windows(top, shape, folder))
            forget(plain)
            return Base(shape, plain, None, None, self._starts(shape, plain, folder))
        _format(plain, shape.cluster, shape.sector)
        with mounted(plain, folder / "root") as root:
            if shape.locked:
                prepare_reserved_files(root)
            fill_windows(root, shape, folder)
        if shape.odd:
            TREES[shape.odd](plain, folder / "root")
        if shape.earlier:
            said = self._worker.work(Goal.REPAIR, plain, None)
            assert said["status"] == "repaired", said
            with mounted(plain, folder / "root") as root:
                _write_fault(root, 2)
        if shape.hibernated:
            hibernate(plain, folder / "root")
        if shape.crowded:
            with mounted(plain, folder / "root") as root:
                _use_up_records(root, _free_records(plain))
        if shape.brimming:
            fill_table(plain, folder / "root")
        if shape.used:
            fill_free_clusters(plain)
        if shape.spare is not None:
            with mounted(plain, folder / "root") as root:
                _use_up_room(root, shape.spare)
        if shape.tail:
            _put_rubbish_behind(plain, shape.tail)
        if not shape.locked:
            return Base(shape, plain, None, None, self._starts(shape, plain, folder))
        locked, areas = _lock(plain, folder)
        key = folder / "key"
        with locked.open("rb") as stream:
            key.write_bytes(open_clear_key(read_metadata(stream, 0, _SIZE)).reveal())
        # What the volume shows from now on is what BitLocker shows: its own areas are zeros.
        with unlocked(locked, key, folder / "unlocked") as shown:
            shutil.copyfile(shown, plain)
        return Base(shape, plain, locked, key, self._starts(shape, locked, folder), areas)

    def _starts(self, shape: Shape, image: Path, folder: Path) -> Starts:
        """Nothing where a repair needs a person's leave."""
        return Starts(self._worker if shape.is_repaired else None, image, folder)


@contextmanager
def unlocked(image: Path, key: Path, at: Path, *, read_only: bool = True) -> Iterator[Path]:
    """A BitLocker volume's plain bytes in a file."""
    at.mkdir(exist_ok=True)
    options = [*(["-r"] if read_only else []), "-q", "-V", str(image), "-O", "0", "-K", str(key)]
    server = _RUNNER.start(["dislocker", *options, "--", "-f", str(at)])
    try:
        wait_until(server, (at / "dislocker-file").exists, timeout=60, what="dislocker")
        yield at / "dislocker-file"
    finally:
        subprocess.run(["umount", str(at)], check=False, capture_output=True)
        server.wait(30)
        server.stop(30)


def _put_rubbish_behind(plain: Path, length: int) -> None:
    """What an image or a partition holds behind its volume: noise, and what looks like file records."""
    rng = dice("damage", "tail")
    with plain.open("r+b") as stream:
        records = NtfsBytes(bytearray(plain.read_bytes()))
        copied = b"".join(bytes(records.read(number)) for number in range(16))
        stream.seek(0, os.SEEK_END)
        stream.write((copied + rng.randbytes(length))[:length])


def _format(path: Path, cluster: int, sector: int) -> None:
    with path.open("wb") as stream:
        stream.truncate(_SIZE)
    shape = ["-s", str(sector), "-c", str(cluster), "-p", "2048", "-H", "255", "-S", "63"]
    subprocess.run(
        ["mkntfs", "-F", "-Q", "-q", *shape, "-L", "Windows", path], check=True, capture_output=True
    )
    with path.open("r+b") as stream:
        for boot in (0, _SIZE - sector):  # the serial number that mkntfs draws
            stream.seek(boot + 0x48)
            stream.write(struct.pack("<Q", 0x1B61C00DAC71F11E))


def fill_windows(root: Path, shape: Shape, folder: Path) -> None:
    rng = dice("damage", shape.variant)
    options = TreeOptions(7, 30, MIB, default_incident(), True, shape.variant, False, _hives(folder))
    plan = plan_volume(options, rng)
    write_volume(root, plan)
    _write_fault(root, shape.variant)
    _write_users_files(place(root, USERS))
    finish_folders(root, plan, ordinary_times(rng))


def _hives(folder: Path) -> dict[str, bytes]:
    disk = uuid.UUID(int=5)
    partition = Partition(1, Role.WINDOWS, uuid.UUID(int=6), 0, _SIZE)
    windows = hives.SimulatedWindows("WARD-001", hives.VERSIONS[0], disk, partition)
    trees = {
        "SYSTEM": hives.system_tree(windows),
        "SOFTWARE": hives.software_tree(windows),
        **hives.small_trees(dice("damage")),
    }
    written = moment("2024-07-18 17:00:00")
    return {
        name: make_hive(tree, file_name=name, written=written, workdir=folder) for name, tree in trees.items()
    }


def _write_users_files(folder: Path) -> None:
    """In their records, in a few clusters, in one long run, in a few pieces, and in hundreds of pieces."""
    rng = dice("damage", "users")
    folder.mkdir()
    for number in range(120):
        (folder / f"note {number:03}.txt").write_bytes(rng.randbytes(rng.randrange(1, 600)))
    for number in range(90):
        (folder / f"letter {number:03}.docx").write_bytes(rng.randbytes(rng.randrange(1_000, 12_000)))
    for number in range(2):
        (folder / f"film {number}.mp4").write_bytes(rng.randbytes(MIB))
    _write_in_pieces([folder / f"ledger {number}.xlsx" for number in range(5)], 24)
    _write_in_pieces([folder / f"mailbox {number}.pst" for number in range(2)], 230)
    deleted = [folder / f"deleted {number:02}.txt" for number in range(40)]
    for path in deleted:
        path.write_bytes(rng.randbytes(500))
    for path in deleted:
        path.unlink()


def _write_in_pieces(paths: list[Path], pieces: int) -> None:
    """A cluster of each in turn, so that none has two beside one another."""
    rng = dice("damage", paths[0].name)
    descriptors = [os.open(path, os.O_WRONLY | os.O_CREAT) for path in paths]
    for _ in range(pieces):
        for descriptor in descriptors:
            os.write(descriptor, rng.randbytes(4096))
            os.fsync(descriptor)
    for descriptor in descriptors:
        os.close(descriptor)


def _write_fault(root: Path, variant: int) -> None:
    """With streams and a short name; of zeros; with nothing besides; with streams and a second name."""
    faulty = place(root, FAULTY)
    content = _HEADER + dice("damage", "fault").randbytes(40_952)
    faulty.write_bytes(bytes(len(content)) if variant == 1 else content)
    if variant in (0, 3):
        os.setxattr(faulty, "user.Zone.Identifier", b"[ZoneTransfer]\r\nZoneId=3\r\n")
        os.setxattr(faulty, "user.origin", b"channel " * 40)
    if variant == 0:
        write_short_name(faulty, "C-0000~1.SYS")
    if variant == 3:
        os.link(faulty, place(root, "\\Windows\\Temp\\kept-by-a-tool.sys"))
    write_times(faulty, NtfsTimes(FAULTY_TIME, FAULTY_TIME, FAULTY_TIME, 0))


def _use_up_room(root: Path, spare: int) -> None:
    left = os.statvfs(root)
    size = left.f_bavail * left.f_frsize - spare
    (place(root, USERS) / "archive.zip").write_bytes(dice("damage", "archive").randbytes(size))


def _free_records(plain: Path, *, to_the_brim: bool = False) -> int:
    """How many records ntfs-3g can give out before the file table gets longer, or takes clusters for it."""
    volume = NtfsBytes(bytearray(plain.read_bytes()))
    marks = int.from_bytes(volume.content(TABLE, BITMAP), "little")
    data = volume.find(volume.read(TABLE), DATA)
    size = sum(count for _, count in data.runs) * volume.cluster if to_the_brim else data.size
    return sum(not marks >> number & 1 for number in range(_FIRST_GIVEN, size // volume.record))


def fill_table(plain: Path, at: Path) -> None:
    """Use up the file table: the next file has it take clusters."""
    with mounted(plain, at) as root:
        for number in range(_free_records(plain, to_the_brim=True)):
            (root / f"note {number:03}").touch()


def fill_free_clusters(plain: Path) -> None:
    """Noise wherever no file lies, as on a disk that has been in use; behind the file table's end, too."""
    rng = dice("damage", "free clusters")
    volume = NtfsBytes(bytearray(plain.read_bytes()))
    marks = volume.content(CLUSTER_BITMAP, DATA)
    first = volume.find(volume.read(TABLE), DATA).size // volume.record
    with plain.open("r+b") as stream:
        for number in range(first, volume.records):
            os.pwrite(stream.fileno(), rng.randbytes(volume.record), volume.place(number))
        for cluster in range(volume.clusters):
            if not marks[cluster // 8] >> cluster % 8 & 1:
                os.pwrite(stream.fileno(), rng.randbytes(volume.cluster), cluster * volume.cluster)


def _use_up_records(root: Path, free: int) -> None:
    for number in range(free):
        (place(root, USERS) / f"empty {number:02}").touch()


def _lock(plain: Path, folder: Path) -> tuple[Path, tuple[tuple[int, int], ...]]:
    locked = folder / "locked.img"
    shutil.copyfile(plain, locked)
    settings = BitLockerSettings(
        method="aes-xts-128",
        computer="WARD-001",
        recovery_password=make_recovery_password(dice("damage", "password")),
        protector_id=str(uuid.UUID(int=7)).upper(),
        clear_key=True,
        seed=7,
        created=datetime(2023, 9, 4, 7, 12, 30, tzinfo=UTC),
    )
    return locked, ((0, 512), *encrypt_volume(locked, 0, _SIZE, settings).areas.unencrypted())
