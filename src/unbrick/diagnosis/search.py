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

MAX_ENTRIES = 200_000
"""Directory entries that one search lists at most; System32 has about 5,000, WinSxS 30,000."""

MAX_CANDIDATES = 1_000
"""Files that one search hands back at most: each of them is read in full."""


@dataclass(frozen=True)
class Candidate:
    """A file that a pattern names: its Windows path from the volume's root, and its size in bytes."""

    path: str
    size: int


@dataclass(frozen=True)
class Trouble:
    """A place where the search could not look, why, and in half a sentence what is the matter."""

    path: str
    reason: Reason
    what: str


@dataclass(frozen=True)
class Candidates:
    """What a search found: what is to be read (a link in a file's place too), and where it could not look."""

    files: tuple[Candidate, ...]
    troubles: tuple[Trouble, ...]


class _OutOfBudgetError(Exception):
    """More entries or files than a search may touch."""


def find_candidates(root: Path, windows_folder: str, patterns: Iterable[PathPattern]) -> Candidates:
    """Every file below `root` whose path fits one of the patterns, each once, by name; folders are none.

    `windows_folder` is the installation's, from the volume's root.
    """
    search = _Search(root)
    for pattern in sorted({pattern.below(windows_folder) for pattern in patterns}):
        try:
            search.follow(root, (), pattern)
        except _OutOfBudgetError as error:
            where = "\\" + "\\".join(pattern)
            search.troubles.append(Trouble(where, Reason.TOO_MANY_FILES, str(error)))
            break
    files = tuple(Candidate(path, size) for path, size in sorted(search.files.items()))
    return Candidates(files, tuple(search.troubles))


@dataclass
class _Search:
    root: Path
    files: dict[str, int] = field(default_factory=dict)
    troubles: list[Trouble] = field(default_factory=list)
    listed: int = 0

    def follow(self, folder: Path, above: tuple[str, ...], wanted: tuple[str, ...]) -> None:
        """Go down one component; recursion is as deep as the pattern is long."""
        try:
            names = self._names(folder, wanted[0])
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
        self.files[_windows_path(path)] = size
        if len(self.files) > MAX_CANDIDATES:
            raise _OutOfBudgetError(f"more than {MAX_CANDIDATES} files fit")

    def _names(self, folder: Path, wanted: str) -> list[str]:
        """The names in a folder that fit a component; a plain name is tried as it stands first."""
        if not has_wildcard(wanted):
            try:
                (folder / wanted).lstat()
                return [wanted]
            except (FileNotFoundError, NotADirectoryError):
                pass
        plain = None if has_wildcard(wanted) else fold(wanted)
        fitting = []
        with os.scandir(folder) as entries:
            for entry in entries:
                self.listed += 1
                if self.listed > MAX_ENTRIES:
                    raise _OutOfBudgetError(f"more than {MAX_ENTRIES} names had to be looked through")
                fits = fold(entry.name) == plain if plain else component_matches(wanted, entry.name)
                if fits:
                    fitting.append(entry.name)
        return sorted(fitting)


def _is_text(name: str) -> bool:
    """Whether a name can be written down; Python keeps bytes that are no UTF-8 as lone surrogates."""
    return not any(0xD800 <= ord(character) <= 0xDFFF for character in name)


def _windows_path(parts: tuple[str, ...]) -> str:
    return "\\" + "\\".join(parts)
