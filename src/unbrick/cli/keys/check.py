"""Say which recovery passwords in some files can be used, and which machines have none."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from unbrick.cli.terminal.manners import say
from unbrick.errors import NeedsKeyError, UsageError
from unbrick.keys.reading.looks import computer_name
from unbrick.keys.sources.files import NOT_ON_A_COMMAND_LINE, KeyFiles, looks_like_a_password, open_files
from unbrick.text import counted, printable

_MOST_SHOWN = 20


@dataclass(frozen=True)
class _Checked:
    """A file or folder, and what can be read in it; `error` is why nothing can."""

    file: str
    source: KeyFiles | None = None
    error: str | None = None

    def to_document(self) -> dict[str, Any]:
        source = self.source
        return {
            "file": self.file,
            "error": self.error,
            "passwords": source.password_count if source else 0,
            "problems": [one.to_document() for one in source.problems] if source else [],
            "problem_count": source.problem_count if source else 0,
            "not_used": list(source.unusable) if source else [],
        }


@click.command("check")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--inventory",
    type=click.Path(path_type=Path),
    metavar="CSV",
    help="Machines, as for `unbrick tally inventory import`: say which of them have no password here.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(files: tuple[str, ...], inventory: Path | None, as_json: bool) -> None:
    """Check what an escrow exported: how many recovery passwords can be used, and which lines cannot.

    FILE is any kind of export that --keys understands, a folder of them, or - for standard input. Never
    prints a password. Exits with 4 where a machine of the inventory has none, with 2 where a file cannot be
    used.

    Example: unbrick keys check keys.csv --inventory machines.csv
    """
    checked = [_check(file) for file in files]
    machines = _names_in(inventory) if inventory else {}
    having = {name for one in checked if one.source for name in one.source.computers}
    missing = [shown for key, shown in machines.items() if key not in having]
    if as_json:
        document = {
            "files": [one.to_document() for one in checked],
            "machines": len(machines) if inventory else None,
            "missing": missing if inventory else None,
        }
        click.echo(json.dumps(document))
    else:
        for one in checked:
            _show(one)
        if inventory:
            _show_missing(inventory, len(machines), missing, names_known=bool(having))
    if any(one.error for one in checked):
        sys.exit(UsageError.exit_code)
    if missing:
        sys.exit(NeedsKeyError.exit_code)


def _check(file: str) -> _Checked:
    shown = "the keys file" if looks_like_a_password(file) else file
    try:
        source = open_files(file, names_computers=True)
    except UsageError as error:
        return _Checked(shown, error=error.message)
    missing = f"there is no keys file {file}" if shown == file else NOT_ON_A_COMMAND_LINE
    return _Checked(shown, source) if source else _Checked(shown, error=missing)


def _names_in(inventory: Path) -> dict[str, str]:
    """The machines of an inventory that have a name: as keys name them, and as they are shown."""
    # Loaded here because the tally's rooms take their time, and most checks have no inventory.
    from unbrick.tally.office.inventory import read_inventory

    lines = read_inventory(inventory).lines.values()
    names = [str(line["name"]) for line in lines if line["name"]]
    return {key: name for name in names if (key := computer_name(name))}


def _show(one: _Checked) -> None:
    if one.source is None:
        say(printable(f"{one.file}: {one.error}"), err=True)
        return
    source = one.source
    bad = f", {counted(source.problem_count, 'line')} cannot be used" if source.problem_count else ""
    say(printable(f"{one.file}: {counted(source.password_count, 'usable recovery password')}{bad}"))
    for problem in source.problems[:_MOST_SHOWN]:
        say(printable(f"  {problem.file} {problem}" if source.is_folder else f"  {problem}"))
    for why in source.unusable[:_MOST_SHOWN]:
        say(printable(f"  not used: {why}"))
    more = max(source.problem_count - _MOST_SHOWN, 0) + max(len(source.unusable) - _MOST_SHOWN, 0)
    if more:
        say(f"  and {more} more (--json names them)")


def _show_missing(inventory: Path, machines: int, missing: list[str], *, names_known: bool) -> None:
    if missing and not names_known:
        say("no password has a computer's name beside it: which machines have one cannot be told")
        return
    say(printable(f"{inventory.name}: {len(missing)} of {machines} machines have no recovery password here"))
    for name in missing[:_MOST_SHOWN]:
        say(printable(f"  {name}"))
    if len(missing) > _MOST_SHOWN:
        say(f"  and {len(missing) - _MOST_SHOWN} more (--json names them)")
