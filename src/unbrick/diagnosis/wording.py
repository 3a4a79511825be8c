"""The sentences of a diagnosis, to be read aloud to a technician; names in them come from a hostile disk."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from unbrick.model import FileFact, Verdict
from unbrick.text import printable

_NAMES_SHOWN = 4
_NOUN = {
    Verdict.FAULTY: "faulty file",
    Verdict.GOOD: "good file",
    Verdict.NOTE: "harmless file",
    Verdict.PERSON: "item",  # it may be a folder that could not be looked into
}


def about_files(verdict: Verdict, files: Sequence[FileFact]) -> str:
    """As in `2 faulty files in \\… (a.sys, b.sys)`."""
    count = len(files)
    by_folder: dict[str, list[str]] = {}
    for fact in files:
        folder, _, name = fact.path.rpartition("\\")
        by_folder.setdefault(printable(folder) or "\\", []).append(printable(name))
    # The root folder has no name of its own.
    places = "; ".join(
        f"{folder} ({_names(names)})" if any(names) else folder for folder, names in by_folder.items()
    )
    noun = _NOUN[verdict] if count == 1 else _NOUN[verdict] + "s"
    return f"{count} {noun} in {places}"


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    return shown if more <= 0 else f"{shown} and {more} more"


def finding_text(verdict: Verdict, files: Sequence[FileFact], sentences: Sequence[str]) -> str:
    return " ".join([about_files(verdict, files) + ".", *dict.fromkeys(sentences)])


def nothing_found(playbooks: int) -> str:
    incidents = "the one known incident" if playbooks == 1 else f"the {playbooks} known incidents"
    return f"No fault of {incidents} is on this Windows."


def unreadable_hive(warnings: Sequence[str]) -> str:
    detail = f" ({printable('; '.join(warnings))})" if warnings else ""
    return (
        f"The Windows registry cannot be read{detail}, so it is not certain which files Windows needs to "
        "start. Nothing is moved; a person has to look."
    )


def needed_to_start(service: str) -> str:
    """Why a file may not be taken away, as half a sentence."""
    return f"Windows loads it while it starts ({printable(service)}), and without it it may not start at all"


NO_PLAYBOOKS = "There is no playbook to weigh this Windows against, so nothing can be said about it."


def encodable(path: str) -> str:
    """A path that can be written as UTF-8; a name that is no valid text loses those bytes."""
    return path.encode("utf-8", "replace").decode()


def cannot_look(what: str) -> str:
    return f"A person has to look: {printable(what)}."


def doubtful_time(modified: datetime | None, latest: datetime | None) -> str:
    if modified is None:
        said = "its date makes no sense"
    elif latest is not None and modified > latest:
        said = (
            f"its date, {modified:%d %B %Y}, lies in the future by this station's clock (is the clock right?)"
        )
    else:
        said = f"its date, {modified:%d %B %Y}, makes no sense"
    return f"A person has to look: {said}, so it is not known whether this is the faulty one."


def relieved_by_good(sentence: str) -> str:
    return f"A good file beside it is in force, so this does not matter: {_doubt(sentence)}"


def relieved_by_faulty(sentence: str) -> str:
    return f"The faulty file itself was found beside it, so this does not matter: {_doubt(sentence)}"


def _doubt(sentence: str) -> str:
    return sentence.removeprefix("A person has to look: ")


def missing_drivers(services: Sequence[str]) -> str:
    named = printable(_names(services))
    return (
        f"A person has to look: Windows loads this while it starts ({named}), and it is not there. "
        "Either it was taken away, or a damaged folder hides it, and other files with it: then chkdsk helps."
    )


NOT_ALL_SEEN = (
    "A person has to look: there are more files than can be looked through, so it is not known how many "
    "are faulty."
)
SPELLED_ALIKE = (
    "A person has to look: faulty files lie under two names that differ by small and capital letters only, "
    "and Windows shows only one of them."
)


def too_many(files: int, size: int) -> str:
    return (
        f"A person has to look: this is more than the {files} files or {size // 1024} KiB that may be moved "
        "for this incident, so it may be something else."
    )


def protected(why: str) -> str:
    return f"A person has to look: this may not be moved, because {why}."
