"""Disk images as hostile input: formats agree with names, nothing outside their folder, in use, cut off."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.disk_bytes import MIB, windows_disk

from unbrick.disks.discover import Opening, Purpose, open_disk
from unbrick.disks.disk import Disk
from unbrick.disks.images import export
from unbrick.disks.images.image import ImageFormat, examine_image
from unbrick.errors import FailedError, NeedsHandsError, UnbrickError
from unbrick.processes.command import SystemRunner, wait_until

RUNNER = SystemRunner()
SIZE = 8 * MIB
TIMEOUT = 60
WRITTEN_AT = 4 * MIB
MARK = b"written through the export"


def qemu_img(*argv: str) -> None:
    RUNNER.run(["qemu-img", *argv], timeout=TIMEOUT)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = tmp_path / "images"
    images.mkdir()
    (tmp_path / "work").mkdir()
    return images.resolve()


@pytest.fixture
def raw(folder: Path) -> Path:
    path = folder / "disk.img"
    path.write_bytes(windows_disk(SIZE))
    return path


def convert(raw: Path, name: str, image_format: str, *options: str) -> Path:
    target = raw.with_name(name)
    qemu_img("convert", "-f", "raw", "-O", image_format, *options, str(raw), str(target))
    return target


@contextmanager
def opened(path: Path, given: ImageFormat | None = None) -> Iterator[Disk]:
    """An image opened to be looked at: whatever happens, no byte of the files in its folder changes."""
    before = digests(path.parent)
    with open_disk(path, RUNNER, path.parent.parent / "work", Opening(image_format=given)) as disk:
        yield disk
    assert digests(path.parent) == before


@contextmanager
def opened_for_writing(path: Path) -> Iterator[Disk]:
    with open_disk(path, RUNNER, path.parent.parent / "work", Opening(Purpose.WRITE)) as disk:
        yield disk.open_for_writing()


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.iterdir() if path.is_file() and not path.is_symlink()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def refusal(path: Path) -> str | None:
    """The reason an image is refused for; nothing may be left behind, nothing written."""
    before = path.read_bytes() if path.stat().st_size <= 64 * MIB else b""
    with pytest.raises(NeedsHandsError) as caught, opened(path):
        pass
    assert caught.value.hint != ""
    assert "\n" not in caught.value.message
    assert before in (path.read_bytes(), b"")
    assert nothing_left(path)
    return caught.value.reason


def nothing_left(path: Path) -> bool:
    work = path.parent.parent / "work"
    return not list(work.iterdir()) and str(work) not in Path("/proc/self/mountinfo").read_text()


FORMATS = [
    ("disk.qcow2", "qcow2", ()),
    ("old.qcow2", "qcow2", ("-o", "compat=0.10")),
    ("packed.qcow2", "qcow2", ("-c",)),
    ("small.qcow2", "qcow2", ("-o", "cluster_size=4096,refcount_bits=1")),
    ("extended.qcow2", "qcow2", ("-o", "extended_l2=on,cluster_size=128k")),
    ("disk.vhdx", "vhdx", ()),
    ("fixed.vhdx", "vhdx", ("-o", "subformat=fixed")),
    ("disk.vmdk", "vmdk", ()),
    ("flat.vmdk", "vmdk", ("-o", "subformat=monolithicFlat")),
    ("split.vmdk", "vmdk", ("-o", "subformat=twoGbMaxExtentSparse")),
    ("splitflat.vmdk", "vmdk", ("-o", "subformat=twoGbMaxExtentFlat")),
]


@pytest.mark.parametrize(("name", "image_format", "options"), FORMATS, ids=[f[0] for f in FORMATS])
def test_every_format_is_read_and_written(
    raw: Path, name: str, image_format: str, options: list[str]
) -> None:
    image = convert(raw, name, image_format, *options)
    with opened_for_writing(image) as disk:
        assert disk.size == disk.raw.stat().st_size == SIZE
        assert [volume.kind.value for volume in disk.volumes] == ["fat", "ntfs"]
        with disk.raw.open("r+b", buffering=0) as stream:
            stream.seek(WRITTEN_AT)
            stream.write(MARK)
        disk.sync()
    assert nothing_left(image)
    with opened(image) as disk, disk.raw.open("rb") as stream:
        stream.seek(WRITTEN_AT)
        assert stream.read(len(MARK)) == MARK
    if image_format == "qcow2":
        qemu_img("check", str(image))


def test_sync_brings_what_was_written_into_the_image(raw: Path) -> None:
    image = convert(raw, "disk.qcow2", "qcow2")
    copy = image.with_name("copy.qcow2")
    # The stream stays open, because closing it would flush by itself.
    with opened_for_writing(image) as disk, disk.raw.open("r+b", buffering=0) as stream:
        stream.seek(WRITTEN_AT)
        stream.write(MARK)
        disk.sync()
        # What lies in the image file now is what a power cut would leave.
        shutil.copyfile(image, copy)
    with opened(copy) as disk, disk.raw.open("rb") as stream:
        stream.seek(WRITTEN_AT)
        assert stream.read(len(MARK)) == MARK


@pytest.mark.parametrize(
    "name", ["disk.qcow2", "disk.vhdx", "disk.vmdk", "disk.vhd", "disk.vdi", "disk", "d.E01"]
)
def test_a_raw_disk_under_another_name_is_refused(raw: Path, name: str) -> None:
    other = raw.with_name(name)
    raw.rename(other)
    assert refusal(other) == "image-mismatch"


@pytest.mark.parametrize(
    ("image_format", "options"),
    [("qcow2", ()), ("qcow", ()), ("vhdx", ()), ("vmdk", ()), ("vmdk", ("-o", "subformat=monolithicFlat")),
     ("vpc", ()), ("vpc", ("-o", "subformat=fixed")), ("vdi", ()), ("qed", ()), ("parallels", ())],
)  # fmt: skip
def test_another_format_under_a_raw_name_is_refused(raw: Path, image_format: str, options: list[str]) -> None:
    assert refusal(convert(raw, "other.img", image_format, *options)) == "image-mismatch"


def test_a_raw_disk_whose_guest_wrote_a_qcow2_header_is_refused(raw: Path) -> None:
    header = raw.with_name("header.qcow2")
    qemu_img("create", "-q", "-f", "qcow2", "-u", "-b", "/etc/shadow", "-F", "raw", str(header), "8M")
    with raw.open("r+b") as stream:
        stream.write(header.read_bytes()[:512])
    assert refusal(raw) == "image-mismatch"


@pytest.mark.parametrize(
    "backing",
    ["/etc/passwd", "../outside.img", "sub/inside.img", "nbd:localhost:10809", 'json:{"driver":"nbd"}',
     "link.img", "pipe.img", "absent.img", "self.qcow2"],
)  # fmt: skip
def test_a_backing_file_anywhere_but_beside_the_image_is_refused(raw: Path, backing: str) -> None:
    shutil.copyfile(raw, raw.parent.parent / "outside.img")
    raw.with_name("link.img").symlink_to("/etc/passwd")
    os.mkfifo(raw.with_name("pipe.img"))
    raw.with_name("sub").mkdir()
    shutil.copyfile(raw, raw.with_name("sub") / "inside.img")
    image = raw.with_name("self.qcow2")
    qemu_img("create", "-q", "-f", "qcow2", "-u", "-b", backing, "-F", "raw", str(image), "8M")
    assert refusal(image) == ("truncated" if backing == "absent.img" else "image-unsafe")


def test_nothing_below_an_image_is_left_to_qemus_guessing(raw: Path) -> None:
    for name, image_format in (("disk.qcow2", "qcow2"), ("disk.vmdk", "vmdk")):
        node = examine_image(convert(raw, name, image_format)).node
        assert (node["driver"], node["backing"], node["file"]["driver"]) == (image_format, None, "file")


def test_a_chain_of_images_in_one_folder_is_opened_and_only_its_top_is_written(raw: Path) -> None:
    qemu_img("create", "-q", "-f", "qcow2", "-b", str(raw), "-F", "raw", str(raw.with_name("middle.qcow2")))
    top = raw.with_name("top.qcow2")
    qemu_img("create", "-q", "-f", "qcow2", "-b", "middle.qcow2", "-F", "qcow2", str(top))
    below = {path: path.read_bytes() for path in (raw, raw.with_name("middle.qcow2"))}
    with opened_for_writing(top) as disk:
        assert [volume.kind.value for volume in disk.volumes] == ["fat", "ntfs"]
        with disk.raw.open("r+b", buffering=0) as stream:
            stream.seek(WRITTEN_AT)
            stream.write(MARK)
    assert below == {path: path.read_bytes() for path in below}


def test_a_backing_file_whose_content_belies_its_name_is_refused(raw: Path) -> None:
    secret = raw.with_name("secret.qcow2")
    qemu_img("create", "-q", "-f", "qcow2", "-u", "-b", "/etc/passwd", "-F", "raw", str(secret), "8M")
    base = raw.with_name("base.img")
    secret.rename(base)
    top = raw.with_name("top.qcow2")
    qemu_img("create", "-q", "-f", "qcow2", "-u", "-b", "base.img", "-F", "raw", str(top), "8M")
    assert refusal(top) == "image-mismatch"


def test_backing_files_in_a_circle_are_refused(folder: Path) -> None:
    for own, other in (("a.qcow2", "b.qcow2"), ("b.qcow2", "a.qcow2")):
        path = str(folder / own)
        qemu_img("create", "-q", "-f", "qcow2", "-u", "-b", other, "-F", "qcow2", path, "8M")
    assert refusal(folder / "a.qcow2") == "image-unsafe"


def test_a_data_file_is_opened_beside_the_image_only(raw: Path) -> None:
    image = raw.with_name("top.qcow2")
    data = raw.with_name("top-data.raw")
    qemu_img("create", "-q", "-f", "qcow2", "-o", f"data_file={data},data_file_raw=on", str(image), "8M")
    data.write_bytes(raw.read_bytes())
    with opened(image) as disk:
        assert [volume.kind.value for volume in disk.volumes] == ["fat", "ntfs"]
    shutil.move(data, raw.parent.parent / "top-data.raw")
    data.symlink_to(raw.parent.parent / "top-data.raw")
    assert refusal(image) == "image-unsafe"


@pytest.mark.parametrize(
    ("at", "value", "reason"),
    [
        (32, struct.pack(">I", 1), "image-unsafe"),  # encrypted
        (24, struct.pack(">Q", 1 << 62), "image-unsafe"),  # absurd size
        (24, struct.pack(">Q", 0), "image-unsafe"),
        (20, struct.pack(">I", 40), "image-unsafe"),  # absurd clusters
        (36, struct.pack(">I", 1 << 30), "truncated"),  # absurd first-level table
        (56, struct.pack(">I", 1 << 30), "truncated"),  # absurd reference counts
        (72, struct.pack(">Q", 1 << 1), "image-unsafe"),  # marked corrupt
        (72, struct.pack(">Q", 1 << 40), "image-unsafe"),  # a feature from the future
        (4, struct.pack(">I", 9), "image-unsafe"),
    ],
)
def test_a_qcow2_header_that_makes_no_sense_is_refused(raw: Path, at: int, value: bytes, reason: str) -> None:
    image = convert(raw, "disk.qcow2", "qcow2")
    with image.open("r+b") as stream:
        stream.seek(at)
        stream.write(value)
    assert refusal(image) == reason


@pytest.mark.parametrize(("name", "image_format", "options"), FORMATS, ids=[f[0] for f in FORMATS])
def test_a_cut_off_image_is_truncated(raw: Path, name: str, image_format: str, options: list[str]) -> None:
    content = bytearray(raw.read_bytes())
    content[3 * MIB : 6 * MIB] = os.urandom(3 * MIB)
    raw.write_bytes(content)
    image = convert(raw, name, image_format, *options)
    raw.unlink()
    files = sorted(image.parent.iterdir(), key=lambda path: path.stat().st_size)
    os.truncate(files[-1], files[-1].stat().st_size * 3 // 4 // 512 * 512)
    assert refusal(image) in {"truncated", "image-unsafe"}


def vmdk_descriptor(folder: Path, lines: str, kind: str = "monolithicFlat", more: str = "") -> Path:
    path = folder / "disk.vmdk"
    path.write_text(
        "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n"
        f'createType="{kind}"\n{more}\n# Extent description\n{lines}\n'
    )
    return path


@pytest.mark.parametrize(
    "extent",
    ['RW 16384 FLAT "/etc/shadow" 0', 'RW 16384 FLAT "../outside.img" 0', 'RW 16384 FLAT "sub/disk.img" 0',
     'RW 16384 FLAT "link.img" 0', 'RW 16384 FLAT "disk.img" 99999999', 'RW 999999999 FLAT "disk.img" 0',
     'RW\t16384 FLAT "disk.img" 0 junk', 'RW\n16384 FLAT "/etc/shadow" 0', 'RDONLY 65536 FLAT "disk.img" 0',
     'RW 16384 ZERO', 'RW 16384 SPARSE "disk.img"', 'RW 16384 FLAT "disk.vmdk" 0',
     'RW 16384 FLAT "absent.img" 0', '\nRW 16384 FLAT "disk.img" 0',
     'RW 16384 FLAT "nbd:localhost:1" 0', "", 'RW 100 FLAT "disk.img" 0\nRW 100 FLAT "disk.img" 100'],
)  # fmt: skip
def test_a_vmdk_extent_anywhere_but_beside_the_image_is_refused(raw: Path, extent: str) -> None:
    shutil.copyfile(raw, raw.parent.parent / "outside.img")
    raw.with_name("sub").mkdir()
    shutil.copyfile(raw, raw.with_name("sub") / "disk.img")
    raw.with_name("link.img").symlink_to("/etc/passwd")
    assert refusal(vmdk_descriptor(raw.parent, extent)) in {"image-unsafe", "truncated"}


@pytest.mark.parametrize(
    "part",
    ["other.img", "other-flat.vmdk", "disk-2.img", "disk-2-flat.vmdk", "disk.exa.img", "disk2.img", "d.img"],
)
def test_a_part_with_another_machines_name_is_refused(raw: Path, part: str) -> None:
    shutil.copyfile(raw, raw.with_name(part))
    assert refusal(vmdk_descriptor(raw.parent, f'RW 16384 FLAT "{part}" 0')) == "image-unsafe"
    image = raw.with_name("disk.qcow2")
    options = f"data_file={raw.with_name(part)},data_file_raw=on"
    qemu_img("create", "-q", "-f", "qcow2", "-o", options, str(image), "8M")
    shutil.copyfile(raw, raw.with_name(part))
    assert refusal(image) == "image-unsafe"


@pytest.mark.parametrize("image_format", ["qcow2", "vhdx", "vmdk", "vdi", "vpc"])
def test_a_part_that_is_an_image_by_itself_is_refused(raw: Path, image_format: str) -> None:
    convert(raw, "disk-flat.vmdk", image_format)
    assert refusal(vmdk_descriptor(raw.parent, 'RW 64 FLAT "disk-flat.vmdk" 0')) == "image-unsafe"


def test_an_extent_that_is_a_whole_vmdk_by_itself_is_refused(raw: Path) -> None:
    convert(raw, "disk-s001.vmdk", "vmdk")
    descriptor = vmdk_descriptor(raw.parent, 'RW 16384 SPARSE "disk-s001.vmdk"', "twoGbMaxExtentSparse")
    assert refusal(descriptor) == "image-unsafe"


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("disk.vhdx", (65536 + 4, 131072 + 4)),  # the checksum of both headers
        ("disk.vhdx", (192 * 1024 + 4, 256 * 1024 + 4)),  # of both region tables
        ("disk.qcow2", (63, 71)),  # a snapshot that begins at no cluster's start
        ("disk.qcow2", (47,)),  # so does the first-level table
    ],
)
def test_an_image_that_only_qemu_finds_damaged_has_a_reason_and_a_sentence(
    raw: Path, name: str, places: tuple[int, ...]
) -> None:
    image = convert(raw, name, Path(name).suffix[1:])
    content = bytearray(image.read_bytes())
    for place in places:
        content[place] ^= 1
    image.write_bytes(content)
    for purpose in Purpose:
        work = image.parent.parent / "work"
        with pytest.raises(NeedsHandsError) as caught, open_disk(image, RUNNER, work, Opening(purpose)):
            pass
        assert caught.value.reason == "damaged-image"
        assert caught.value.hint
        assert f"{image}: the image is damaged: " in caught.value.message
        for word in ("--blockdev", "{", "qemu-storage-daemon"):
            assert word not in caught.value.message


def test_damage_that_shows_while_reading_points_at_the_image(raw: Path) -> None:
    image = convert(raw, "disk.qcow2", "qcow2")
    content = bytearray(image.read_bytes())
    (first_level,) = struct.unpack_from(">Q", content, 40)
    second_level = struct.unpack_from(">Q", content, first_level)[0] & 0x00FFFFFFFFFFFE00
    content[second_level + 6] |= 2  # the disk's first cluster begins at no cluster's start
    image.write_bytes(content)
    with pytest.raises(UnbrickError) as caught, opened(image):
        pass
    assert caught.value.reason == "unreadable-disk"
    assert "qemu-img check" in str(caught.value.hint)
    assert image.read_bytes() == content, "QEMU would mark it as corrupt, were it open for writing"


def test_a_vmdk_of_a_snapshot_or_of_another_type_is_refused(raw: Path) -> None:
    extent = 'RW 16384 FLAT "disk.img" 0'
    with opened(vmdk_descriptor(raw.parent, extent)) as disk:
        assert len(disk.volumes) == 2
    hint = 'parentFileNameHint="/etc/passwd"'
    assert refusal(vmdk_descriptor(raw.parent, extent, more=hint)) == "image-unsafe"
    assert refusal(vmdk_descriptor(raw.parent, extent, "fullDevice")) == "image-unsafe"
    assert refusal(convert(raw, "stream.vmdk", "vmdk", "-o", "subformat=streamOptimized")) == "image-unsafe"
    image = convert(raw, "packed.vmdk", "vmdk")
    with image.open("r+b") as stream:
        stream.seek(8)
        stream.write(struct.pack("<I", 3 | 1 << 16))  # compressed grains, whatever the descriptor says
    assert refusal(image) == "image-unsafe"


def test_a_vmdk_whose_header_hides_a_second_descriptor_is_refused(raw: Path) -> None:
    image = convert(raw, "hidden.vmdk", "vmdk")
    with image.open("r+b") as stream:
        stream.seek(12)
        stream.write(bytes(8))  # capacity 0: QEMU would take the extents from the embedded descriptor
    assert refusal(image) == "image-unsafe"


def vhdx_metadata(path: Path) -> tuple[bytearray, int]:
    raw = bytearray(path.read_bytes())
    wanted = UUID("CAA16737-FA36-4D43-B3B6-33F0AA44E76B").bytes_le
    entry = raw.find(wanted)
    table = raw.rfind(b"metadata", 0, entry)
    return raw, table + struct.unpack_from("<I", raw, entry + 16)[0]


def test_a_differencing_vhdx_is_refused(raw: Path) -> None:
    image = convert(raw, "child.vhdx", "vhdx")
    content, parameters = vhdx_metadata(image)
    content[parameters + 4] |= 2
    image.write_bytes(content)
    assert refusal(image) == "image-unsafe"


@pytest.mark.parametrize("name", ["disk.img", "disk.qcow2", "disk.vmdk"])
def test_an_image_of_a_running_machine_is_in_use(raw: Path, name: str) -> None:
    image_format = {".img": "raw"}.get(Path(name).suffix, Path(name).suffix[1:])
    image = raw if name == raw.name else convert(raw, name, image_format)
    node = {"driver": image_format, "node-name": "d", "file": {"driver": "file", "filename": str(image)}}
    socket = image.parent / "s"
    argv = ["qemu-storage-daemon", "--blockdev", json.dumps(node)]
    argv += ["--nbd-server", f"addr.type=unix,addr.path={socket}"]
    argv += ["--export", "nbd,id=e,node-name=d,writable=on"]
    machine = RUNNER.start(argv)
    try:
        wait_until(machine, socket.exists, timeout=TIMEOUT, what="the machine")
        assert refusal(image) == "disk-in-use"
    finally:
        machine.stop(TIMEOUT)
    with opened(image) as disk:
        assert len(disk.volumes) == 2


def test_a_writer_a_loop_device_and_a_vmware_lock_are_seen(raw: Path) -> None:
    with raw.open("ab") as stream:
        writer = subprocess.Popen(["sleep", "60"], stdout=stream)
    try:
        assert refusal(raw) == "disk-in-use"
    finally:
        writer.kill()
        writer.wait()
    loop = RUNNER.run(["losetup", "--find", "--show", str(raw)], timeout=TIMEOUT).stdout.decode().strip()
    try:
        assert refusal(raw) == "disk-in-use"
    finally:
        RUNNER.run(["losetup", "--detach", loop], timeout=TIMEOUT)
    lock = raw.with_name("disk.img.lck")
    lock.mkdir()
    assert refusal(raw) == "disk-in-use"
    lock.rmdir()
    with opened(raw):
        pass


@pytest.mark.parametrize("name", ["disk.img", "disk.qcow2"])
def test_no_machine_and_no_second_run_can_take_an_image_that_is_open(raw: Path, name: str) -> None:
    image = raw if name == raw.name else convert(raw, name, "qcow2")
    image_format = "raw" if image is raw else "qcow2"
    with opened(image):
        machine = RUNNER.run(
            ["qemu-io", "-f", image_format, "-c", "read 0 512", str(image)], timeout=TIMEOUT, ok=None
        )
        assert b"lock" in machine.stderr
        with pytest.raises(NeedsHandsError) as caught, opened(image):
            pass
        assert caught.value.reason == "disk-in-use"
    with opened(image):
        pass


def test_a_base_image_that_another_machine_writes_is_in_use(raw: Path) -> None:
    top = raw.with_name("top.qcow2")
    qemu_img("create", "-q", "-f", "qcow2", "-b", str(raw), "-F", "raw", str(top))
    with opened(raw):
        assert refusal(top) == "disk-in-use"


def test_a_storage_daemon_that_is_killed_is_told_and_leaves_nothing(
    raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = convert(raw, "disk.qcow2", "qcow2")
    started = []

    class Watching(SystemRunner):
        def start(self, argv, **how):  # type: ignore[no-untyped-def]
            server = super().start(argv, **how)
            started.append(server)
            return server

    work = image.parent.parent / "work"

    def kill_the_newest(disk: Disk) -> None:
        started[-1]._process.kill()  # type: ignore[attr-defined]

    with (
        pytest.raises(FailedError, match="qemu-storage-daemon ended"),
        open_disk(image, Watching(), work) as disk,
    ):
        kill_the_newest(disk)
    with (
        pytest.raises(FailedError, match="last writes may be missing"),
        open_disk(image, Watching(), work, Opening(Purpose.WRITE)) as disk,
    ):
        kill_the_newest(disk.open_for_writing())
    assert nothing_left(image)


def test_an_error_in_the_work_is_passed_on_and_leaves_nothing(raw: Path) -> None:
    image = convert(raw, "disk.qcow2", "qcow2")
    with pytest.raises(KeyError), opened(image):
        raise KeyError("the work failed")
    assert nothing_left(image)


def test_a_size_that_qemu_reads_differently_is_refused(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = convert(raw, "disk.qcow2", "qcow2")
    examined = replace(examine_image(image), virtual_size=SIZE + 512)
    work = image.parent.parent / "work"
    with (
        pytest.raises(NeedsHandsError, match="different sizes"),
        export.export_raw(examined, RUNNER, work, writable=False),
    ):
        pass
    assert nothing_left(image)


@pytest.mark.parametrize("name", ["disk.qcow2", "disk.vhdx", "disk.vmdk"])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_headers_are_examined_or_refused(raw: Path, name: str, data: st.DataObject) -> None:
    whole = raw.with_name("whole" + Path(name).suffix)
    if not whole.exists():
        convert(raw, whole.name, Path(name).suffix[1:])
    content = bytearray(whole.read_bytes())
    for position, value in data.draw(
        st.lists(st.tuples(st.integers(0, min(len(content), 3 * MIB) - 1), st.integers(0, 255)), max_size=30)
    ):
        content[position % 512 if position % 3 else position] = value
    image = raw.with_name(name)
    image.write_bytes(content)
    assert examined_reason(image) in {None, "image-mismatch", "image-unsafe", "truncated"}


def examined_reason(image: Path) -> str | None:
    try:
        examine_image(image)
    except UnbrickError as error:
        return error.reason or "no reason"
    return None
