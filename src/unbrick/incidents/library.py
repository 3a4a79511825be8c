"""Where playbooks come from: a file, those that come with unbrick, and a site's own beside them.

What is not understood in full is refused, with file and line, in the library as in anybody's file.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from unbrick.errors import Reason, UsageError
from unbrick.files import read_small_file
from unbrick.incidents.playbook import Playbook
from unbrick.settings.strict import Form, Problem, StrictError, line_of_key, read_yaml

if TYPE_CHECKING:
    from unbrick.settings.station_file import Station

MAX_FILE_SIZE = 64 * 1024
_PLAYBOOKS = "playbooks"
_LOOKS_LIKE_A_PLAYBOOK = {".yaml", ".yml"}
_FORM = Form("a playbook", "`unbrick playbook show --schema` prints what a playbook may hold", MAX_FILE_SIZE)


def load_playbook(path: Path) -> Playbook:
    """Read a playbook file; raises StrictError with everything that is wrong with it."""
    return parse_playbook(read_playbook_file(path), str(path))


def parse_playbook(data: bytes, file: str) -> Playbook:
    """Read a playbook from bytes; `file` is the name in messages. Raises StrictError."""
    return read_yaml(Playbook, data, file, _FORM)


def read_playbook_file(path: Path) -> bytes:
    """The bytes of a regular file of at most MAX_FILE_SIZE; raises StrictError."""
    try:
        return read_small_file(path, MAX_FILE_SIZE)
    except UsageError as error:
        problem = Problem(1, error.message.removeprefix(f"{path}: "))
        raise StrictError(str(path), (problem,), _FORM) from error


def library_files() -> tuple[tuple[str, bytes], ...]:
    """The library's files, by name: `("crowdstrike-cf291.yaml", b"…")`."""
    folder = resources.files("unbrick.incidents") / "library"
    return tuple(
        (entry.name, entry.read_bytes())
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".yaml")
    )


def load_library() -> tuple[Playbook, ...]:
    """The playbooks that come with unbrick, by id; raises StrictError where one is broken."""
    return tuple(parse_playbook(data, name) for name, data in library_files())


def find_playbook(playbooks: Sequence[Playbook], wanted: str) -> Playbook:
    """The playbook with an id; raises UsageError, naming those there are."""
    for playbook in playbooks:
        if playbook.id == wanted:
            return playbook
    raise UsageError(
        f"there is no playbook {wanted!r}",
        hint="known: " + ", ".join(playbook.id for playbook in playbooks),
        reason=Reason.UNKNOWN_PLAYBOOK,
    )


class Collection:
    """The library, and a site's own playbooks beside it, by id.

    A site's file never replaces another playbook; one that says just the same as the other counts once.
    """

    def __init__(self) -> None:
        self._known = {playbook.id: (playbook, "one that comes with unbrick") for playbook in load_library()}

    @property
    def playbooks(self) -> tuple[Playbook, ...]:
        """The library's first."""
        return tuple(playbook for playbook, _ in self._known.values())

    def add(self, data: bytes, file: str) -> Playbook:
        """Add a playbook file; raises StrictError where it is none, or has the id of another playbook."""
        playbook = parse_playbook(data, file)
        other, owner = self._known.setdefault(playbook.id, (playbook, f"the one in {file}"))
        if other != playbook:
            message = (
                f"id: expected one that no other playbook has, not '{playbook.id}', which belongs to {owner}"
            )
            raise StrictError(file, (Problem(line_of_key(data, "id"), message),), _FORM)
        return playbook


def with_playbooks(files: Sequence[Path], station: Station | None) -> tuple[Playbook, ...]:
    """The library, these files, and what a medium with that station file would use besides.

    Raises UsageError where one is bad, or has the id of another.
    """
    collection = Collection()
    for path in (*files, *(station.playbooks if station else ())):
        collection.add(read_playbook_file(path), str(path))
    if station:
        read_folder(station.path.parent, collection)
    return collection.playbooks


def read_folder(folder: Path, collection: Collection) -> dict[str, bytes]:
    """Add the files of a folder's `playbooks/`; returns them by name on a medium. Raises UsageError."""
    found = {}
    for path in sorted((folder / _PLAYBOOKS).glob("*.*")):
        if path.suffix.lower() not in _LOOKS_LIKE_A_PLAYBOOK:
            continue
        if path.suffix != ".yaml":  # else it would be left out without a word
            raise UsageError(
                f"{path}: its name must end in .yaml", hint="rename it: no station would read it"
            )
        if path.is_symlink():
            raise UsageError(f"{path}: is a link", hint="put the file itself there")
        data = read_playbook_file(path)
        collection.add(data, str(path))
        found[f"{_PLAYBOOKS}/{path.name}"] = data
    return found
