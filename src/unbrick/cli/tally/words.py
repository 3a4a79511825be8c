"""What the verbs share by which a person says something of a machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from unbrick.cli.tally.folder import note_deed

if TYPE_CHECKING:
    from unbrick.tally.records import MachineRow, Said

machine_argument = click.argument("machine")
new_option = click.option("--new", is_flag=True, help="Count MACHINE also where nobody knows it.")
unseen_option = click.option(
    "--unseen", is_flag=True, help="Of several that are called so, the one that no medium has seen."
)


def note_word(directory: Path, what: str, row: MachineRow | None, **facts: str) -> None:
    """Write down in the audit who said what of which machine, and why."""
    which = {} if row is None else {"name": row.name, "machine": row.code or row.key}
    note_deed(directory, what, **{**facts, **which})


def said_line(said: Said) -> str:
    """What a person said of a machine, and whether it was taken back."""
    line = f"{said.at:%Y-%m-%d %H:%M} UTC {said.status} by {said.who}" + _why(said.reason)
    if said.taken_back_at is None:
        return line
    return f"{line}; taken back {said.taken_back_at:%Y-%m-%d %H:%M} UTC by {said.taken_back_by}" + _why(
        said.taken_back_why
    )


def said_document(said: Said) -> dict[str, object]:
    """The same for a program."""
    document: dict[str, object] = {
        "status": said.status,
        "reason": said.reason,
        "who": said.who,
        "at": said.at.isoformat(),
        "taken_back": None,
    }
    if said.taken_back_at is not None:
        document["taken_back"] = {
            "who": said.taken_back_by,
            "reason": said.taken_back_why,
            "at": said.taken_back_at.isoformat(),
        }
    return document


def _why(reason: str | None) -> str:
    return f": {reason}" if reason else ""
