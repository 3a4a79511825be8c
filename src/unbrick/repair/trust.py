"""What is believed of a journal on a disk, which is hostile: a field is a checked value or JournalError.

An entry is obeyed only where its playbook would have asked for it on a Windows that the volume really has:
each kind of action judges that, by an `Authority`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unbrick.errors import FailedError, NeedsHandsError, Reason
from unbrick.files import split_windows_path
from unbrick.incidents.playbook import Playbook

_LONGEST_PATH = 4096
_DEEPEST_PATH = 64
_LONGEST_NAME = 255
_LONGEST_SHORT_NAME = 12
_LOOK_YOURSELF = r"nothing that it asks for was done; look at the folder \Unbrick of this volume by hand"


class JournalError(NeedsHandsError):
    """A journal that no run of ours can have written; nothing it says is done. `why` is the message's end."""

    def __init__(self, message: str, *, hint: str = _LOOK_YOURSELF) -> None:
        self.why = message
        super().__init__(
            f"the journal of an earlier run cannot be trusted: {message}",
            reason=Reason.BAD_JOURNAL,
            hint=hint,
        )


@dataclass(frozen=True)
class Authority:
    """What may be moved at all: the playbooks at hand, and the Windows folders that the volume really has."""

    playbooks: Sequence[Playbook]
    installation_folders: Sequence[str]


def find_playbook(playbooks: Sequence[Playbook], wanted: str) -> Playbook:
    """The playbook with this id; raises NeedsHandsError (unknown-playbook)."""
    for playbook in playbooks:
        if playbook.id == wanted:
            return playbook
    raise NeedsHandsError(
        f"an earlier run followed the playbook {wanted}, which this unbrick does not have",
        reason=Reason.UNKNOWN_PLAYBOOK,
        hint=(
            f"give the file of {wanted}, as it was at the repair, with --playbook FILE, or with "
            "--station FILE where the site's settings have it; one that comes with unbrick is in the "
            "version that made the repair, and in newer ones"
        ),
    )


def another_edition(why: str, playbook: Playbook) -> JournalError:
    """A planted journal, or an honest one whose playbook was changed since: a person can tell, we cannot."""
    return JournalError(
        why,
        hint=(
            f"nothing that it asks for was done; if {playbook.id} was changed since that repair, give "
            r"its file as it was then with --playbook FILE; else look at the folder \Unbrick by hand"
        ),
    )


def expect_keys(document: Any, keys: set[str]) -> None:
    if not isinstance(document, dict) or set(document) != keys:
        raise JournalError("a line has other keys than unbrick writes")


def read_text(
    document: dict[str, Any], key: str, pattern: re.Pattern[str] | None = None, longest: int = 128
) -> str:
    """A text of 1 to `longest` characters that matches the whole pattern."""
    value = document[key]
    if not is_name(value, longest):
        raise JournalError(f"{key} is not a text")
    if pattern is not None and not pattern.fullmatch(value):
        raise JournalError(f"{key} is not what unbrick writes there")
    return str(value)


def is_name(value: object, longest: int = _LONGEST_NAME) -> bool:
    """Whether a value is a text that can name something: JSON can spell lone surrogates, no name has any."""
    if not isinstance(value, str) or not 0 < len(value) <= longest or "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_number(document: dict[str, Any], key: str, lowest: int, highest: int) -> int:
    value = document[key]
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        raise JournalError(f"{key} is not a number between {lowest} and {highest}")
    return value


def read_flag(document: dict[str, Any], key: str) -> bool:
    value = document[key]
    if not isinstance(value, bool):
        raise JournalError(f"{key} is neither true nor false")
    return value


def read_list(document: dict[str, Any], key: str, most: int) -> list[Any]:
    """A list of at most `most` things, which are not looked at."""
    value = document[key]
    if not isinstance(value, list) or len(value) > most:
        raise JournalError(f"{key} is not a list of at most {most}")
    return value


def read_path(document: dict[str, Any], key: str) -> str:
    """A path in the one spelling that we write: from the root, backslashes, nothing doubled."""
    path = read_text(document, key, longest=_LONGEST_PATH)
    parts = _plain_parts(path)
    if path != "\\" + "\\".join(parts) or len(parts) > _DEEPEST_PATH:
        raise JournalError(f"{key} is no path that unbrick writes")
    return path


def read_short_name(document: dict[str, Any], key: str) -> str | None:
    """An 8.3 name, or None."""
    if document[key] is None:
        return None
    name = read_text(document, key, longest=_LONGEST_SHORT_NAME)
    stem, _, extension = name.partition(".")
    if not 1 <= len(stem) <= 8 or len(extension) > 3 or "." in extension or _plain_parts(name) != (name,):
        raise JournalError(f"{key} is no 8.3 name")
    return name


def _plain_parts(path: str) -> tuple[str, ...]:
    try:
        parts = split_windows_path(path)
    except FailedError as error:
        raise JournalError("a path is not one that unbrick writes") from error
    if not parts or any(len(part) > _LONGEST_NAME for part in parts):
        raise JournalError("a path is not one that unbrick writes")
    return parts
