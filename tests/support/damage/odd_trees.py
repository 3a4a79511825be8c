"""Trees that are sound and odd: compressed, sparse, encrypted, with further names, links, two spellings."""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from support.bricked_volume import mounted, place
from support.damage.ntfs_bytes import FILE_NAME, ROOT, STANDARD, NtfsBytes, attributes
from support.damage.paths import CROWDSTRIKE, FAULTY, FAULTY_TIME, USERS

from unbrick.windows.ntfs_file import (
    FileAttributes,
    NtfsTimes,
    read_attributes,
    write_attributes,
    write_times,
)

_WOF = 0x80000017
_DRIVERS = "\\Windows\\System32\\drivers"


def _rewrite(root: Path, content: bytes, hole: int = 0) -> None:
    """The fault once more, as its folder has new files, with a hole behind it."""
    faulty = place(root, FAULTY)
    faulty.unlink()
    faulty.write_bytes(content)
    if hole:
        os.truncate(faulty, len(content) + hole)
        with faulty.open("r+b") as stream:
            stream.seek(0, os.SEEK_END)
            stream.write(content)
    write_times(faulty, NtfsTimes(FAULTY_TIME, FAULTY_TIME, FAULTY_TIME, 0))


def _compressed(image: Path, mountpoint: Path) -> None:
    with mounted(image, mountpoint, "compression") as root:
        content = place(root, FAULTY).read_bytes()
        for folder in (root, place(root, _DRIVERS), place(root, CROWDSTRIKE), place(root, USERS)):
            write_attributes(folder, read_attributes(folder) | FileAttributes.COMPRESSED)
        _rewrite(root, content[:8] + b"compressible" * 3_000)
        (place(root, USERS) / "compressed.txt").write_bytes(b"again and again " * 20_000)


def _sparse(image: Path, mountpoint: Path) -> None:
    with mounted(image, mountpoint) as root:
        _rewrite(root, place(root, FAULTY).read_bytes()[:16_384], hole=3 << 20)
        with (place(root, USERS) / "sparse.vhd").open("wb") as stream:
            for at in (0, 1 << 20, 9 << 20):
                stream.seek(at)
                stream.write(b"block" * 2_000)


def _encrypted(image: Path, mountpoint: Path) -> None:
    """The flag of EFS on folders and on a user's file; no driver here can encrypt."""
    data = bytearray(image.read_bytes())
    volume = NtfsBytes(data)
    paths = (_DRIVERS, CROWDSTRIKE, USERS, f"{USERS}\\letter 003.docx")
    for number in (ROOT, *map(volume.find_record, paths)):
        record = volume.read(number)
        for attribute in attributes(record):
            at = {STANDARD: 32, FILE_NAME: 56}.get(attribute.kind)
            if at is not None:
                (flags,) = struct.unpack_from("<I", record, attribute.value_at + at)
                struct.pack_into("<I", record, attribute.value_at + at, flags | FileAttributes.ENCRYPTED)
        volume.write(number, record)
    image.write_bytes(data)


def _many_names(image: Path, mountpoint: Path) -> None:
    """The fault has a name in its folder twice, one in a user's folder, one in the root."""
    with mounted(image, mountpoint) as root:
        faulty = place(root, FAULTY)
        for other in (
            faulty.with_name("C-00000291-00000000-00000031.sys"),
            place(root, USERS) / "channel.sys",
            root / "C-00000291-00000000-00000032.sys",
        ):
            os.link(faulty, other)


def _two_spellings(image: Path, mountpoint: Path) -> None:
    """A user's file, and a folder, whose names differ from the fault's only by case."""
    with mounted(image, mountpoint) as root:
        faulty = place(root, FAULTY)
        (faulty.with_name(faulty.name.swapcase())).write_bytes(b"a report, and none of any driver's" * 99)
        (root / "windows").mkdir()
        (root / "windows" / "notes.txt").write_bytes(b"of a program for two systems")


def _fault_is_a_link(image: Path, mountpoint: Path) -> None:
    with mounted(image, mountpoint) as root:
        faulty, kept = place(root, FAULTY), place(root, USERS) / "channel.sys"
        faulty.rename(kept)
        faulty.symlink_to(os.path.relpath(kept, faulty.parent))


def _folder_is_a_link(image: Path, mountpoint: Path) -> None:
    with mounted(image, mountpoint) as root:
        folder, kept = place(root, CROWDSTRIKE), place(root, USERS) / "CrowdStrike"
        folder.rename(kept)
        folder.symlink_to(os.path.relpath(kept, folder.parent))


def _quarantine_is_a_link(image: Path, mountpoint: Path) -> None:
    with mounted(image, mountpoint) as root:
        (root / "Unbrick").symlink_to(os.path.relpath(place(root, USERS), root))


def _packed(image: Path, mountpoint: Path) -> None:
    """The fault as `compact /exe` leaves a file: a reparse point, and its content in a stream."""
    with mounted(image, mountpoint) as root:
        faulty = place(root, FAULTY)
        os.setxattr(faulty, "user.WofCompressedData", faulty.read_bytes()[:9_000])
        body = struct.pack("<4I", 1, 2, 1, 0)
        os.setxattr(faulty, "system.ntfs_reparse_data", struct.pack("<IHH", _WOF, len(body), 0) + body)


def _full_root(image: Path, mountpoint: Path) -> None:
    """The next name in the root, near that of the quarantine, splits a block of its index."""
    scratch = image.with_name("scratch.img")
    shutil.copyfile(image, scratch)
    with mounted(scratch, mountpoint) as root:
        names = list(_names_until_a_split(root))
    scratch.unlink()
    with mounted(image, mountpoint) as root:
        for name in names[:-1]:
            (root / name).write_bytes(b"")


def _names_until_a_split(root: Path) -> Iterator[str]:
    """Makes them; a split or two come before that of the index's only block, which others follow."""
    size, splits = root.stat().st_size, 0
    for number in range(2_000):
        name = f"Unbr{number:03}"
        (root / name).write_bytes(b"")
        yield name
        splits += root.stat().st_size > size
        size = root.stat().st_size
        if splits == 3:
            return


def _object_ids(image: Path, mountpoint: Path) -> None:
    """The fault and many other files have object ids, as whatever a shortcut has led to."""
    with mounted(image, mountpoint) as root:
        files = [place(root, FAULTY), *sorted(place(root, USERS).glob("note *"))[:80]]
        for number, path in enumerate(files, 1):
            os.setxattr(path, "system.ntfs_object_id", struct.pack("<IQI", number, FAULTY_TIME, number))


TREES: dict[str, Callable[[Path, Path], None]] = {
    "compressed": _compressed,
    "sparse": _sparse,
    "encrypted": _encrypted,
    "many-names": _many_names,
    "two-spellings": _two_spellings,
    "linked-fault": _fault_is_a_link,
    "linked-folder": _folder_is_a_link,
    "linked-quarantine": _quarantine_is_a_link,
    "packed": _packed,
    "full-root": _full_root,
    "object-ids": _object_ids,
}
LEFT_ALONE = {"two-spellings", "linked-fault", "linked-folder", "packed"}
"""Those in which a person has to look, or nothing is to be done."""
