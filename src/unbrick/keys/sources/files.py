"""Recovery passwords from files that somebody exported: one, a folder of them, a pipe, standard input.

Good lines work, bad ones are named by number; no cell of a file is ever shown. Read `keys/reading/` for the
kinds of files, `settings/csv_text.py` for encodings.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Any

from unbrick.errors import UsageError
from unbrick.keys.password import RecoveryPassword
from unbrick.keys.reading.entry import Entry, LineProblem, Reading
from unbrick.keys.reading.looks import LENGTH_OF_A_BEGINNING
from unbrick.keys.reading.text import UNDERSTOOD, read_text
from unbrick.keys.sources.source import Candidate
from unbrick.keys.sources.vault import Kept, Vault
from unbrick.processes.bounded import ReaderEndedError, run_bounded
from unbrick.settings import csv_text

SORT = csv_text.Sort(
    "a file of keys", "keys file", 64 * 1024 * 1024, UNDERSTOOD, "check the path given to --keys"
)
MOST_FILES = 10_000
"""The most files of a folder."""

STANDARD_INPUT = "-"
NOT_ON_A_COMMAND_LINE = "a recovery password does not belong on the command line, where others can see it"
_STANDARD_INPUT = 0

_DEEPEST_FOLDER = 4
_MOST_WARNINGS = 5
_UNSURE = ""
_DIGITS_OF_A_PASSWORD = re.compile(r"[0-9]{6}[^0-9A-Za-z]?[0-9]{6}[^0-9A-Za-z]?[0-9]{6}")
_READING_SECONDS = 3600.0  # of a pipe, which somebody may have to type a passphrase for


@dataclass(frozen=True)
class _Named:
    """A file, by what messages call it."""

    name: str
    path: Path


class KeyFiles:
    """Files of recovery passwords: by key protector id, else by the computer's name, else in their order.

    They are read once, by a process of their own that ends then: whoever has the source holds no password of
    theirs but those that were asked for.
    """

    interactive = False

    def __init__(
        self,
        name: str,
        files: Sequence[_Named | bytes | IO[bytes]],
        *,
        is_folder: bool = False,
        room: int = SORT.most_bytes,
        names_computers: bool = False,
    ) -> None:
        """Read files that messages call `name`; raises UsageError where no line of them can be used.

        `room` is how many bytes they may have in all.
        """
        self.name = name
        self.is_folder = is_folder
        self.names = [file.name if isinstance(file, _Named) else name for file in files]
        self._vault = Vault()
        try:
            load = partial(_load, name, files, self._vault, is_folder, room, names_computers)
            told = run_bounded(load, seconds=_READING_SECONDS)
        except ReaderEndedError as error:
            raise UsageError(f"{name} cannot be read: {error.message}", hint=error.hint) from error
        if "refused" in told:
            message, hint = told["refused"]
            raise UsageError(message, hint=hint)
        self.problems: tuple[LineProblem, ...] = tuple(
            LineProblem(line, message, self.names[file]) for file, line, message in told["problems"]
        )
        """The lines that cannot be used, a thousand of them at most."""
        self.problem_count: int = told["problem_count"]
        """How many lines cannot be used."""
        self.password_count: int = told["password_count"]
        """How many passwords are well-formed."""
        self.unusable: tuple[str, ...] = tuple(told["unusable"])
        """The files of a folder that hold no password, and why."""
        self.size: int = told["size"]
        """How many bytes they have in all."""
        self.computers = frozenset[str](told["computers"])
        """The names of computers that stand beside passwords, as `computer_name` gives them; where that is
        asked for.
        """

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        name: str | None = None,
        room: int = SORT.most_bytes,
        names_computers: bool = False,
    ) -> KeyFiles:
        """Read a file, a pipe or a folder; raises UsageError: missing, binary, too large, no usable line."""
        shown = name or path.name
        if path.is_dir():
            files = [_Named(str(one.relative_to(path)), one) for one in _files_in(path, shown)]
            return cls(shown, files, is_folder=True, room=room, names_computers=names_computers)
        with csv_text.opened(path, shown, SORT) as stream:
            return cls(shown, [stream], room=room, names_computers=names_computers)

    @property
    def warnings(self) -> tuple[str, ...]:
        said = [f"{problem.file} {problem}" for problem in self.problems[:_MOST_WARNINGS]]
        if self.problem_count > _MOST_WARNINGS:
            said.append(f"{self.name}: {self.problem_count - _MOST_WARNINGS} more lines cannot be used")
        said += [f"{self.name}: a file is not used: {why}" for why in self.unusable[:_MOST_WARNINGS]]
        if len(self.unusable) > _MOST_WARNINGS:
            said.append(f"{self.name}: {len(self.unusable) - _MOST_WARNINGS} more files are not used")
        if not self.password_count:
            said.append(f"{self.name} has no recovery password in it")
        return tuple(said)

    def find(self, protector_ids: Sequence[str]) -> Iterator[Candidate]:
        for protector in (text.strip("{}").upper() for text in protector_ids):
            keys = (protector, protector[:LENGTH_OF_A_BEGINNING])
            for found in chain.from_iterable(self._vault.find(key) for key in keys if key):
                yield self._candidate(protector, *found)

    def guesses(self, computer: str | None) -> Iterator[Candidate]:
        for found in self._vault.find(_key_of_computer(computer) if computer else _UNSURE):
            yield self._candidate(None, *found)

    def _candidate(
        self, protector: str | None, file: int, line: int, password: RecoveryPassword
    ) -> Candidate:
        place = f"{self.name}/{self.names[file]}" if self.is_folder else self.name
        return Candidate(protector, password, f"{place} line {line}")


def _key_of_computer(name: str) -> str:
    return "@" + hashlib.blake2s(name.encode(errors="replace"), digest_size=16).hexdigest()


def _load(
    name: str,
    files: Sequence[_Named | bytes | IO[bytes]],
    vault: Vault,
    is_folder: bool,
    room: int,
    names_computers: bool,
) -> dict[str, Any]:
    """Read files into a vault; returns what may be told of them."""
    entries: list[tuple[int, Entry]] = []
    problems: list[tuple[int, int, str]] = []
    unusable: list[str] = []
    problem_count = size = 0
    for number, file in enumerate(files):
        try:
            data = _bytes_of(file, name, room - size)
            size += len(data)
            reading = _read(data, file.name if isinstance(file, _Named) else name)
        except UsageError as error:
            if not is_folder:
                return {"refused": (error.message, error.hint)}
            unusable.append(error.message)
            continue
        entries += [(number, entry) for entry in reading.entries]
        problems += [(number, one.line, one.message) for one in reading.problems]
        problem_count += reading.problem_count
    if is_folder and not entries:
        why = f" ({unusable[0]})" if unusable else ""
        return {
            "refused": (f"the folder {name} has no file with a usable recovery password{why}", UNDERSTOOD)
        }
    vault.fill(list(_kept(entries)))
    return {
        "problems": problems[:1000],
        "problem_count": problem_count,
        "password_count": len(entries),
        "size": size,
        "computers": list({name for _, entry in entries for name in entry.beside.computers})
        if names_computers
        else [],
        "unusable": unusable,
    }


def _bytes_of(file: _Named | bytes | IO[bytes], name: str, room: int) -> bytes:
    """A file's content, of which at most `room` bytes are read; raises UsageError."""
    sort = SORT._replace(most_bytes=room)
    if isinstance(file, bytes):
        return file
    if not isinstance(file, _Named):
        return csv_text.read_bytes(file, name, sort)
    with csv_text.opened(file.path, file.name, SORT) as stream:
        # A disk image may lie beside the exports: it is not read to see that.
        if os.fstat(stream.fileno()).st_size > room:
            raise UsageError(f"{file.name}: a folder of keys may have {SORT.most_bytes >> 20} MiB in all")
        return csv_text.read_bytes(stream, file.name, sort)


