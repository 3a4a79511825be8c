"""What the verbs share by which a person says something of a machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unbrick.cli.options.tally_folder import note_deed

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


def said_lines(row: MachineRow, said: Sequence[Said]) -> Iterator[str]:
    """What persons said of a machine: who, when, why, whether it was taken back, and whether it counts."""
    counting = _counting(row, said)
    standing = [one for one in said if one.taken_back_at is None]
    for one in said:
        line = f"{one.at:%Y-%m-%d %H:%M} UTC {one.status} by {one.who}" + _why(one.reason)
        if one.taken_back_at is not None:
            line += f"; taken back {one.taken_back_at:%Y-%m-%d %H:%M} UTC by {one.taken_back_by}"
            line += _why(one.taken_back_why)
        elif counting is None and one is standing[-1]:
            line += "; what a medium found later counts"
        yield line


def said_documents(row: MachineRow, said: Sequence[Said]) -> list[dict[str, object]]:
    """The same for a program."""
    counting = _counting(row, said)
    return [{**_document(one), "counts": one is counting} for one in said]


def _counting(row: MachineRow, said: Sequence[Said]) -> Said | None:
    standing = [one for one in said if one.taken_back_at is None]
    return standing[-1] if standing and row.marked_by is not None else None


def _document(said: Said) -> dict[str, object]:
    back: dict[str, object] | None = None
    if said.taken_back_at is not None:
        back = {
            "who": said.taken_back_by,
            "reason": said.taken_back_why,
            "at": said.taken_back_at.isoformat(),
        }
    return {
        "status": said.status,
        "reason": said.reason,
        "who": said.who,
        "at": said.at.isoformat(),
        "taken_back": back,
    }


def _why(reason: str | None) -> str:
    return f": {reason}" if reason else ""
