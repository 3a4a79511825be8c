"""Take the reports that `unbrick outbox export` wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unbrick.cli.options.tally_folder import directory_argument, note_deed, tell, who_option, whose_word
from unbrick.cli.terminal.manners import say
from unbrick.text import printable

if TYPE_CHECKING:
    from unbrick.tally.upkeep.import_reports import ImportCounts

_MOST_TOLD = 20


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
@click.option("--reason", default="", help="Why the key is accepted, in a few words; it is written down.")
@who_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def command(
    directory: Path, file: Path, accepted: tuple[str, ...], reason: str, who: str | None, as_json: bool
) -> None:
    """Take the reports that `unbrick outbox export` wrote to FILE; each is counted once.

    FILE may also be an opened stick, or its folder outbox; nothing leaves it. Or it holds, a line each, the
    texts of the square codes that stations showed (UNBRICK1:…).

    What is no report is skipped and named, and the rest is taken; the exit code is then 1, as it is where a
    report was refused.

    A key that is accepted is listed by `unbrick tally stations`; `revoke` takes its name or its fingerprint.

    Example: unbrick tally import tally outbox-stick-07.jsonl
    """
    from unbrick.tally.upkeep.import_reports import import_export

    by = whose_word(who) if accepted else None
    counts = import_export(directory, file, accepted, by=by, why=reason)
    for name, key in counts.accepted.items():
        note_deed(directory, "key-accepted", station=name, key=key, who=by or "", reason=reason)
    note_deed(
        directory,
        "imported",
        file=str(file),
        new=counts.new,
        known=counts.known,
        refused=counts.refused.total(),
        expired=counts.expired.total(),
    )
    if as_json:
        click.echo(json.dumps(_document(counts)))
    else:
        _tell(counts)
    if not counts.all_taken:
        click.get_current_context().exit(1)


def _document(counts: ImportCounts) -> dict[str, Any]:
    return {
        "new": counts.new,
        "known": counts.known,
        "refused": counts.refused.total(),
        "skipped": counts.skipped,
        "expired": dict(counts.expired),
        "accepted": dict(counts.accepted),
        "reasons": {printable(text): count for text, count in counts.refused.most_common()},
        "files": [{"file": printable(name), "why": why} for name, why in counts.files],
        "lines": [
            {"file": printable(name), "line": number, "why": why} for name, number, why in counts.lines
        ],
    }


def _tell(counts: ImportCounts) -> None:
    skipped = f", {counts.skipped} skipped" if counts.skipped else ""
    tell(f"{counts.new} new, {counts.known} known already, {counts.refused.total()} refused{skipped}")
    for name, key in counts.accepted.items():
        tell(f"{key} is {name} here; to take it back: unbrick tally revoke DIR {name} --discount")
    for station, count in counts.expired.most_common():
        tell(f"{count} of them are signed by {station}, whose certificate has ended; they were taken")
    for text, count in counts.refused.most_common():
        say(f"unbrick: refused {count}: {printable(text)}", err=True)
    _tell_some([f"{name} line {number} is damaged: {why}" for name, number, why in counts.lines])
    _tell_some([f"skipped {name}: {why}" for name, why in counts.files], counts.skipped)


def _tell_some(lines: list[str], count: int = 0) -> None:
    for line in lines[:_MOST_TOLD]:
        say(f"unbrick: {printable(line)}", err=True)
    more = max(count, len(lines)) - _MOST_TOLD
    if more > 0:
        say(f"unbrick: and {more} more (--json names them)", err=True)
