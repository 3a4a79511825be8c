"""Finds the files that playbooks ask about, on a mounted volume, looking only where a pattern points.

Never follows a link or junction, never lists without end, and never takes "could not look" for "not there":
what stood in the way comes back as a `Trouble`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from unbrick.errors import Reason
from unbrick.incidents.pattern import PathPattern, component_matches, fold, has_wildcard
from unbrick.windows.observe import SIZE_LIMIT

# The most of one search. System32 has about 5,000 entries, WinSxS 30,000; each file is read in full.
MAX_ENTRIES = 200_000
MAX_CANDIDATES = 20_000
MAX_BYTES = 4 * 1024**3  # of all files together


@dataclass(frozen=True)
class Candidate:
    """A file that a pattern names: its Windows path from the volume's root, and its size in bytes."""

    path: str
    size: int


@dataclass(frozen=True)
class Trouble:
    """A place where the search could not look, and why; `what` is half a sentence."""

    path: str
    reason: Reason
    what: str


@dataclass(frozen=True)
class Candidates:
    """What is to be read (a link in a file's place too), and where the search could not look."""

    files: tuple[Candidate, ...]
    troubles: tuple[Trouble, ...]


class _OutOfBudgetError(Exception): ...


class Names:
    """The names in the folders of one volume; each folder is listed once."""

    def __init__(self) -> None:
        self._known: dict[Path, list[str]] = {}
        self._listed = 0

    def fitting(self, folder: Path, wanted: str) -> list[str]:
        """The names in a folder that fit a component, in any case; raises OSError, _OutOfBudgetError."""
        names = self._in(folder)
        if has_wildcard(wanted):
            return [name for name in names if component_matches(wanted, name)]
        plain = fold(wanted)
        return [name for name in names if fold(name) == plain]

    def _in(self, folder: Path) -> list[str]:
        known = self._known.get(folder)
        if known is None:
            known = []
            with os.scandir(folder) as entries:
                for entry in entries:
                    self._listed += 1
                    if self._listed > MAX_ENTRIES:
                        raise _OutOfBudgetError(f"more than {MAX_ENTRIES} names had to be looked through")
                    known.append(entry.name)
            known = sorted(set(known))
            self._known[folder] = known
        return known


def find_candidates(
    root: Path, windows_folder: str, patterns: Iterable[PathPattern], names: Names | None = None
) -> Candidates:
    """Every file below `root` whose path fits one of the patterns, each once, by name.

    `windows_folder` is the installation's, from the volume's root. Of names that differ by case only all are
    looked at: one volume can hold several, though Windows shows one of them.
    """
    search = _Search(root, names or Names())
    for pattern in sorted({pattern.below(windows_folder) for pattern in patterns}):
        try:
            search.begin(_parts(windows_folder), pattern)
        except _OutOfBudgetError as error:
            where = "\\" + "\\".join(pattern)
            search.troubles.append(Trouble(where, Reason.TOO_MANY_FILES, str(error)))
            break
    files = tuple(Candidate(path, size) for path, size in sorted(search.files.items()))
    return Candidates(files, tuple(search.troubles))


def is_there(root: Path, windows_path: str, names: Names) -> bool:
    """Whether something has that path, in any spelling; true also where that cannot be known."""
    folders = [root]
    for part in _parts(windows_path):
        try:
            folders = [folder / name for folder in folders for name in names.fitting(folder, part)]
        except (FileNotFoundError, NotADirectoryError):
            return False
        except (OSError, _OutOfBudgetError):
            return True
    return bool(folders)


@dataclass
class _Search:
    root: Path
    names: Names
    files: dict[str, int] = field(default_factory=dict)
    troubles: list[Trouble] = field(default_factory=list)
    size: int = 0

    def begin(self, windows: tuple[str, ...], wanted: tuple[str, ...]) -> None:
        """Go down from the root; where the installation's own folder is wanted, only from that spelling."""
        home = self.root.joinpath(*windows)
        if wanted[: len(windows)] == windows and _is_folder(home):
            self.follow(home, windows, wanted[len(windows) :])
        else:
            self.follow(self.root, (), wanted)

    def follow(self, folder: Path, above: tuple[str, ...], wanted: tuple[str, ...]) -> None:
        """Go down one component; recursion is as deep as the pattern is long."""
        try:
            names = self.names.fitting(folder, wanted[0])
        except OSError as error:
            what = f"the folder cannot be listed ({error.strerror})"
            self.troubles.append(Trouble(_windows_path(above), Reason.UNREADABLE_FILE, what))
            return
        for name in names:
            self._take(folder / name, (*above, name), wanted[1:])

    def _take(self, entry: Path, path: tuple[str, ...], below: tuple[str, ...]) -> None:
        try:
            found = entry.lstat()
        except OSError as error:
            if below:
                what = f"this folder cannot be looked at ({error.strerror})"
                self.troubles.append(Trouble(_windows_path(path), Reason.UNREADABLE_FILE, what))
            else:
                self._keep(path, 0)  # reading it will say what is the matter
            return
        if below and stat.S_ISLNK(found.st_mode):
            # ntfs-3g shows a junction as a link, and a reparse point that it does not know too.
            what = "this folder is a link or a junction, and those are not followed"
            self.troubles.append(Trouble(_windows_path(path), Reason.UNREADABLE_FILE, what))
        elif below and stat.S_ISDIR(found.st_mode):
            self.follow(entry, path, below)
        elif not below and not stat.S_ISDIR(found.st_mode):
            self._keep(path, found.st_size)

    def _keep(self, path: tuple[str, ...], size: int) -> None:
        if not _is_text(path[-1]):
            what = "its name is no valid text"
            self.troubles.append(Trouble(_windows_path(path), Reason.UNREADABLE_FILE, what))
            return
        windows_path = _windows_path(path)
        if windows_path not in self.files:
            self.files[windows_path] = size
            self.size += size if size <= SIZE_LIMIT else 0  # a larger one is not read
        if len(self.files) > MAX_CANDIDATES:
            raise _OutOfBudgetError(f"more than {MAX_CANDIDATES} files fit")
        if self.size > MAX_BYTES:
            raise _OutOfBudgetError(f"the files that fit have more than {MAX_BYTES >> 30} GiB")


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False  # the way there from the root then reports why


def _is_text(name: str) -> bool:
    # Python keeps bytes that are no UTF-8 as lone surrogates.
    return not any(0xD800 <= ord(character) <= 0xDFFF for character in name)


def _parts(windows_path: str) -> tuple[str, ...]:
    return tuple(part for part in windows_path.split("\\") if part)


def _windows_path(parts: tuple[str, ...]) -> str:
    return "\\" + "\\".join(parts)
