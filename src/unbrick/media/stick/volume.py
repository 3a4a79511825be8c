"""The partition UNBRICK: FAT32, which any PC can open, with the site's settings and room for reports."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from unbrick.errors import UsageError
from unbrick.media.stick.layout import LABEL, MIB, SECTOR, StickLayout
from unbrick.processes.command import Runner
from unbrick.signing.signed_folder import MANIFEST_NAME, SIGNATURE_NAME, SignedFolderError, refuse_names
from unbrick.signing.signed_settings import RENAME

FOLDERS = ("outbox", "log", "playbooks")
README_NAME = "README.txt"
_TIMEOUT = 120.0
_EDGE = 4 * MIB
_SPARE = 32 * MIB
# Microsoft's FAT specification: of the sectors before the tables, the first two have a copy in the seventh
# and eighth. `_FACTS` are a volume's name and size, whether it was pulled, how much of it is free.
_RESERVED_SECTORS = 32
_SECOND_COPY = 6
_FACTS = ((3, 90), (SECTOR + 488, SECTOR + 496))
README = """\
This is the partition of an unbrick stick that any PC can open. The system itself lies beside it.

unbrick.yaml   what the stick does: its tally, its site, what happens in the end
*.csv          recovery passwords (KeyID,RecoveryKey), if the site put them here: keep the stick safe
playbooks\\     the site's own playbooks
outbox\\        reports that no tally has yet: unbrick outbox send --station unbrick.yaml,
               or at the tally: unbrick tally import TALLY THIS-FOLDER
log\\           what the stick did, for people

Settings and playbooks act only when they are signed by the site's key. After a change of any of them:
    unbrick media sign FOLDER --site-key KEY
An unsigned change is not used for repairs; the stick then only looks.

To start a machine from this stick, plug it in, switch on, and choose it in the boot menu
(mostly F12, F9, F8 or Esc). Secure Boot can stay on.
""".replace("\n", "\r\n").encode("ascii")


def make_volume(
    layout: StickLayout, files: Mapping[str, bytes], runner: Runner
) -> tuple[tuple[int, bytes], ...]:
    """The partition as `(offset in it, bytes)`: all that holds data, and both of its edges.

    `files` are relative names with slashes. Raises UsageError where they do not fit.
    """
    contents = {README_NAME: README, **files}
    _refuse_names(contents)
    if sum(len(data) for data in contents.values()) > layout.partition_size - _SPARE:
        raise UsageError("the settings do not fit on the stick", hint="take a larger stick, or smaller files")
    # In memory: the settings may hold recovery passwords.
    descriptor = os.memfd_create("unbrick-volume")
    try:
        os.ftruncate(descriptor, layout.partition_size)
        _fill(descriptor, layout, contents, runner)
        extents = list(_extents(descriptor, layout.partition_size))
        return tuple((start, os.pread(descriptor, end - start, start)) for start, end in extents)
    finally:
        os.close(descriptor)


def find_boot_files(stick: Path, layout: StickLayout, runner: Runner) -> bool:
    """Whether there is a boot loader on UNBRICK: firmware looks for one on every FAT volume.

    We put none there, and no signature covers that partition.
    """
    argv = ["mdir", "-b", "-i", f"{stick}@@{layout.partition_offset}", "::/EFI"]
    return runner.run(argv, timeout=_TIMEOUT, ok=None).returncode == 0


def read_boot_code(read: Callable[[int, int], bytes], partition_offset: int) -> bytes:
    """The sectors before a volume's tables, without what a computer changes in them (`_FACTS`)."""
    sectors = bytearray(read(partition_offset, _RESERVED_SECTORS * SECTOR))
    for first, last in _FACTS:
        for sector in (0, _SECOND_COPY):
            sectors[sector * SECTOR + first : sector * SECTOR + last] = bytes(last - first)
    return bytes(sectors)


def written_boot_code(layout: StickLayout, runner: Runner) -> bytes:
    """The same of a partition as we make it."""
    descriptor = os.memfd_create("unbrick-volume")
    try:
        os.ftruncate(descriptor, layout.partition_size)
        argv = _making(f"/proc/self/fd/{descriptor}", layout)
        runner.run(argv, timeout=_TIMEOUT, pass_fds=(descriptor,))
        return read_boot_code(lambda at, length: os.pread(descriptor, length, at), 0)
    finally:
        os.close(descriptor)


def _refuse_names(names: Iterable[str]) -> None:
    """Refuse what would get another name on the stick, where no station looks for it."""
    ours = {MANIFEST_NAME, SIGNATURE_NAME}
    inside = (f"{folder}/{README_NAME}" for folder in FOLDERS)  # no file may have the name of a folder
    try:
        refuse_names({*names, *inside} - ours)
    except SignedFolderError as error:
        raise UsageError(f"the stick cannot hold these settings: {error.message}", hint=RENAME) from error


def _fill(descriptor: int, layout: StickLayout, contents: Mapping[str, bytes], runner: Runner) -> None:
    image, handed = f"/proc/self/fd/{descriptor}", (descriptor,)
    runner.run(_making(image, layout), timeout=_TIMEOUT, pass_fds=handed)
    parents = {str(parent) for name in contents for parent in Path(name).parents if str(parent) != "."}
    folders = sorted({*FOLDERS, *parents})
    argv = ["mmd", "-i", image, *(f"::/{folder}" for folder in folders)]
    runner.run(argv, timeout=_TIMEOUT, pass_fds=handed)
    for name, data in sorted(contents.items()):
        argv = ["mcopy", "-i", image, "-", f"::/{name}"]
        runner.run(argv, timeout=_TIMEOUT, stdin=data, pass_fds=handed)


def _making(image: str, layout: StickLayout) -> list[str]:
    sectors_before = layout.partition_offset // SECTOR
    return ["mkfs.fat", "-F", "32", "-n", LABEL, "-i", layout.volume_id, "-h", str(sectors_before), image]


def _extents(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Start and end of what holds data, and of both edges: there are the marks of an earlier content."""
    found = [(0, _EDGE), (size - _EDGE, size)]
    position = _seek(descriptor, 0, os.SEEK_DATA, size)
    while position < size:
        end = _seek(descriptor, position, os.SEEK_HOLE, size)
        found.append((position, end))
        position = _seek(descriptor, end, os.SEEK_DATA, size)
    found.sort()
    start, end = found[0]
    for next_start, next_end in found[1:]:
        if next_start > end:
            yield start, end
            start = next_start
        end = max(end, next_end)
    yield start, end


def _seek(descriptor: int, offset: int, whence: int, size: int) -> int:
    try:
        return min(os.lseek(descriptor, offset, whence), size)
    except OSError:  # ENXIO: no data any more
        return size
