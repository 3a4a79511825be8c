"""Take the reports that `unbrick outbox export` wrote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unbrick.cli.options.answer import PATH, answer, warn
from unbrick.cli.options.tally_act import Act, act_options, reason_option
from unbrick.cli.options.tally_folder import directory_argument
from unbrick.errors import UsageError
from unbrick.text import are, counted, printable

if TYPE_CHECKING:
    from unbrick.tally.upkeep.import_reports import ImportCounts

_MOST_TOLD = 20


@click.command("import")
@directory_argument
@click.argument("file", metavar="FILE", type=PATH)
@click.option(
    "--accept-key",
    "accepted",
    multiple=True,
    metavar="FINGERPRINT",
    help="Also take reports signed by this key, which is not enrolled: that of a medium without settings.",
)
@click.option(
    "--station-machines",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    metavar="NUMBER",
    help="How many machines that nobody knew count of each station; more count once you decide.",
)
@reason_option("Why the key is accepted, in a few words; it is written down.")
@act_options
def command(
    act: Act, file: Path, accepted: tuple[str, ...], station_machines: int, reason: str | None
) -> None:
    """Take the reports that `unbrick outbox export` wrote to FILE; each is counted once.

    FILE may also be an opened stick, or its folder outbox; nothing leaves it. Or it holds, a line each, the
    texts of the square codes that stations showed (UNBRICK1:…).

    What is no report is skipped and named, and the rest is taken; the exit code is then 1, as it is where a
    report was refused.

    Whatever day a report was made or exported, its machine counts on this one. Of a station that brings more
    machines that nobody knew than --station-machines, the rest wait for your decision, and that is said.

    A key that is accepted is listed by `unbrick tally stations`; `revoke` takes its name or its fingerprint.

    Example: unbrick tally import tally outbox-stick-07.jsonl
    """
    from unbrick.tally.upkeep.import_reports import ImportCounts, import_export

    if accepted and not reason:
        raise UsageError("a key is accepted for a reason", hint="say in a few words why: --reason TEXT")
    by, counts = act.who if accepted else None, ImportCounts()

    def note_accepted(name: str, key: str) -> None:
        act.note("key-accepted", station=name, key=key, who=by or "", reason=reason or "")

    stopped = "yes"
    try:
        import_export(
            act.directory,
            file,
            accepted,
            counts=counts,
            on_accepted=note_accepted,
            by=by,
            why=reason or "",
            new_machines=station_machines,
        )
        stopped = ""
    finally:
        act.note(
            "imported",
            file=str(file),
            new=counts.new,
            known=counts.known,
            refused=counts.refused.total(),
            expired=counts.expired.total(),
            **({"stopped": stopped} if stopped else {}),
        )
    answer(_document(counts), _lines(counts), as_json=act.as_json)
    if not act.as_json:
        _warn(counts)
    if not counts.all_taken:
        click.get_current_context().exit(1)


def _document(counts: ImportCounts) -> dict[str, Any]:
    return {
        "new": counts.new,
        "known": counts.known,
        "refused": counts.refused.total(),
        "skipped": counts.skipped,
        "held": counts.held,
        "expired": dict(counts.expired),
        "accepted": dict(counts.accepted),
        "reasons": {printable(text): count for text, count in counts.refused.most_common()},
        "files": [{"file": printable(name), "why": why} for name, why in counts.files],
        "lines": [
            {"file": printable(name), "line": number, "why": why} for name, number, why in counts.lines
        ],
    }


def _lines(counts: ImportCounts) -> Iterator[str]:
    skipped = f", {counts.skipped} skipped" if counts.skipped else ""
    yield f"{counts.new} new, {counts.known} known already, {counts.refused.total()} refused{skipped}"
    for name, key in counts.accepted.items():
        yield f"{key} is {name} here; to take it back: unbrick tally revoke DIR {name} --discount"
    if counts.held:
        yield f"{counted(counts.held, 'machine')} not counted: unbrick tally contradictions DIR"
    for station, count in counts.expired.most_common():
        taken = "it was" if count == 1 else "they were"
        yield f"{count} of them {are(count)} signed by {station}, whose certificate has ended; {taken} taken"


def _warn(counts: ImportCounts) -> None:
    for text, count in counts.refused.most_common():
        warn(f"refused {count}: {text}")
    _warn_of_some([f"{name} line {number} is damaged: {why}" for name, number, why in counts.lines])
    _warn_of_some([f"skipped {name}: {why}" for name, why in counts.files], counts.skipped)


def _warn_of_some(lines: list[str], count: int = 0) -> None:
    for line in lines[:_MOST_TOLD]:
        warn(line)
    more = max(count, len(lines)) - _MOST_TOLD
    if more > 0:
        warn(f"and {more} more (--json names them)")
