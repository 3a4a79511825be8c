"""The playbooks that come with unbrick, one YAML file an incident.

Reads only what lies in the package. A playbook of the library is as strictly read as anybody's.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from unbrick.errors import Reason, UsageError
from unbrick.incidents.loader import parse_playbook
from unbrick.incidents.playbook import Playbook


def library_files() -> tuple[tuple[str, bytes], ...]:
    """The library's files, by name: `("crowdstrike-cf291.yaml", b"…")`."""
    folder = resources.files("unbrick.incidents") / "library"
    return tuple(
        (entry.name, entry.read_bytes())
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".yaml")
    )


def load_library() -> tuple[Playbook, ...]:
    """Every playbook of the library, by id; raises StrictError where one is broken."""
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
