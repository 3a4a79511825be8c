"""Make the standard fleet of eight machines, recover every disk of it, and count them with a tally."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unbrick.cli.drill.new import files_option, playbook_option, seed_option, size_option
from unbrick.cli.options.answer import PATH
from unbrick.cli.terminal.manners import say
from unbrick.text import counted, printable

if TYPE_CHECKING:
    from unbrick.drill.recover import Drilled, Recovered


@click.command("run")
@click.argument("directory", metavar="[DIR]", type=PATH, required=False)
@files_option
@size_option
@seed_option
@playbook_option
def command(directory: Path | None, files: int, size: str, seed: int, playbook: Path | None) -> None:
    """Make the standard fleet of eight machines, recover every disk of it, and count them with a tally.

    Real tools, the real command, and a real tally on this computer, whose dashboard is live on a terminal of
    80 × 24 or more. DIR must be new or empty; without it a folder is made, and named at the end. Exit code 0
    means that every machine ended as it should, and that the tally counted just that.

    Example: unbrick drill run
    """
    from unbrick.cli.terminal.drill_screen import drill_screen
    from unbrick.cli.terminal.wording import styled_status
    from unbrick.drill.fleet import make_fleet
    from unbrick.drill.options import FleetOptions, chosen_incident, parse_size, standard_fleet
    from unbrick.drill.recover import recover_fleet
    from unbrick.processes.command import SystemRunner

    tell = partial(say, err=True)
    path = directory or Path(tempfile.mkdtemp(prefix="unbrick-drill-"))
    incident = chosen_incident(None, playbook)
    options = FleetOptions(standard_fleet(seed, parse_size(size), files, incident), seed)
    machines = counted(len(options.machines), "machine")
    tell(f"A bricked fleet of {machines}, made with real NTFS and real BitLocker:")
    fleet = make_fleet(path, options, SystemRunner(), lambda line: tell(f"  {line}"))
    own = ["--playbook", str(playbook)] if playbook else []
    drilled = recover_fleet(fleet, own, drill_screen, styled_status)
    _show_table(drilled.results)
    click.echo(f"\nLook into it: {fleet.directory}")
    take_back = ["undo", str(drilled.results[0].machine.disk), *own, "--yes"]
    click.echo(f"Take one back: unbrick {shlex.join(take_back)}")
    click.echo(f"See the tally again: unbrick tally watch {shlex.quote(str(drilled.tally))}")
    _tell_count(drilled)
    sys.exit(0 if drilled.as_expected else 1)


def _show_table(results: Sequence[Recovered]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from unbrick.cli.terminal.wording import COLOUR

    table = Table(title="The fleet", title_justify="left")
    for heading in ("machine", "what it was", "status", "reason", "files moved", "seconds"):
        table.add_column(heading, justify="right" if heading in {"files moved", "seconds"} else "left")
    for result in results:
        surprise = "" if result.as_expected else f" (expected {result.machine.options.expected.value})"
        table.add_row(
            Text(printable(", ".join(result.names)) or result.machine.options.name),
            result.machine.options.scenario,
            Text(result.status.value, COLOUR[result.status]).append(surprise, "default"),
            result.document["reason"] or "",
            str(len(result.moved) or ""),
            f"{result.seconds:.1f}",
        )
    counts = Counter(result.status.value for result in results)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print()
    console.print(table)
    console.print(
        f"{counted(len(results), 'disk')}: " + ", ".join(f"{n} {word}" for word, n in counts.items())
    )


def _tell_count(drilled: Drilled) -> None:
    """What the tally counted, and where it differs from the reports."""
    from unbrick.tally.show.screen import totals_sentence

    for difference in drilled.wrong:
        say(click.style(f"the tally differs: {difference}", fg="red"), err=True)
    if drilled.wrong:
        say(
            "  what to do: unbrick outbox list --station tally/unbrick.yaml, and look into refusals.log",
            err=True,
        )
    click.echo(f"\nCounted by the tally: {click.style(totals_sentence(drilled.board), bold=True)}")
