"""NTFS in every state that a crashed Windows leaves it in, looked at and changed with the real tools."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.artefacts import artefact
from support.changing import change
from support.ntfs_check import inconsistencies
from support.ntfs_states import (
    MIB,
    filled,
    hibernate,
    is_marked_dirty,
    leave_log_open,
    make_volume,
    mark_dirty,
    restart_page,
    write_log,
)
from support.pending_log import make_pending_volume

from unbrick.disks.change.facts import read_facts
from unbrick.disks.change.views import ChangeOptions, look
from unbrick.disks.loop_device import attach_loop
from unbrick.disks.ntfs.driver import mount_ntfs
from unbrick.disks.ntfs.log import open_log
from unbrick.disks.ntfs.structures import open_view, read_geometry
from unbrick.disks.plain import PlainVolume
from unbrick.errors import FailedError, NeedsHandsError
from unbrick.model import FilesystemState, Touched
from unbrick.processes.command import SystemRunner
from unbrick.windows.ntfs_file import read_acl, write_acl

RUNNER = SystemRunner()
NOTHING_ALLOWED = ChangeOptions()


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    return make_volume(tmp_path / "volume")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def pending(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A crashed Windows 10 volume with a tree on it; tests work on sparse copies."""

    def tree(root: Path) -> None:
        (root / "Windows" / "System32").mkdir(parents=True)
        for number in range(100):
            (root / "Windows" / "System32" / f"file{number}.dll").write_bytes(bytes([number]) * number * 99)

    return make_pending_volume(tmp_path_factory.mktemp("pending") / "volume", tree)


