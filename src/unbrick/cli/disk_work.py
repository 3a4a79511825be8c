"""What `scan`, `diagnose`, `repair` and `undo` share: keys, isolation, one report a disk, the exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from unbrick.cli.progress import terminal_listeners
from unbrick.cli.wording import diagnostic_lines, plan_lines, printable, report_lines
from unbrick.command import SystemRunner
from unbrick.disks.firmware import read_firmware
from unbrick.disks.isolation import run_isolated
from unbrick.errors import FailedError, Reason, UnbrickError, UsageError
from unbrick.incidents.library import load_library
from unbrick.keys.chain import KeyChain, open_sources
from unbrick.model import DiskReport, exit_code, worst_status
from unbrick.outcome import Draft
from unbrick.recovery import Confirm, Goal, Kit, Order, recover_disk
from unbrick.repair.plan import new_run_id
from unbrick.report.recorder import Recorder
from unbrick.wire import SignedEvent

if TYPE_CHECKING:
    from unbrick.cli.station_link import StationLink

disks_argument = click.argument(
    "disks", nargs=-1, required=True, metavar="DISK...", type=click.Path(path_type=Path)
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document a disk, one a line.")
keys_option = click.option(
    "--keys",
    "keys",
    multiple=True,
    metavar="SRC",
    help="Where recovery passwords are: a CSV with KeyID,RecoveryKey. May be given several times.",
)
station_option = click.option(
    "--station",
    "station",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The unbrick.yaml of a station: report to its tally.",
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask before writing.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Show the plan; write nothing.")


def open_station(path: Path | None) -> StationLink | None:
    """The link that `--station` asks for, None without it; raises UsageError before anything is touched."""
    if path is None:
        return None
    # Loaded here because a repair that reports to nobody should not wait for it.
    from unbrick.cli.station_link import open_link

    return open_link(path)


def require_consent(*, yes: bool, dry_run: bool) -> None:
    """Without `--yes` somebody must be there to ask; raises UsageError, before anything was looked at."""
    if not yes and not dry_run and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "this writes to the disk, and there is no terminal to ask on",
            hint="add --yes to go ahead, or --dry-run to see the plan",
        )


def _ask(report: DiskReport, *, undoing: bool) -> bool:
    """Show the plan and ask; only a clear yes counts."""
    for line in plan_lines(report, undoing=undoing):
        click.echo(line, err=True)
    return click.confirm("Go ahead?", default=False, err=True)


def open_keys(specs: Sequence[str], *, ask_person: bool, link: StationLink | None = None) -> KeyChain:
    """The key sources in the order given, those of the station's file, then a person where one is there.

    Tells of bad lines on stderr.
    """
    sources = open_sources([*specs, *(link.station.keys if link else ())])
    interactive = ask_person and sys.stdin.isatty() and sys.stderr.isatty()
    if interactive:
        from unbrick.keys.person import PersonKeySource

        sources = (*sources, PersonKeySource(sys.stdin, sys.stderr))
    chain = KeyChain(sources, interactive=interactive)
    for warning in chain.warnings:
        click.echo(f"unbrick: {printable(warning)}", err=True)
    return chain


def _work(
    order: Order, run: str, keys: KeyChain, confirm: Confirm | None, link: StationLink | None, workdir: Path
) -> tuple[DiskReport, tuple[SignedEvent, ...]]:
    """The report, and the events about it that no outbox would take."""
    listener = link.listener() if link else None
    listeners = terminal_listeners()
    kit = Kit(
        runner=SystemRunner(),
        recorder=Recorder(
            run,
            (listener, *listeners) if listener else listeners,
            site=link.station.site if link else None,
        ),
        keys=keys,
        playbooks=load_library(),
        workdir=workdir,
        confirm=confirm,
    )
    report = recover_disk(order, kit)
    return report, listener.kept if listener else ()


class StoppedError(click.Abort):
    """A signal or the person stopped the work on one disk; `report` is what a script is told of it."""

    def __init__(self, report: DiskReport) -> None:
        super().__init__()
        self.report = report


def _stopped(order: Order) -> FailedError:
    return FailedError(
        f"the work on {order.disk} was stopped before it was done",
        hint="run the same command again: what was begun is then finished or taken back",
        reason=Reason.INTERRUPTED,
    )


def recover_isolated(
    order: Order,
    keys: KeyChain,
    confirm: Confirm | None = None,
    link: StationLink | None = None,
) -> DiskReport:
    """Work on one disk in namespaces of its own; an error becomes the disk's report.

    What happens is reported through `link`, which must have been entered.

    Raises StoppedError where a signal or the person stopped it: everything has been cleaned up by then.
    """
    run = link.run_in_order(new_run_id()) if link else new_run_id()
    try:
        report, kept = run_isolated(partial(_work, order, run, keys, confirm, link))
    except UnbrickError as error:
        report = Draft(order.disk, trouble=error, firmware=read_firmware(order.disk)).report()
        if link and error.reason == Reason.INTERRUPTED:
            link.tell_last_word(run, report)
        return report
    except (KeyboardInterrupt, SystemExit):
        report = Draft(order.disk, trouble=_stopped(order), firmware=read_firmware(order.disk)).report()
        if link:
            link.tell_last_word(run, report)
        raise StoppedError(report) from None
    if link:
        link.take_back(kept)
    return report


def work_on_disks(
    orders: Sequence[Order],
    *,
    keys: KeyChain,
    yes: bool,
    as_json: bool,
    link: StationLink | None = None,
) -> NoReturn:
    """Work on each disk in turn, print its report, and exit with the code of the worst."""
    reports = []
    with link or nullcontext():
        for order in orders:
            undoing = order.goal is Goal.UNDO
            confirm = None if yes else partial(_ask, undoing=undoing)
            try:
                report = recover_isolated(order, keys, confirm, link)
            except StoppedError as stopped:
                if as_json:
                    click.echo(json.dumps(stopped.report.to_document()))
                raise
            reports.append(report)
            _print_report(report, undoing=undoing, as_json=as_json)
    sys.exit(exit_code(worst_status(report.status for report in reports)))


def _print_report(report: DiskReport, *, undoing: bool, as_json: bool) -> None:
    if as_json:
        for line in diagnostic_lines(report):
            click.echo(line, err=True)
        click.echo(json.dumps(report.to_document()))
    else:
        for line in report_lines(report, undoing=undoing):
            click.echo(line)
