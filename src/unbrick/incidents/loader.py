"""Reads one playbook file, strictly: what is not understood in full is refused, with file and line."""

from __future__ import annotations

from pathlib import Path

from unbrick.errors import UsageError
from unbrick.files import read_small_file
from unbrick.incidents.playbook import Playbook
from unbrick.settings.strict import Form, Problem, StrictError, read_yaml

MAX_FILE_SIZE = 64 * 1024
FORM = Form("a playbook", "`unbrick playbook show --schema` prints what a playbook may hold", MAX_FILE_SIZE)


def load_playbook(path: Path) -> Playbook:
    """Read a playbook file; raises StrictError with everything that is wrong with it."""
    return parse_playbook(read_playbook_file(path), str(path))


def parse_playbook(data: bytes, file: str) -> Playbook:
    """Read a playbook from bytes; `file` is the name in messages. Raises StrictError."""
    return read_yaml(Playbook, data, file, FORM)


def read_playbook_file(path: Path) -> bytes:
    """The bytes of a regular file of at most MAX_FILE_SIZE; raises StrictError."""
    try:
        return read_small_file(path, MAX_FILE_SIZE)
    except UsageError as error:
        problem = Problem(1, error.message.removeprefix(f"{path}: "))
        raise StrictError(str(path), (problem,), FORM) from error