@pytest.fixture
def crashed(pending: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "crashed"
    subprocess.run(["cp", "--sparse=always", pending, copy], check=True)
    return copy


def plain_of(path: Path, on_sync: Callable[[], None] = lambda: None) -> PlainVolume:
    return PlainVolume(path, path.stat().st_size, on_sync)


def digest(path: Path) -> str:
    """Of what the file holds, holes left out: the volume of 1 GiB is nearly all hole."""
    result = hashlib.sha256()
    end = path.stat().st_size
    with path.open("rb") as stream:
        position = 0
        while position < end:
            try:
                start = os.lseek(stream.fileno(), position, os.SEEK_DATA)
            except OSError:
                break
            position = os.lseek(stream.fileno(), start, os.SEEK_HOLE)
            result.update(b"%d" % start + os.pread(stream.fileno(), position - start, start))
    return result.hexdigest()


def check_tree(root: Path) -> None:
    for number in range(100):
        file = root / "Windows" / "System32" / f"file{number}.dll"
        assert file.read_bytes() == bytes([number]) * number * 99


def probe(volume: Path) -> int:
    return subprocess.run(["ntfs-3g.probe", "--readwrite", volume], capture_output=True).returncode


def looked_at(volume: Path, work: Path) -> tuple[FilesystemState, tuple[str, ...]]:
    """Look at a volume; whatever its state, it must be mounted read-only and stay as it was."""
    before = digest(volume)
    with look(plain_of(volume), RUNNER, work) as view:
        assert os.statvfs(view.root).f_flag & os.ST_RDONLY
        with pytest.raises(OSError, match="Read-only"):
            (view.root / "written").touch()
        result = view.state, view.notes
    assert digest(volume) == before
    assert not [entry for entry in work.iterdir() if any(entry.iterdir())]
    return result


def changed(volume: Path, work: Path, options: ChangeOptions = NOTHING_ALLOWED) -> tuple[str, ...]:
    """Write a file through `change`, and find it again; returns the notes."""
    with change(plain_of(volume), options, RUNNER, work) as mounted:
        (mounted.root / "written").write_text("by us")
        notes = mounted.notes
    with look(plain_of(volume), RUNNER, work) as view:
        assert (view.root / "written").read_text() == "by us"
    return notes


def refused(volume: Path, work: Path, options: ChangeOptions = NOTHING_ALLOWED) -> NeedsHandsError:
    """`change` must refuse, and must not have written a byte."""
    before = digest(volume)
    with pytest.raises(NeedsHandsError) as caught, change(plain_of(volume), options, RUNNER, work):
        pass
    assert digest(volume) == before
    return caught.value


def serving(root: Path) -> int:
    """The process number of the ntfs-3g behind a mount."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if os.fsencode(root) in (entry / "cmdline").read_bytes().split(b"\0"):
                    return int(entry.name)
    raise AssertionError("nothing serves it")


def test_clean(volume: Path, work: Path) -> None:
    assert looked_at(volume, work) == (FilesystemState.CLEAN, ())
    assert changed(volume, work) == ()
    assert not is_marked_dirty(volume)
    assert probe(volume) == 0


def test_dirty_stays_dirty(volume: Path, work: Path) -> None:
    mark_dirty(volume)
    assert looked_at(volume, work) == (FilesystemState.DIRTY, ())
    assert changed(volume, work) == ()
    assert is_marked_dirty(volume)


def test_what_did_not_complete_never_reaches_the_disk(volume: Path, work: Path) -> None:
    before = digest(volume)

    def begin() -> None:
        with change(plain_of(volume), NOTHING_ALLOWED, RUNNER, work) as mounted:
            (mounted.root / "half").write_text("done")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begin()
    assert digest(volume) == before


def test_the_record_is_on_the_disk_before_the_flag_and_the_flag_before_the_change(
    volume: Path, work: Path
) -> None:
    """At each flush: whether the redo record is on the disk, the volume marked dirty, the file there."""
    flushed: list[tuple[bool, bool, bool]] = []

    def on_sync() -> None:
        assert str(work) not in Path("/proc/self/mountinfo").read_text()
        there = b"w\0r\0i\0t\0t\0e\0n\0" in volume.read_bytes()
        pending = read_facts(volume, volume.stat().st_size).pending
        flushed.append((pending is not None, is_marked_dirty(volume), there))

    with change(plain_of(volume, on_sync), NOTHING_ALLOWED, RUNNER, work) as mounted:
        (mounted.root / "written").write_text("by us")
        assert flushed == []
    nothing, everything = False, True
    assert flushed == [
        (True, False, nothing),
        (True, True, nothing),
        (True, True, everything),
        (True, False, everything),
        (False, False, everything),
    ]


def test_the_journal_is_afterwards_as_it_was(volume: Path, work: Path) -> None:
    with filled(volume, work / "root"):
        pass
    with open_view(volume) as view:
        log = open_log(view, read_geometry(view))
        before = log.read(0, log.size)
        changed(volume, work)
        assert log.read(0, log.size) == before
    assert read_facts(volume, volume.stat().st_size).pending is None


def test_crash_with_pending_records_is_replayed(crashed: Path, work: Path) -> None:
    assert probe(crashed) == 14
    before = digest(crashed)
    with look(plain_of(crashed), RUNNER, work) as view:
        assert (view.state, view.notes) == (FilesystemState.UNCLEAN_LOG, ())
        check_tree(view.root)
        assert os.statvfs(view.root).f_flag & os.ST_RDONLY
        served = [
            line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(view.root) in line
        ]
        assert "/overlay-" in served[0]
    assert digest(crashed) == before
    assert probe(crashed) == 14
    (note,) = changed(crashed, work)
    assert "replayed" in note
    assert probe(crashed) == 0
    assert not is_marked_dirty(crashed)
    with look(plain_of(crashed), RUNNER, work) as view:
        assert view.state is FilesystemState.CLEAN
        check_tree(view.root)


def test_a_replay_that_was_cut_off_is_done_again(crashed: Path, work: Path) -> None:
    """What the journal says is on the disk before the journal is closed: until then it can be replayed."""

    class CutError(Exception):
        pass

    def cut() -> None:
        raise CutError

    with pytest.raises(CutError), change(plain_of(crashed, cut), NOTHING_ALLOWED, RUNNER, work):
        pass
    assert probe(crashed) == 14
    (note,) = changed(crashed, work)
    assert "replayed" in note
    assert probe(crashed) == 0
    with look(plain_of(crashed), RUNNER, work) as view:
        check_tree(view.root)


@pytest.mark.parametrize("version", [(1, 1), (2, 0)])
def test_open_log_with_nothing_in_it_is_reset_and_windows_will_check(
    volume: Path, work: Path, version: tuple[int, int]
) -> None:
    leave_log_open(volume, version=version)
    state, (note,) = looked_at(volume, work)
    assert state is FilesystemState.UNCLEAN_LOG
    assert "cannot be replayed" in note
    (note,) = changed(volume, work)
    assert "reset" in note
    assert "marked dirty" in note
    assert is_marked_dirty(volume)
    assert probe(volume) == 0


@pytest.mark.parametrize("version", [(1, 1), (2, 0)])
def test_records_that_cannot_be_replayed_need_a_person(
    volume: Path, work: Path, version: tuple[int, int]
) -> None:
    leave_log_open(volume, version=version, pending=True)
    assert looked_at(volume, work)[0] is FilesystemState.UNCLEAN_LOG
    error = refused(volume, work)
    assert error.reason == "unclean-log"
    assert "--reset-log" in (error.hint or "")
    (note,) = changed(volume, work, ChangeOptions(reset_log=True))
    assert "reset" in note
    assert is_marked_dirty(volume)


def test_what_is_no_log_is_never_reset(volume: Path, work: Path) -> None:
    write_log(volume, bytes(4096), bytes(4096))
    assert looked_at(volume, work)[0] is FilesystemState.UNCLEAN_LOG
    assert refused(volume, work).reason == "damaged-volume"
    assert refused(volume, work, ChangeOptions(reset_log=True)).reason == "damaged-volume"


def test_a_log_without_restart_pages_is_reset(volume: Path, work: Path) -> None:
    write_log(volume, b"RSTR".ljust(4096, b"\0"), b"RSTR".ljust(4096, b"\0"))
    assert "reset" in changed(volume, work)[0]


@pytest.mark.parametrize("first", [b"HIBR", b"hibr"])
def test_hibernated(volume: Path, work: Path, tmp_path: Path, first: bytes) -> None:
    hibernate(volume, tmp_path / "root", first)
    assert looked_at(volume, work) == (FilesystemState.HIBERNATED, ())
    error = refused(volume, work)
    assert error.reason == "hibernated"
    assert "--discard-hibernation" in (error.hint or "")
    assert refused(volume, work, ChangeOptions(reset_log=True)).reason == "hibernated"


def test_discarded_hibernation_is_said_and_gone(volume: Path, work: Path, tmp_path: Path) -> None:
    hibernate(volume, tmp_path / "root")
    with filled(volume, tmp_path / "root") as root:
        asleep = (root / "hiberfil.sys").read_bytes()
    (note,) = changed(volume, work, ChangeOptions(discard_hibernation=True))
    assert "hibernation was discarded" in note
    assert probe(volume) == 0
    assert not is_marked_dirty(volume)
    with look(plain_of(volume), RUNNER, work) as view:
        assert view.state is FilesystemState.CLEAN
        assert (view.root / "hiberfil.sys").read_bytes() == bytes(4096) + asleep[4096:]


@pytest.mark.parametrize("first", [b"RSTR", b"wake", b"\0\0\0\0"])
def test_windows_that_woke_up_is_not_hibernated(
    volume: Path, work: Path, tmp_path: Path, first: bytes
) -> None:
    hibernate(volume, tmp_path / "root", first)
    assert looked_at(volume, work) == (FilesystemState.CLEAN, ())
    assert changed(volume, work) == ()


def test_crash_dump_after_the_hibernation_is_said(volume: Path, work: Path, tmp_path: Path) -> None:
    with filled(volume, tmp_path / "root") as root:
        dump = root / "Windows" / "Minidump" / "071924-1.dmp"
        dump.parent.mkdir(parents=True)
        dump.write_bytes(b"PAGEDU64")
        os.utime(dump, (time.time() + 60, time.time() + 60))
    hibernate(volume, tmp_path / "root")
    state, (note,) = looked_at(volume, work)
    assert state is FilesystemState.HIBERNATED
    assert "crash dump is newer" in note
    assert "crash dump is newer" in str(refused(volume, work))


def test_fast_started_windows_with_records_pending(work: Path, tmp_path: Path) -> None:
    """Hibernated and its journal open: what fast start leaves. First the sleeper goes, then the journal."""
    pristine = tmp_path / "pristine"

    def tree(root: Path) -> None:
        (root / "hiberfil.sys").write_bytes(b"HIBR".ljust(4096, b"\0") + bytes(4096))

    make_pending_volume(pristine, tree)
    assert looked_at(pristine, work)[0] is FilesystemState.HIBERNATED
    assert refused(pristine, work).reason == "hibernated"
    notes = changed(pristine, work, ChangeOptions(discard_hibernation=True))
    assert [word in note for word, note in zip(("discarded", "replayed"), notes, strict=True)] == [True, True]
    assert probe(pristine) == 0
    assert looked_at(pristine, work)[0] is FilesystemState.CLEAN


def test_hibernation_is_kept_where_the_log_would_stop_us_anyway(
    volume: Path, work: Path, tmp_path: Path
) -> None:
    hibernate(volume, tmp_path / "root")
    leave_log_open(volume, version=(2, 0), pending=True)
    assert refused(volume, work, ChangeOptions(discard_hibernation=True)).reason == "unclean-log"
    notes = changed(volume, work, ChangeOptions(discard_hibernation=True, reset_log=True))
    assert len(notes) == 2


def test_silent_fall_back_to_read_only_is_noticed(
    volume: Path, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ntfs-3g mounts a hibernated volume read-only and exits 0; were we blind to it, the mount would tell."""
    hibernate(volume, tmp_path / "root")
    monkeypatch.setattr("unbrick.disks.change.views.find_hibernation", lambda _: None)
    assert refused(volume, work).reason == "read-only"
    assert not is_marked_dirty(volume)


@pytest.mark.parametrize(
    ("place", "junk"),
    [
        (0, bytes(512)),
        (0x30, b"\xff" * 8),
        (16384, bytes(8192)),  # the file table's first records
        (16384 + 5 * 1024, bytes(1024)),  # the root folder
    ],
)
def test_broken_volume_needs_a_person(volume: Path, work: Path, place: int, junk: bytes) -> None:
    with volume.open("r+b") as stream:
        stream.seek(place)
        stream.write(junk)
    assert refused(volume, work).reason == "damaged-volume"
    before = digest(volume)
    with pytest.raises(NeedsHandsError) as caught, look(plain_of(volume), RUNNER, work):
        pass
    assert caught.value.reason == "damaged-volume"
    assert digest(volume) == before


def test_truncated_volume_needs_a_person(volume: Path, work: Path) -> None:
    os.truncate(volume, 16 * MIB)
    assert refused(volume, work).reason == "damaged-volume"


def test_volume_that_is_mounted_already_is_in_use(volume: Path, work: Path, tmp_path: Path) -> None:
    with (
        filled(volume, tmp_path / "root"),
        pytest.raises(NeedsHandsError) as caught,
        change(plain_of(volume), NOTHING_ALLOWED, RUNNER, work),
    ):
        pass
    assert caught.value.reason == "disk-in-use"
    assert not is_marked_dirty(volume)


def cut_off(volume: Path, work: Path, flush: int) -> None:
    """Begin to write a file, and cut the power right after that flush (1 is the first)."""

    class CutError(Exception):
        pass

    flushes = iter(range(1, 10))

    def cut() -> None:
        if next(flushes) == flush:
            raise CutError

    with pytest.raises(CutError), change(plain_of(volume, cut), NOTHING_ALLOWED, RUNNER, work) as mounted:
        (mounted.root / "written").write_text("by us")


def test_a_volume_that_was_opened_halfway_through_a_change_is_not_written_to(
    volume: Path, work: Path
) -> None:
    cut_off(volume, work, 2)
    pending = read_facts(volume, volume.stat().st_size).pending
    assert pending is not None
    first, *others = pending.redo.changes
    assert others
    with open_view(volume, writable=True) as view:
        view.write(first.offset, first.data)
    page = restart_page(current=0x4000, oldest=0x3000, clean=True)
    write_log(volume, page, page)
    assert refused(volume, work).reason == "damaged-volume"
    mark_dirty(volume, dirty=False)  # as a check by Windows leaves it
    assert changed(volume, work) == ()


def test_what_was_cut_off_is_not_completed_under_another_mount(
    volume: Path, work: Path, tmp_path: Path
) -> None:
    cut_off(volume, work, 1)
    assert read_facts(volume, volume.stat().st_size).pending is not None
    before = digest(volume)
    with (
        filled(volume, tmp_path / "root"),
        pytest.raises(NeedsHandsError) as caught,
        change(plain_of(volume), NOTHING_ALLOWED, RUNNER, work),
    ):
        pass
    assert caught.value.reason == "disk-in-use"
    assert digest(volume) == before
    assert changed(volume, work) == ()


@pytest.mark.parametrize("as_device", [False, True], ids=["file", "device"])
def test_nobody_else_mounts_it_while_it_is_changed(volume: Path, work: Path, as_device: bool) -> None:
    with contextlib.ExitStack() as stack:
        path = volume
        if as_device:
            path = stack.enter_context(attach_loop(volume, offset=0, length=volume.stat().st_size))
        tried: list[str | None] = []

        def try_to_mount() -> None:
            with (
                pytest.raises(NeedsHandsError) as caught,
                mount_ntfs(path, work / "other", RUNNER, read_only=False),
            ):
                pass
            tried.append(caught.value.reason)

        plain = PlainVolume(path, volume.stat().st_size, try_to_mount)
        with change(plain, NOTHING_ALLOWED, RUNNER, work) as copy:
            (copy.root / "written").write_text("by us")
        assert tried == ["disk-in-use"] * len(tried)
        assert tried
        if as_device:
            held = os.open(path, os.O_RDWR | os.O_EXCL)  # as the kernel holds what it has mounted
            stack.callback(os.close, held)
            with pytest.raises(NeedsHandsError) as caught, change(plain, NOTHING_ALLOWED, RUNNER, work):
                pass
            assert caught.value.reason == "disk-in-use"


def test_streams_acls_and_access_times(volume: Path, work: Path, tmp_path: Path) -> None:
    with filled(volume, tmp_path / "root") as root:
        (root / "file").write_text("text")
        os.utime(root / "file", (1_600_000_000, 1_600_000_000))
    # SYSTEM and Administrators only, as the drill and the quarantine set it.
    administrators = "01020000000000052000000020020000"
    system = "010100000000000512000000"
    acl = bytes.fromhex(
        "01000480" "14000000" "24000000" "00000000" "34000000"
        + administrators * 2
        + "0200340002000000" + "00001400ff011f00" + system + "00001800ff011f00" + administrators
    )  # fmt: skip
    with change(plain_of(volume), NOTHING_ALLOWED, RUNNER, work) as mounted:
        assert (mounted.root / "file").read_text() == "text"
        file = mounted.root / "written"
        file.write_text("by us")
        os.setxattr(file, "user.stream", b"alternate")
        write_acl(file, acl)
    with look(plain_of(volume), RUNNER, work) as view:
        file = view.root / "written"
        assert os.getxattr(file, "user.stream") == b"alternate"
        assert read_acl(file) == acl
        assert (view.root / "file").stat().st_atime == 1_600_000_000


def test_server_that_dies_is_an_error_and_nothing_was_written(volume: Path, work: Path) -> None:
    before = digest(volume)

    def work_until_it_dies() -> None:
        with change(plain_of(volume), NOTHING_ALLOWED, RUNNER, work) as mounted:
            os.kill(serving(mounted.root), 9)

    with pytest.raises(FailedError):
        work_until_it_dies()
    assert digest(volume) == before
    assert str(work) not in Path("/proc/self/mountinfo").read_text()


@pytest.mark.parametrize("room", range(160, 800, 32))
def test_where_the_memory_runs_full_all_of_it_is_written_or_nothing(
    volume: Path, work: Path, tmp_path: Path, room: int
) -> None:
    with filled(volume, tmp_path / "root") as root:
        for number in range(20):
            (root / f"{number}").mkdir()
    before = digest(volume)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room}k", "none", work], check=True)
    try:
        made = Touched(made=tuple(f"\\{number}\\written" for number in range(20)))
        with change(plain_of(volume), NOTHING_ALLOWED, RUNNER, work, touched=made) as mounted:
            for number in range(20):
                (mounted.root / f"{number}" / "written").write_bytes(b"by us" * 200)
    except (OSError, FailedError):
        assert digest(volume) == before
    else:
        with volume.open("rb") as stream:
            assert list(inconsistencies(stream)) == []
        with filled(volume, tmp_path / "root") as root:
            assert len(list(root.glob("*/written"))) == 20
    finally:
        subprocess.run(["umount", work], check=True)


def test_volume_made_by_windows_inside_a_partition(work: Path, tmp_path: Path) -> None:
    image = tmp_path / "disk"
    with gzip.open(artefact("ntfs/dfir_ntfs_index.raw.gz")) as source, image.open("wb") as target:
        shutil.copyfileobj(source, target)
    offset = 128 * 512
    length = (image.stat().st_size - offset) // 512 * 512
    with attach_loop(image, offset=offset, length=length) as loop:
        plain = PlainVolume(loop, length, os.sync)
        assert read_facts(plain.path, plain.length).state is FilesystemState.CLEAN
        with change(plain, NOTHING_ALLOWED, RUNNER, work) as mounted:
            (mounted.root / "written").write_text("by us")
        with look(plain, RUNNER, work) as view:
            assert view.state is FilesystemState.CLEAN
            assert (view.root / "written").read_text() == "by us"
