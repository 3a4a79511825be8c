"""Small NTFS volumes in every state a Windows can leave one in, made on the spot with mkntfs and ntfs-3g."""

from __future__ import annotations

import os
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unbrick.disks.ntfs.file_table import find_data
from unbrick.disks.ntfs.structures import Geometry, Run, open_view, read_geometry

PAGE = 4096
MIB = 1 << 20


def make_volume(path: Path, size: int = 32 * MIB) -> Path:
    """A fresh NTFS volume; its log is empty."""
    with path.open("wb") as stream:
        stream.truncate(size)
    command = ["mkntfs", "-F", "-q", "-Q", "-L", "Windows", "-p", "2048", "-H", "255", "-S", "63", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


@contextmanager
def filled(volume: Path, root: Path) -> Iterator[Path]:
    """The volume mounted for writing, the way a test fills it; ended when the context is left."""
    root.mkdir(exist_ok=True)
    command = ["ntfs-3g", "-o", "no_detach,streams_interface=xattr", str(volume), str(root)]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while root.stat().st_dev == root.parent.stat().st_dev:
        assert server.poll() is None
        time.sleep(0.002)
    try:
        yield root
    finally:
        subprocess.run(["umount", root], check=True)
        assert server.wait(60) == 0


def protect(page: bytearray, update_sequence: int = 0x0007) -> bytes:
    """Put the update sequence in, as NTFS does before it writes a block of several sectors."""
    (offset,) = struct.unpack_from("<H", page, 4)
    struct.pack_into("<H", page, offset, update_sequence)
    for sector in range(len(page) // 512):
        tail = sector * 512 + 510
        page[offset + 2 + 2 * sector : offset + 4 + 2 * sector] = page[tail : tail + 2]
        struct.pack_into("<H", page, tail, update_sequence)
    return bytes(page)


def restart_page(
    *, current: int, oldest: int, clean: bool = False, version: tuple[int, int] = (1, 1), size: int = MIB
) -> bytes:
    """A restart page of `$LogFile`, as `logfile.h` of ntfs-3g documents it."""
    page = bytearray(PAGE)
    struct.pack_into("<4sHHQIIHhh", page, 0, b"RSTR", 0x1E, 9, 0, PAGE, PAGE, 0x30, version[1], version[0])
    bits = 67 - size.bit_length()
    area = struct.pack(
        "<QHHHHIHHQIHHII", current, 1, 0xFFFF, 0, 2 * clean, bits, 0xE0, 0x40, size, 0, 0x30, 0x40, 1, 0
    )
    client = struct.pack("<QQHHH6xI128s", oldest, current, 0xFFFF, 0xFFFF, 0, 8, "NTFS".encode("utf-16-le"))
    page[0x30 : 0x30 + len(area)] = area
    page[0x70 : 0x70 + len(client)] = client
    return protect(page)


def record_page(number: int) -> bytes:
    """A page of log records that ends with that log sequence number; its records are nonsense."""
    page = bytearray(PAGE)
    struct.pack_into("<4sHHQIHHH6xQ", page, 0, b"RCRD", 0x28, 9, number, 1, 1, 1, 0x60, number)
    return protect(page)


def log_runs(volume: Path) -> tuple[Geometry, tuple[Run, ...]]:
    """Where `$LogFile` lies."""
    with open_view(volume) as view:
        geometry = read_geometry(view)
        log = find_data(view, geometry, 2)
    assert log is not None
    return geometry, log.runs


def write_log(volume: Path, *pages: bytes) -> None:
    """Put pages at the beginning of the log."""
    _, runs = log_runs(volume)
    data = b"".join(pages)
    assert runs[0].offset is not None
    assert len(data) <= runs[0].length
    with volume.open("r+b") as stream:
        stream.seek(runs[0].offset)
        stream.write(data)


def leave_log_open(volume: Path, *, version: tuple[int, int] = (1, 1), pending: bool = False) -> None:
    """Make the journal that of a machine that lost its power; nothing in it can be replayed."""
    restart = restart_page(current=0x4000, oldest=0x3000, version=version)
    write_log(volume, restart, restart, *([record_page(0x5000)] if pending else []))


def volume_flags(volume: Path) -> str:
    """The volume's flags as an independent reader, ntfsinfo, says them."""
    done = subprocess.run(["ntfsinfo", "-m", "-f", volume], capture_output=True, text=True, check=True)
    return next(line.split(":", 1)[1].strip() for line in done.stdout.splitlines() if "Volume Flags" in line)


def is_marked_dirty(volume: Path) -> bool:
    """The dirty flag, also of a mounted volume (ntfsinfo reads none); table and mirror must agree."""
    with volume.open("rb") as stream:
        flags = {os.pread(stream.fileno(), 1, place)[0] & 1 for place in _flag_places(volume)}
    assert len(flags) == 1, "the file table and its mirror differ"
    return flags == {1}


def mark_dirty(volume: Path, *, dirty: bool = True) -> None:
    """Set (or clear) the dirty flag in the file table and its mirror."""
    with volume.open("r+b") as stream:
        for place in _flag_places(volume):
            os.pwrite(stream.fileno(), bytes([dirty]), place)


def _flag_places(volume: Path) -> list[int]:
    """Where the flag is, found by its bytes and not by our own reader."""
    geometry, _ = log_runs(volume)
    places = []
    with volume.open("rb") as stream:
        for table in (geometry.mft, geometry.mirror):
            at = table + 3 * geometry.record
            record = os.pread(stream.fileno(), geometry.record, at)
            places.append(at + record.index(struct.pack("<II", 0x70, 0x28)) + 0x18 + 10)
    return places


def hibernate(volume: Path, root: Path, first_bytes: bytes = b"HIBR") -> None:
    """Give the volume a hibernation file of 64 KiB that begins like that."""
    with filled(volume, root) as top:
        (top / "hiberfil.sys").write_bytes(first_bytes.ljust(4096, b"\0") + os.urandom(60 * 1024))
