"""The tally's folder as its verbs are given it, on whose word they act, and how they answer."""

from __future__ import annotations

import getpass
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unbrick.cli.terminal.manners import can_redraw, say
from unbrick.errors import UsageError
from unbrick.text import is_seen, printable

if TYPE_CHECKING:
    from unbrick.tally.folder import TallyFolder
    from unbrick.tally.records import MachineRow
    from unbrick.tally.store.store import Store

directory_argument = click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
authority_option = click.option(
    "--authority",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The authority's private key (or its folder), where that is not in DIR/authority.",
)
who_option = click.option("--who", metavar="NAME", help="On whose word; without it, your login name.")


def tell(line: str) -> None:
    """A line to the reader, with nothing in it that a terminal would act on."""
    say(printable(line))


def tell_how_to_build(folder: Path) -> None:
    """What makes a boot medium of a station's files; the manual on media has the rest."""
    tell(
        f"a boot medium with them: unbrick media build --out unbrick.iso --station {folder / 'unbrick.yaml'}"
    )


def folder_of(directory: Path) -> TallyFolder:
    """What lies in DIR; raises UsageError where that is no tally."""
    from unbrick.tally.folder import read_settings

    return read_settings(directory)[0]


def open_store(directory: Path) -> Store:
    """The database of the tally in DIR; close it."""
    from unbrick.tally.store.store import Store

    return Store.open(folder_of(directory).database, create=False)


def look_at_store(directory: Path) -> Store:
    """The same to look only: nothing is written, made or brought forward; close it."""
    from unbrick.tally.store.store import Store

    return Store.look(folder_of(directory).database)


def missing_reports(store: Store, folder: TallyFolder) -> str | None:
    """That acknowledged reports are missing, or revocations, or lines of the inventory: it comes before
    anything else.
    """
    from unbrick.tally.trust.register import lost_trust

    loss = store.loss() or lost_trust(folder)
    if loss is not None:
        return f"{loss}: unbrick help administrator"
    if lines := store.lines_waiting():
        return (
            f"{lines:,} lines of an inventory are not counted yet; "
            "where no import runs, import it again or start `tally serve` again"
        )
    return None


def show_progress(what: str, done: int, of: int) -> None:
    """A line to who watches a terminal, drawn over again and again; nothing into a file."""
    if can_redraw(sys.stderr):
        share = f" {100 * done // of} %" if of else ""
        click.echo(f"\r\x1b[K{what}{share}\r", err=True, nl=False)


def note(directory: Path, what: str, name: str, serial: int, **more: str) -> None:
    """Write down in the audit what was done to a station, and by whom."""
    from unbrick.tally.trust.audit import AuditLog

    AuditLog(folder_of(directory).audit).tell(what, station=name, serial=serial, by=acting_user(), **more)


def note_deed(directory: Path, what: str, **facts: str | int) -> None:
    """Write down in the audit what a person did to the numbers, and who that was."""
    from unbrick.tally.trust.audit import AuditLog

    AuditLog(folder_of(directory).audit).tell(what, **facts, by=acting_user())


def acting_user() -> str:
    """Who acts, for the record: a user without a name (in a container) is no reason to end in an error."""
    return login_name() or f"user {os.getuid()}"


def login_name() -> str | None:
    """Who is logged in; None where the system does not know."""
    with suppress(KeyError, OSError):
        return getpass.getuser()
    return None


def seen_reason(_: click.Context, option: click.Parameter, reason: str | None) -> str | None:
    """The callback of `--reason`: one that is given shows something to who reads it later."""
    if reason is not None and reason != option.default and not is_seen(reason):
        raise UsageError(
            "a reason that nobody can read is none", hint="say in a few words why: --reason TEXT"
        )
    return reason


def whose_word(who: str | None) -> str:
    """The name given, else the login name; raises UsageError where there is neither, or nothing to read."""
    if who is not None and not is_seen(who):
        raise UsageError("--who names nobody", hint="say on whose word it is: --who NAME; or leave it out")
    name = who or login_name()
    if name is None:
        raise UsageError("your login name is not known", hint="say on whose word it is: --who NAME")
    return name


def show_row(row: MachineRow) -> None:
    """A line for how a machine stands now."""
    tell(f"{row.name}: {row.status}" + (f" ({row.reason})" if row.reason else ""))
