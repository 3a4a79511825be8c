"""`unbrick tally import`: takes carried reports."""

from __future__ import annotations

from pathlib import Path

import click

from unbrick.cli.manners import say
from unbrick.cli.tally.folder import directory_argument, tell
from unbrick.printable import printable


@click.command("import")
@directory_argument
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--accept-key",
    "accepted",
    multiple=True,
    metavar="FINGERPRINT",
    help="Also take reports signed by this key, which is not enrolled: that of a medium without settings.",
)
def command(directory: Path, file: Path, accepted: tuple[str, ...]) -> None:
    """Take the reports that `unbrick outbox export` wrote to FILE; each is counted once.

    FILE may also be an opened stick, or its folder outbox; nothing leaves it. Or it holds, a line each, the
    texts of the square codes that stations showed (UNBRICK1:…).

    Example: unbrick tally import tally outbox-stick-07.jsonl
    """
    from unbrick.tally.exported import import_export

    counts = import_export(directory, file, accepted)
    tell(f"{counts.new} new, {counts.known} known already, {counts.refused.total()} refused")
    for text, count in counts.refused.most_common():
        say(f"unbrick: refused {count}: {printable(text)}", err=True)
    if counts.refused:
        click.get_current_context().exit(1)
