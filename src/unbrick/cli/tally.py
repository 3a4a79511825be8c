"""`unbrick tally`: the trusted side: init, serve, enrol, revoke, import; and what it shows and is told."""

from __future__ import annotations

import getpass
import json
import os
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unbrick.cli.manners import say
from unbrick.errors import FailedError, Reason, UsageError
from unbrick.printable import printable

if TYPE_CHECKING:
    from unbrick.tally.board import Board
    from unbrick.tally.records import MachineRow
    from unbrick.tally.settings import TallyFolder
    from unbrick.tally.store import Store

_directory = click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
_who = click.option("--who", metavar="NAME", help="On whose word; without it, your login name.")


class _TallyGroup(click.Group):
    """The tally's libraries are optional: a medium has no use for them."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the verb; says in a line which library is missing."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            if error.name not in {"asyncssh", "sqlalchemy"}:
                raise
            raise FailedError(
                f"the library {error.name} is not installed",
                hint="install unbrick with its tally: pip install 'unbrick[tally]'",
                reason=Reason.MISSING_TOOL,
            ) from error


@click.group("tally", cls=_TallyGroup)
def command() -> None:
    """Count every machine, once, over SSH: the tally, its stations and its dashboard.

    Example: unbrick tally init tally --address tally.example.org:2291
    """


@command.command("init")
@_directory
@click.option(
    "--address", metavar="HOST:PORT", help="Where stations reach it; without it 127.0.0.1:2291 (practice)."
)
@click.option("--site", default="main", show_default=True, help="The site of the first station.")
def init(directory: Path, address: str | None, site: str) -> None:
    """Make a tally in DIR (new or empty): its authority, host key, first station and unbrick.yaml.

    Example: unbrick tally init tally --address tally.example.org:2291
    """
    from unbrick.tally.authority import create_authority
    from unbrick.tally.settings import DEFAULT_ADDRESS, parse_address
    from unbrick.tally.store import Store

    where = parse_address(address or DEFAULT_ADDRESS)
    folder = create_authority(directory, where, site=site)
    Store.open(folder.database).close()
    _tell(f"made a tally in {directory}; stations will reach it at {where}")
    if where.is_loopback:
        _tell("  that address is this computer only: for real stations, make one with --address HOST:PORT")
    _tell(f"start it: unbrick tally serve {directory}")
    _tell("to every computer that repairs disks, copy these three files side by side:")
    for name in ("unbrick.yaml", "station", "station-cert.pub"):
        _tell(f"  {directory / name}")
    _tell(f"then: unbrick repair DISK --station {directory / 'unbrick.yaml'}")
    _tell_how_to_build(directory)
    _tell(f"keep {directory / 'authority'} secret: whoever has it can enrol stations")
    _tell(
        f"back up {directory} whole while nothing serves it, "
        f"or tally.db by `sqlite3 tally.db '.backup copy.db'`"
    )


@command.command("serve")
@_directory
@click.option("--host", help="Listen on this address only.")
@click.option("--port", type=click.IntRange(0, 65535), help="Listen on this port instead; 0: any free one.")
def serve(directory: Path, host: str | None, port: int | None) -> None:
    """Serve the tally in DIR until it is stopped (Ctrl-C or SIGTERM); every report in hand is kept.

    Example: unbrick tally serve tally
    """
    from unbrick.tally import server

    server.serve(directory, host=host, port=port, ready=lambda address: _tell(f"listening on {address}"))


@command.command("enrol")
@_directory
@click.argument("name")
@click.option("--site", required=True, help="Where the station works; every report carries it.")
@click.option(
    "--out",
    required=True,
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="A new or empty folder for the station's key, certificate and unbrick.yaml.",
)
def enrol(directory: Path, name: str, site: str, out: Path) -> None:
    """Enrol a station: makes its key and certificate, for two years.

    Example: unbrick tally enrol tally stick-07 --site st-marys --out stick-07
    """
    from unbrick.tally.authority import enrol as enrol_station

    station = enrol_station(directory, name, site, out)
    _note(directory, "enrolled", name, station.serial)
    _tell(f"enrolled {name} (certificate {station.serial}, until {station.expires[:10]})")
    _tell(f"keep what is in {out} together")
    _tell_how_to_build(out)


@command.command("revoke")
@_directory
@click.argument("name")
def revoke(directory: Path, name: str) -> None:
    """End the trust in a station at once, for instance when a stick is lost; open sessions end too.

    Reports that it signed and that have not arrived yet are refused from now on.

    Example: unbrick tally revoke tally stick-07
    """
    from unbrick.tally.authority import revoke as revoke_station

    for station in revoke_station(directory, name):
        _note(directory, "revoked", name, station.serial)
        _tell(f"revoked {name} (certificate {station.serial})")


@command.command("import")
@_directory
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--accept-key",
    "accepted",
    multiple=True,
    metavar="FINGERPRINT",
    help="Also take reports signed by this key, which is not enrolled: that of a medium without settings.",
)
def import_file(directory: Path, file: Path, accepted: tuple[str, ...]) -> None:
    """Take the reports that `unbrick outbox export` wrote to FILE; each is counted once.

    FILE may also be an opened stick, or its folder outbox; nothing leaves it. Or it holds, a line each, the
    texts of the square codes that stations showed (UNBRICK1:…).

    Example: unbrick tally import tally outbox-stick-07.jsonl
    """
    from unbrick.tally.exported import import_export

    counts = import_export(directory, file, accepted)
    _tell(f"{counts.new} new, {counts.known} known already, {counts.refused.total()} refused")
    for text, count in counts.refused.most_common():
        say(f"unbrick: refused {count}: {printable(text)}", err=True)
    if counts.refused:
        click.get_current_context().exit(1)


@command.group("inventory")
def inventory() -> None:
    """The machines that are expected.

    Example: unbrick tally inventory import tally inventory.csv
    """


@inventory.command("import")
@_directory
@click.argument("file", metavar="CSV", type=click.Path(path_type=Path))
@click.option("--replace", "replacing", is_flag=True, help="Forget expected machines that CSV does not name.")
def import_inventory(directory: Path, file: Path, replacing: bool) -> None:
    """Take the list of expected machines, so that "not yet seen" is a number.

    Example: unbrick tally inventory import tally inventory.csv
    """
    with _store(directory) as store:
        counts = store.import_inventory(file, replace=replacing)
    changes = f"{counts.added} added, {counts.updated} updated, {counts.unchanged} unchanged"
    _tell(f"{changes}, {counts.removed} removed, {counts.bad} not usable")
    for problem in counts.problems:
        say(f"unbrick: {file.name} {printable(str(problem))}", err=True)
    if counts.bad:
        click.get_current_context().exit(1)


@command.command("mark")
@_directory
@click.argument("name")
@click.argument("status")
@click.option("--reason", required=True, help="Why, in a few words.")
@_who
def mark(directory: Path, name: str, status: str, reason: str, who: str | None) -> None:
    """Write down what no medium saw: that machine NAME is re-imaged, firmware-locked, hands-off, …

    Counted apart from what machines proved. An unknown STATUS is refused, and the known ones are named.

    Example: unbrick tally mark tally WARD-3-PC re-imaged --reason "disk was replaced"
    """
    with _store(directory) as store:
        _show(store.mark(name, status, reason=reason, who=_whose_word(who)))


@command.command("confirm")
@_directory
@click.argument("name")
@click.option("--reason", default="", help="How it is known.")
@_who
def confirm(directory: Path, name: str, reason: str, who: str | None) -> None:
    """Write down that machine NAME was seen alive in Windows.

    Example: unbrick tally confirm tally WARD-3-PC
    """
    with _store(directory) as store:
        _show(store.confirm(name, who=_whose_word(who), reason=reason))


@command.command("status")
@_directory
@click.option("--json", "as_json", is_flag=True, help="One JSON document, with every machine.")
@click.option("--find", metavar="NAME", help="Only the machine with this name or sticker code.")
def status(directory: Path, as_json: bool, find: str | None) -> None:
    """Show how many machines are back, where, and what is stuck.

    Example: unbrick tally status tally --json
    """
    from unbrick.tally.board import read_board
    from unbrick.tally.condition import read_trouble
    from unbrick.tally.screen import render_status

    trouble = read_trouble(_folder(directory))
    with _store(directory) as store:
        if find is not None:
            _show_found(store, find, as_json=as_json)
            return
        if as_json:
            if trouble:
                say(f"unbrick: {printable(trouble)}", err=True)
            total, machines = store.summary(), store.machines(limit=None)
            rows = [_described(row) for row in machines]
            document = {"total": total.total, "by_status": dict(total.by_status), "machines": rows}
            click.echo(json.dumps(document))
            return
        from rich.console import Console

        board = read_board(store, datetime.now().astimezone())
        Console().print(render_status(replace(board, trouble=trouble or board.trouble)))


@command.command("watch")
@_directory
def watch(directory: Path) -> None:
    """Watch the tally live on this terminal; q ends it.

    Example: unbrick tally watch tally
    """
    from rich.console import Console

    from unbrick.tally.board import Reader
    from unbrick.tally.condition import read_trouble
    from unbrick.tally.watch import watch_terminal

    folder = _folder(directory)
    with _store(directory) as store:
        reader = Reader(store)

        def read() -> Board:
            board = reader.read(datetime.now().astimezone())
            trouble = read_trouble(folder)
            return replace(board, trouble=trouble) if trouble else board

        watch_terminal(read, Console())


def _show_found(store: Store, wanted: str, *, as_json: bool) -> None:
    from unbrick.short_code import is_short_code, plain_code

    code = plain_code(wanted) if is_short_code(wanted) else None
    named = {row.key for row in store.machines(name=wanted, limit=None)}
    found = [
        row
        for row in store.machines(limit=None)
        if row.key in named or (code is not None and plain_code(row.code or "") == code)
    ]
    if not found:
        raise FailedError(
            f"no machine has the name or the sticker code {wanted}",
            hint="its medium may not have reported yet"
            if code
            else "a sticker code has eight characters, and the last one checks the others: read it again",
        )
    if as_json:
        rows = [{**_described(row), "code": row.code} for row in found]
        click.echo(json.dumps({"machines": rows}))
        return
    for row in found:
        why = f" ({row.reason})" if row.reason else ""
        where = f" at {row.site}" if row.site else ""
        _tell(f"{row.code or '-'}  {row.name}{where}: {row.status}{why}")


def _described(row: MachineRow) -> dict[str, str | None]:
    return {"name": row.name, "site": row.site, "status": row.status, "reason": row.reason}


def _tell(line: str) -> None:
    say(printable(line))


def _tell_how_to_build(folder: Path) -> None:
    """What makes a boot medium of a station's files; the manual on media has the rest."""
    _tell(
        f"a boot medium with them: unbrick media build --out unbrick.iso --station {folder / 'unbrick.yaml'}"
    )


def _folder(directory: Path) -> TallyFolder:
    from unbrick.tally.settings import read_settings

    return read_settings(directory)[0]


def _store(directory: Path) -> Store:
    from unbrick.tally.store import Store

    return Store.open(_folder(directory).database)


def _note(directory: Path, what: str, name: str, serial: int) -> None:
    from unbrick.tally.audit import AuditLog

    # What is noted has been done: a user without a name (in a container) must not end in an error now.
    by = _login_name() or f"user {os.getuid()}"
    AuditLog(_folder(directory).audit).tell(what, station=name, serial=serial, by=by)


def _login_name() -> str | None:
    with suppress(KeyError, OSError):
        return getpass.getuser()
    return None


def _whose_word(who: str | None) -> str:
    name = who or _login_name()
    if name is None:
        raise UsageError("your login name is not known", hint="say on whose word it is: --who NAME")
    return name


def _show(row: MachineRow) -> None:
    _tell(f"{row.name}: {row.status}" + (f" ({row.reason})" if row.reason else ""))