def _read(data: bytes, name: str) -> Reading:
    return read_text(csv_text.decode(data, name, SORT), name)


def _kept(entries: Sequence[tuple[int, Entry]]) -> Iterator[Kept]:
    """Each password under all that it may be found by; of one computer the newest first."""
    newest_first = sorted(entries, key=lambda one: one[1].beside.created, reverse=True)
    for file, entry in newest_first:
        beside = entry.beside
        keys = [*beside.ids]
        if not beside.certain:
            keys += [*map(_key_of_computer, beside.computers), _UNSURE]
        for key in dict.fromkeys(keys):
            yield Kept(key, file, entry.line, entry.password)


def _files_in(folder: Path, name: str) -> list[Path]:
    """The files below a folder without hidden ones and links; raises UsageError where they are too many."""
    found: list[Path] = []
    for place, folders, files in os.walk(folder, onerror=partial(_cannot_look, name)):
        here = Path(place)
        deep = len(here.relative_to(folder).parts) >= _DEEPEST_FOLDER
        folders[:] = [] if deep else sorted(one for one in folders if not one.startswith("."))
        paths = (here / one for one in sorted(files) if not one.startswith("."))
        found += [path for path in paths if path.is_file() and not path.is_symlink()]
        if len(found) > MOST_FILES:
            raise UsageError(f"the folder {name} has more than {MOST_FILES:,} files, too many for keys")
    return found


def _cannot_look(name: str, error: OSError) -> None:
    raise UsageError(f"{name} cannot be read: {error.strerror or 'input/output error'}") from None


def open_files(spec: str, *, names_computers: bool = False) -> KeyFiles | None:
    """The kind of source that needs no word before it: a file or a folder that is there, or `-`."""
    if spec == STANDARD_INPUT:
        # A copy: the process that reads has nothing of ours as its own standard input.
        with os.fdopen(os.dup(_STANDARD_INPUT), "rb") as stream:
            return KeyFiles("standard input", [stream], names_computers=names_computers)
    if not is_there(spec):
        return None
    name = "the keys file" if looks_like_a_password(spec) else None
    return KeyFiles.open(Path(spec), name=name, names_computers=names_computers)


def is_there(spec: str) -> bool:
    """Whether this names a file; what cannot be the name of one names none."""
    try:
        return Path(spec).exists()
    except (OSError, ValueError):
        return False


def looks_like_a_password(spec: str) -> bool:
    """Whether there are digits in it that must not be shown."""
    return _DIGITS_OF_A_PASSWORD.search(spec) is not None
