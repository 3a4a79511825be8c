"""The library, and a site's own playbooks beside it: an id stands for one playbook.

A site's file never replaces another playbook; one that says just the same as the other counts once.
"""

from __future__ import annotations

from unbrick.incidents.library import load_library
from unbrick.incidents.loader import FORM, parse_playbook
from unbrick.incidents.playbook import Playbook
from unbrick.settings.strict import Problem, StrictError, line_of_key


class Collection:
    """Playbooks by id; it begins with the library's."""

    def __init__(self) -> None:
        self._known = {playbook.id: (playbook, "one that comes with unbrick") for playbook in load_library()}

    @property
    def playbooks(self) -> tuple[Playbook, ...]:
        """All of them, the library's first."""
        return tuple(playbook for playbook, _ in self._known.values())

    def add(self, data: bytes, file: str) -> Playbook:
        """Add a playbook file; raises StrictError where it is none, or has the id of another playbook."""
        playbook = parse_playbook(data, file)
        other, owner = self._known.setdefault(playbook.id, (playbook, f"the one in {file}"))
        if other != playbook:
            message = (
                f"id: expected one that no other playbook has, not '{playbook.id}', which belongs to {owner}"
            )
            raise StrictError(file, (Problem(line_of_key(data, "id"), message),), FORM)
        return playbook
