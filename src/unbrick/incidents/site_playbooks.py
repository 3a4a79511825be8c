"""A site's own playbooks: files that were named, and those that its settings bring along."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unbrick.errors import UsageError
from unbrick.incidents.library import Collection, read_playbook_file
from unbrick.incidents.playbook import Playbook

if TYPE_CHECKING:
    from unbrick.settings.station_file import Station

PLAYBOOKS = "playbooks"
_LOOKS_LIKE_A_PLAYBOOK = {".yaml", ".yml"}


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
    for path in sorted((folder / PLAYBOOKS).glob("*.*")):
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
        found[f"{PLAYBOOKS}/{path.name}"] = data
    return found
