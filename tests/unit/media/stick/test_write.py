"""Writing a stick: what breaks on the way is said, and leaves a stick that starts nothing."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from support.small_image import MIB, make_image

from unbrick.errors import FailedError, NeedsHandsError, UsageError
from unbrick.media.stick.layout import HEAD_BYTES, StickLayout, plan_stick
from unbrick.media.stick.volume import find_boot_files, make_volume
from unbrick.media.stick.write import open_exclusively, write_stick
from unbrick.processes.command import SystemRunner

SIZE = 90 * MIB
Volume = tuple[tuple[int, bytes], ...]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_image(tmp_path_factory.mktemp("image") / "unbrick.iso")


@pytest.fixture(scope="module")
def layout(image: Path) -> StickLayout:
    return plan_stick(image.read_bytes()[:HEAD_BYTES], image.stat().st_size, SIZE)


@pytest.fixture(scope="module")
def volume(layout: StickLayout) -> Volume:
    return make_volume(layout, {"unbrick.yaml": b"site: a\n", "deep/er/file": b"x"}, SystemRunner())


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    """A stick that is full of something else."""
    path = tmp_path / "stick"
    path.write_bytes(b"\xa5" * SIZE)
    return path


def quietly(words: str, done: int, total: int) -> None:
    assert 0 < done <= total
    assert words in {"writing", "reading back"}


def test_everything_lies_where_it_belongs(
    image: Path, layout: StickLayout, volume: Volume, stick: Path
) -> None:
    seen: dict[str, int] = {}

    def progress(words: str, done: int, total: int) -> None:
        assert seen.get(words, 0) < done <= total
        seen[words] = done

    with open_exclusively(stick) as descriptor:
        written = write_stick(descriptor, image, layout, volume, progress)
    assert seen == {"writing": written.size, "reading back": written.size}
    data, whole = stick.read_bytes(), image.read_bytes()
    assert len(data) == SIZE
    assert data[HEAD_BYTES : len(whole)] == whole[HEAD_BYTES:]
    for offset, piece in layout.pieces:
        assert data[offset : offset + len(piece)] == piece
    for offset, piece in volume:
        start = layout.partition_offset + offset
        assert data[start : start + len(piece)] == piece
    kept = sum(len(piece) for _, piece in (*layout.pieces[1:], *volume))
    assert written.size == layout.image_size + kept


def test_the_partition_is_sound_and_holds_the_files(
    layout: StickLayout, volume: Volume, tmp_path: Path
) -> None:
    path = tmp_path / "volume"
    with path.open("wb") as stream:
        stream.truncate(layout.partition_size)
        for offset, piece in volume:
            stream.seek(offset)
            stream.write(piece)
    assert subprocess.run(["fsck.fat", "-n", path], capture_output=True).returncode == 0
    label: list[str | Path] = ["blkid", "-p", "-s", "LABEL", "-s", "TYPE", "-o", "value", path]
    assert subprocess.run(label, capture_output=True, text=True).stdout.split() == ["UNBRICK", "vfat"]
    for name, content in (("unbrick.yaml", b"site: a\n"), ("deep/er/file", b"x")):
        shown = subprocess.run(["mtype", "-i", path, f"::/{name}"], capture_output=True, check=True).stdout
        assert shown == content
    listing = subprocess.run(["mdir", "-b", "-i", path, "::/"], capture_output=True, text=True, check=True)
    assert {"::/outbox/", "::/log/", "::/playbooks/", "::/README.txt"} <= set(listing.stdout.splitlines())


def test_nothing_of_what_was_there_before_marks_the_partition(layout: StickLayout, volume: Volume) -> None:
    """A superblock of another file system near either edge would make a second answer to what this is."""
    covered = sorted((offset, offset + len(piece)) for offset, piece in volume)
    assert covered[0][0] == 0
    assert covered[0][1] >= 4 * MIB
    assert covered[-1][1] == layout.partition_size
    assert covered[-1][0] <= layout.partition_size - 4 * MIB


def test_settings_that_do_not_fit_are_refused(layout: StickLayout) -> None:
    with pytest.raises(UsageError, match="do not fit"):
        make_volume(layout, {"keys.csv": bytes(60 * MIB)}, SystemRunner())


def test_a_boot_loader_that_somebody_put_on_the_partition_is_found(
    image: Path, layout: StickLayout, volume: Volume, stick: Path
) -> None:
    with open_exclusively(stick) as descriptor:
        write_stick(descriptor, image, layout, volume, quietly)
    assert not find_boot_files(stick, layout, SystemRunner())
    partition = f"{stick}@@{layout.partition_offset}"
    subprocess.run(["mmd", "-i", partition, "::/efi", "::/efi/boot"], check=True)
    assert find_boot_files(stick, layout, SystemRunner())


@pytest.mark.parametrize("where", ["head", "partition", "second table"])
def test_a_stick_that_forgets_is_found_out(
    image: Path, layout: StickLayout, volume: Volume, stick: Path, where: str
) -> None:
    place = {"head": 0, "partition": layout.partition_offset, "second table": SIZE - 10}[where]

    def spoil(words: str, done: int, total: int) -> None:
        if words == "reading back":
            with stick.open("r+b") as stream:
                stream.seek(place)
                stream.write(b"\x01")

    with open_exclusively(stick) as descriptor, pytest.raises(FailedError, match="gives back other bytes"):
        write_stick(descriptor, image, layout, volume, spoil)


def test_a_person_who_stops_it_is_told_what_became_of_the_stick(
    image: Path, layout: StickLayout, volume: Volume, stick: Path
) -> None:
    def stop(words: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with open_exclusively(stick) as descriptor, pytest.raises(FailedError, match="stopped") as failed:
        write_stick(descriptor, image, layout, volume, stop)
    assert failed.value.hint == "write it again; it is wiped already"
    assert failed.value.exit_code == 130


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_a_write_error_is_one_line_and_the_stick_starts_nothing(
    image: Path, layout: StickLayout, volume: Volume, stick: Path
) -> None:
    def pull(words: str, done: int, total: int) -> None:
        if done > 4 * MIB:
            raise FailedError("pulled")

    with open_exclusively(stick) as descriptor:
        with pytest.raises(FailedError, match="pulled"):
            write_stick(descriptor, image, layout, volume, pull)
        assert os.pread(descriptor, HEAD_BYTES, 0) == bytes(HEAD_BYTES)
        assert os.pread(descriptor, MIB, SIZE - MIB) == bytes(MIB)
    small = stick.with_name("small")
    with small.open("wb") as stream:
        stream.truncate(SIZE)
    with open_exclusively(small) as descriptor, no_file_larger_than(20 * MIB):
        with pytest.raises(FailedError, match="could not be written at") as failed:
            write_stick(descriptor, image, layout, volume, quietly)
        assert failed.value.hint is not None
        assert "write it again" in failed.value.hint


def test_an_image_that_shrinks_is_noticed(
    layout: StickLayout, volume: Volume, stick: Path, tmp_path: Path
) -> None:
    short = tmp_path / "short.iso"
    short.write_bytes(bytes(MIB))
    with open_exclusively(stick) as descriptor, pytest.raises(FailedError, match="became shorter"):
        write_stick(descriptor, short, layout, volume, quietly)


def test_a_device_that_somebody_holds_is_in_use(stick: Path) -> None:
    made = subprocess.run(["losetup", "--find", "--show", stick], capture_output=True, text=True, check=True)
    device = Path(made.stdout.strip())
    try:
        with ExitStack() as stack:
            stack.enter_context(open_exclusively(device))
            with pytest.raises(NeedsHandsError, match="in use"):
                stack.enter_context(open_exclusively(device))
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)
