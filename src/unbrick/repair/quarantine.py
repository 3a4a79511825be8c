"""The folder `\\Unbrick` of a volume and the folders of its runs: made so that a cut leaves none half ours.

What exists there is believed only where it is a plain folder or file on which nobody but SYSTEM and
Administrators may do anything. Moves no file; `moving.py` does.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from unbrick.errors import FailedError, NeedsHandsError, Reason, UnbrickError
from unbrick.files import PathError, find_entry
from unbrick.ntfs_file import FileAttributes, read_acl, read_attributes, write_acl
from unbrick.repair.disk_errors import damaged, look
from unbrick.repair.plan import is_run_id
from unbrick.repair.security import build_descriptor, is_ours

HOME = "Unbrick"
JOURNAL = "journal.jsonl"

_UNFINISHED_HOME = re.compile(r"Unbrick\.[0-9a-f]{8}\.new")
_MOST_RUNS = 1000


def inspect(root: Path) -> Path | None:
    """The volume's `\\Unbrick`, if any; raises NeedsHandsError (foreign-quarantine) where it is not ours."""
    try:
        home = find_entry(root, HOME)
    except PathError as error:
        raise _foreign(f"\\{HOME}", "there are several that differ by case only") from error
    if home is not None:
        _expect_ours(home, f"\\{HOME}", folder=True)
    return home


def make_run_folder(root: Path, run: str, sync: Callable[[], None]) -> Path:
    """A new folder for a run with an empty journal in it, both closed to all but us; raises OSError.

    A cut leaves either of them without our list at worst, and then empty: `find_run_folders` passes them by.
    """
    folder = (inspect(root) or _make_home(root, sync)) / run
    _make_folder(folder)
    _close_to_others(folder, inheritable=True)
    journal = folder / JOURNAL
    os.close(os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    _close_to_others(journal, inheritable=False)
    sync()
    check_run_folder(folder)
    return folder


def discard_run_folder(folder: Path) -> None:
    """Take away a run's folder that never held more than a journal, and `\\Unbrick` if that empties it."""
    with contextlib.suppress(OSError):
        (folder / JOURNAL).unlink(missing_ok=True)
        folder.rmdir()
        folder.parent.rmdir()


def find_run_folders(root: Path) -> Iterator[tuple[str, Path]]:
    """Run id and folder of every run that wrote to its journal, the newest first.

    Raises NeedsHandsError (foreign-quarantine) where somebody else could have written there.
    """
    home = inspect(root)
    if home is None:
        return
    names = sorted((path.name for path in home.iterdir() if is_run_id(path.name)), reverse=True)
    if len(names) > _MOST_RUNS:
        raise _foreign(f"\\{HOME}", f"it holds more than {_MOST_RUNS} runs")
    for name in names:
        if _has_begun(home / name):
            check_run_folder(home / name)
            yield name, home / name


def find_unreadable_run(root: Path) -> str | None:
    """The newest run whose folder or journal is listed but cannot be read: a cut tore its record."""
    home = inspect(root)
    if home is None:
        return None
    for name in sorted((path.name for path in home.iterdir() if is_run_id(path.name)), reverse=True):
        try:
            (home / name / JOURNAL).lstat()
        except OSError as error:
            if error.errno == errno.EIO:
                return name
    return None


def check_run_folder(folder: Path) -> None:
    """That a run's folder and its journal are plain and ours; raises NeedsHandsError (foreign-quarantine)."""
    shown = f"\\{HOME}\\{folder.name}"
    _expect_ours(folder, shown, folder=True)
    _expect_ours(folder / JOURNAL, f"{shown}\\{JOURNAL}", folder=False)


def holds_files(folder: Path) -> bool:
    """Whether anything but a journal lies in a run's folder; raises OSError."""
    return any(path.name != JOURNAL for path in folder.iterdir())


def _make_folder(folder: Path) -> None:
    """Make a folder, also in a home whose renaming was cut: there ntfs-3g makes it and says EIO."""
    try:
        folder.mkdir()
    except OSError as error:
        if error.errno != errno.EIO or look(folder) is None:
            raise


def _close_to_others(path: Path, *, inheritable: bool) -> None:
    """Allow nobody but SYSTEM and Administrators; raises OSError, NeedsHandsError (damaged-volume).

    NTFS keeps each set of rights once, for all files. Of ours an earlier cut may have left half, which
    ntfs-3g then takes for whole: so there is a second way to say the same.
    """
    for reverse in (False, True):
        write_acl(path, build_descriptor(inheritable=inheritable, reverse=reverse))
        with contextlib.suppress(OSError):
            if is_ours(read_acl(path)):
                return
    raise damaged(f"the rights that were just set on {path.name} read back as others")


def _has_begun(folder: Path) -> bool:
    """Whether there is a journal with something in it; a name that leads nowhere is what a cut may leave."""
    try:
        if not stat.S_ISDIR(folder.lstat().st_mode):
            return True  # no folder of ours: the check will say so
        journal = (folder / JOURNAL).lstat()
        return holds_files(folder) or (stat.S_ISREG(journal.st_mode) and journal.st_size > 0)
    except OSError:
        return False


def _make_home(root: Path, sync: Callable[[], None]) -> Path:
    """Make `\\Unbrick` under another name first, so that one without our list is never ours."""
    fresh = root / f"{HOME}.{secrets.token_hex(4)}.new"
    fresh.mkdir()
    _close_to_others(fresh, inheritable=True)
    sync()
    home = root / HOME
    fresh.rename(home)
    sync()
    _expect_ours(home, f"\\{HOME}", folder=True)
    _sweep_unfinished(root, home)
    return home


def _sweep_unfinished(root: Path, home: Path) -> None:
    """Take away the empty folders that earlier cuts left in `_make_home`.

    Not where one is the same folder as `\\Unbrick` under a second name: taking that away may free both.
    """
    own = home.lstat().st_ino
    for path in root.iterdir():
        if not _UNFINISHED_HOME.fullmatch(path.name):
            continue
        with contextlib.suppress(OSError, UnbrickError):
            if path.lstat().st_ino != own:
                _expect_ours(path, path.name, folder=True)
                path.rmdir()


def _expect_ours(path: Path, shown: str, *, folder: bool) -> None:
    found = look(path)
    if found is None:
        raise _foreign(shown, "it is missing")
    wanted = stat.S_ISDIR if folder else stat.S_ISREG
    try:
        if not wanted(found.st_mode) or read_attributes(path) & FileAttributes.REPARSE_POINT:
            raise _foreign(shown, f"it is no plain {'folder' if folder else 'file'}")
        if not is_ours(read_acl(path)):
            raise _foreign(shown, "others than Administrators own it or may write there")
    except OSError as error:
        raise FailedError(
            f"{shown} cannot be read: {error.strerror}", reason=Reason.DAMAGED_VOLUME
        ) from error


def _foreign(shown: str, why: str) -> NeedsHandsError:
    return NeedsHandsError(
        f"{shown} on this volume is not unbrick's: {why}",
        reason=Reason.FOREIGN_QUARANTINE,
        hint="look at it by hand; rename it if it is not needed, and run unbrick again",
    )
