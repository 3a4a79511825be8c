"""Show how many machines are back, where, and what is stuck."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from unbrick.cli.options.answer import json_flag, tell, warn
from unbrick.cli.options.machines import held_words, machine_documents, row_document, said_lines
from unbrick.cli.options.tally_folder import directory_argument, folder_of, look_at_store, missing_reports
from unbrick.errors import FailedError

if TYPE_CHECKING:
    from unbrick.tally.store.store import Store


@click.command("status")
@directory_argument
@json_flag("One JSON document, with every machine.")
@click.option(
    "--find", metavar="NAME", help="Only the machine with this name, serial number or sticker code."
)
@click.option("--check", is_flag=True, help="Only say what ails; exit code 1 where something does.")
def command(directory: Path, as_json: bool, find: str | None, check: bool) -> None:
    """Show how many machines are back, where, and what is stuck.

    With --check, for a monitoring system: exit code 1 where nothing serves the tally or something ails it.

    Example: unbrick tally status tally --json
    """
    from unbrick.tally.door.condition import read_trouble
    from unbrick.tally.show.board import read_board
    from unbrick.tally.show.screen import render_status
    from unbrick.tally.trust.stations import CertificatesNotice

    folder = folder_of(directory)
    trouble, notice = read_trouble(folder), CertificatesNotice(folder).read()
    if check:
        _check(directory, trouble, notice, as_json=as_json)
        return
    with look_at_store(directory) as store:
        trouble = missing_reports(store, folder_of(directory)) or trouble
        if find is not None:
            _show_found(store, find, as_json=as_json)
            return
        if as_json:
            if trouble:
                warn(trouble)
            _write_document(store, sys.stdout)
            return
        from rich.console import Console

        board = read_board(store, datetime.now().astimezone())
        Console().print(render_status(replace(board, trouble=trouble or board.trouble, notice=notice)))


def _write_document(store: Store, stream: TextIO) -> None:
    # Row by row: there may be a million machines.
    with store.everything() as (summary, machines):
        numbers = {
            "total": summary.total,
            "by_status": dict(summary.by_status),
            "contradictions": summary.contradictions,
            "uncounted": summary.uncounted,
            "without_identity": summary.without_identity,
            "oddities": summary.oddities,
            "not_listed": sum(summary.not_listed.values()),
            "not_listed_by": dict(summary.not_listed),
        }
        head = json.dumps(numbers)
        stream.write(head.removesuffix("}") + ', "machines": [')
        for number, row in enumerate(machines):
            stream.write((", " if number else "") + json.dumps(row_document(row)))
        stream.write("]}\n")
        stream.flush()


def _check(directory: Path, trouble: str | None, notice: str | None, *, as_json: bool) -> None:
    with look_at_store(directory) as store:
        store.summary()  # whether the database can be read
        trouble = missing_reports(store, folder_of(directory)) or trouble
    if as_json:
        click.echo(json.dumps({"trouble": trouble, "notice": notice}))
    else:
        tell(trouble or "the tally is being served, and nothing ails it")
        if notice:
            tell(notice)
    sys.exit(1 if trouble else 0)


def _show_found(store: Store, wanted: str, *, as_json: bool) -> None:
    from unbrick.events.short_code import is_short_code

    found = store.find(wanted)
    if not found:
        alike = store.near_misses(wanted)
        raise FailedError(
            f"no machine has the name, the serial number or the sticker code {wanted}",
            hint=f"do you mean {', '.join(alike)}?"
            if alike
            else "its medium may not have reported yet"
            if is_short_code(wanted)
            else "a sticker code has eight characters, and the last one checks the others: read it again",
        )
    if as_json:
        click.echo(json.dumps({"machines": machine_documents(store, found)}))
        return
    for row in found:
        why = f" ({row.reason})" if row.reason else ""
        where = f" at {row.site}" if row.site else ""
        tell(f"{row.code or '-'}  {row.name}{where}: {row.status}{why}{held_words(row)}")
        for line in said_lines(row, store.said_of(row)):
            tell(f"  by hand: {line}")
