"""What `scan`, `diagnose`, `repair` and `undo` share: keys, isolation, one report a disk, the exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from unbrick.cli.main import tell_fault
from unbrick.cli.terminal.given import with_given
from unbrick.cli.terminal.manners import emphasis, log_option, say, verbose_option
from unbrick.cli.terminal.progress import below_progress, erase_progress, step_listeners
from unbrick.cli.terminal.wording import declined_lines, diagnostic_lines, plan_lines, report_lines, run_lines
from unbrick.errors import UsageError
from unbrick.incidents.library import load_library
from unbrick.incidents.playbook import Playbook
from unbrick.incidents.site_playbooks import with_playbooks
from unbrick.keys.chain import KeyChain, open_sources
from unbrick.model import DiskReport, exit_code, worst_status
from unbrick.recovery.case import Goal, Order
from unbrick.recovery.isolated import StoppedError, recover_isolated
from unbrick.text import printable

if TYPE_CHECKING:
    from unbrick.report.link import StationLink

disk_path = click.Path(path_type=Path, readable=False)
"""Whether it can be read is said of each disk in its own answer."""
disks_argument = click.argument("disks", nargs=-1, required=True, metavar="DISK...", type=disk_path)
_json_flag = click.option("--json", "as_json", is_flag=True, help="One JSON document a disk, one a line.")
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
    help="The unbrick.yaml of a station: use its keys and playbooks, report to its tally.",
)
playbooks_option = click.option(
    "--playbook",
    "playbooks",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A playbook of your own, beside those that come with unbrick. May be given several times.",
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask before writing.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Show the plan; write nothing.")


def output_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say how the answer is given: `--json`, `--verbose`, `--log`."""
    return _json_flag(verbose_option(log_option(command)))


def open_station(path: Path | None) -> StationLink | None:
    """The link that `--station` asks for, None without it; raises UsageError before anything is touched."""
    if path is None:
        return None
    # Loaded here because a repair that reports to nobody should not wait for it.
    from unbrick.report.link import open_link

    return open_link(path, tell, _tell_last_wait if sys.stderr.isatty() else None)


def tell(sentence: str) -> None:
    """One line on stderr, whatever the words in it came from."""
    say(f"unbrick: {printable(sentence)}", err=True)


def open_playbooks(files: Sequence[Path], link: StationLink | None) -> Callable[[], Sequence[Playbook]]:
    """What gives the library, these files and the station's own; raises UsageError where one is bad."""
    station = link.station if link else None
    if not files and station is None:
        return load_library  # read beside the work, not before it
    playbooks = with_playbooks(files, station)
    return lambda: playbooks


def _tell_last_wait() -> None:
    say("  sending the last reports … (Ctrl-C: send them another time)", err=True)


def require_consent(*, yes: bool, dry_run: bool) -> None:
    """Without `--yes` somebody must be there to ask; raises UsageError, before anything was looked at."""
    if not yes and not dry_run and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "this writes to the disk, and there is no terminal to ask on",
            hint="add --yes to go ahead, or --dry-run to see the plan",
        )


def _ask(report: DiskReport, goal: Goal) -> bool:
    """Show the plan and ask; only a clear yes counts."""
    for line in plan_lines(report, goal):
        say(line, err=True)
    return click.confirm("Go ahead?", default=False, err=True)


def open_keys(specs: Sequence[str], *, ask_person: bool, link: StationLink | None = None) -> KeyChain:
    """The key sources in the order given, those of the station's file, then a person where one is there.

    Tells of bad lines on stderr.
    """
    sources = open_sources([*specs, *(link.station.keys if link else ())])
    interactive = ask_person and sys.stdin.isatty() and sys.stderr.isatty()
    if interactive:
        from unbrick.keys.sources.person import PersonKeySource

        screen = below_progress(sys.stderr)
        sources = (*sources, PersonKeySource(sys.stdin, screen, emphasis=emphasis(sys.stderr)))
    chain = KeyChain(sources, interactive=interactive)
    for warning in chain.warnings:
        tell(warning)
    return chain


def work_on_disks(
    orders: Sequence[Order],
    *,
    keys: KeyChain,
    yes: bool,
    as_json: bool,
    link: StationLink | None = None,
    playbooks: Callable[[], Sequence[Playbook]] = load_library,
) -> NoReturn:
    """Work on each disk in turn, print its report, and exit with the code of the worst."""
    reports = []
    with link or nullcontext():
        for order in orders:
            try:
                report = recover_isolated(
                    order,
                    keys,
                    confirm=None if yes else partial(_ask, goal=order.goal),
                    link=link,
                    listeners=step_listeners(),
                    playbooks=playbooks,
                    on_fault=_tell_fault,
                )
            except StoppedError as stopped:
                erase_progress()
                if as_json:
                    click.echo(json.dumps(_document(stopped.report, order.goal)))
                raise click.Abort(stopped.exit_code) from None
            reports.append(report)
            _print_report(report, order.goal, as_json=as_json)
    sys.exit(exit_code(worst_status(report.status for report in reports)))


def _tell_fault(error: Exception) -> None:
    """A mistake of our own on one disk ends that disk's work, and no other's."""
    if isinstance(error, click.Abort):  # the person, asked whether to go ahead, ended the input
        raise error
    tell_fault(error)


def _print_report(report: DiskReport, goal: Goal, *, as_json: bool) -> None:
    erase_progress()
    if as_json:
        for line in diagnostic_lines(report):
            say(line, err=True)
        click.echo(json.dumps(_document(report, goal)))
        return
    if goal is Goal.RUNS:
        lines = run_lines(report)
    elif report.agreed is False:
        lines = declined_lines(report, goal=goal, command=with_given)
    else:
        lines = report_lines(report, goal=goal, command=with_given)
    for line in lines:
        say(line)


def _document(report: DiskReport, goal: Goal) -> dict[str, Any]:
    listing = {"runs": [run.to_listing() for run in report.runs]} if goal is Goal.RUNS else {}
    return {**report.to_document(), **listing}
