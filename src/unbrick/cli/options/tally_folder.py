"""The tally's folder as its verbs are given it, and what lies in it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unbrick.cli.options.answer import PATH
from unbrick.cli.terminal.manners import can_redraw
from unbrick.text import are, counted

if TYPE_CHECKING:
    from unbrick.tally.folder import TallyFolder
    from unbrick.tally.store.store import Store

directory_argument = click.argument("directory", metavar="DIR", type=PATH)
authority_option = click.option(
    "--authority",
    metavar="FILE",
    type=PATH,
    help="The authority's private key (or its folder), where that is not in DIR/authority.",
)


def how_to_build(folder: Path) -> str:
    """What makes a boot medium of a station's files; the manual on media has the rest."""
    return (
        f"a boot medium with them: unbrick media build --out unbrick.iso --station {folder / 'unbrick.yaml'}"
    )


def folder_of(directory: Path) -> TallyFolder:
    """What lies in DIR; raises UsageError where that is no tally."""
    from unbrick.tally.folder import read_settings

    return read_settings(directory)[0]


def open_store(directory: Path) -> Store:
    """The database of the tally in DIR; close it.

    Raises StoreError, also where the register of stations is another copy.
    """
    from unbrick.tally.books.lost_reports import lost_error
    from unbrick.tally.store.store import Store
    from unbrick.tally.trust.register import lost_trust

    folder = folder_of(directory)
    if (loss := lost_trust(folder)) is not None:
        raise lost_error(loss)
    return Store.open(folder.database, create=False)


def look_at_store(directory: Path) -> Store:
    """The same to look only: nothing is written, made or brought forward; close it."""
    from unbrick.tally.store.store import Store

    return Store.look(folder_of(directory).database)


def missing_reports(store: Store, folder: TallyFolder) -> str | None:
    """That acknowledged reports, revocations or lines of the inventory are missing: it is said first."""
    from unbrick.tally.trust.register import lost_trust

    loss = store.loss() or lost_trust(folder)
    if loss is not None:
        return f"{loss}: unbrick help administrator"
    if lines := store.lines_waiting():
        return (
            f"{counted(lines, 'line')} of an inventory {are(lines)} not counted yet; "
            "where no import runs, import it again or start `tally serve` again"
        )
    return None


def show_progress(what: str, done: int, of: int) -> None:
    """A line to who watches a terminal, drawn over again and again; nothing into a file."""
    if can_redraw(sys.stderr):
        share = f" {100 * done // of} %" if of else ""
        click.echo(f"\r\x1b[K{what}{share}\r", err=True, nl=False)
