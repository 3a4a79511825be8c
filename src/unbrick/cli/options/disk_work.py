"""The verbs on disks: a verb's file says its goal, its options and its help; all else is here.

`work_on_disks` takes what click hands to the verb, makes an order for each disk, works in a process apart,
prints a report a disk and exits with the code of the worst.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from click.core import ParameterSource

from unbrick.cli.main import tell_fault
from unbrick.cli.options.answer import PATH, json_flag, warn
from unbrick.cli.options.consent import is_watched, require_consent
from unbrick.cli.terminal.manners import emphasis, log_option, say, verbose_option
from unbrick.cli.terminal.progress import below_progress, erase_progress, step_listeners
from unbrick.cli.terminal.wording import (
    declined_lines,
    diagnostic_lines,
    plain,
    plan_lines,
    report_lines,
    run_lines,
)
from unbrick.disks.images.image import ImageFormat
from unbrick.incidents.library import load_library, with_playbooks
from unbrick.incidents.playbook import Playbook
from unbrick.keys.chain import KeyChain, open_sources
from unbrick.model import DiskReport, exit_code, worst_status
from unbrick.recovery.case import Goal, Order
from unbrick.recovery.isolated import StoppedError, recover_isolated
from unbrick.text import printable

if TYPE_CHECKING:
    from unbrick.report.link import StationLink

_OF_THIS_RUN_ONLY = {"dry_run", "yes", "as_json", "run"}
Verb = Callable[..., None]
# Whether a disk can be read is said in its own answer.
disk_path = click.Path(path_type=Path, readable=False)
disks_argument = click.argument("disks", nargs=-1, required=True, metavar="DISK...", type=disk_path)
_json_option = json_flag("One JSON document a disk, one a line.")
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
    type=PATH,
    metavar="FILE",
    help="The unbrick.yaml of a station: use its keys and playbooks, report to its tally.",
)
playbooks_option = click.option(
    "--playbook",
    "playbooks",
    multiple=True,
    type=PATH,
    metavar="FILE",
    help="A playbook of your own, beside those that come with unbrick. May be given several times.",
)
_yes_option = click.option("--yes", is_flag=True, help="Do not ask before writing.")
_dry_run_option = click.option("--dry-run", is_flag=True, help="Show the plan; write nothing.")
_format_option = click.option(
    "--format",
    "image_format",
    type=click.Choice([one.value for one in ImageFormat]),
    callback=lambda _context, _option, word: ImageFormat(word) if word else None,
    help="What kind of image DISK is, where its name does not say it. Its content must agree.",
)
_ignore_option = click.option(
    "--ignore-signature",
    "ignored",
    type=click.Choice(["raid"]),
    help="Go on although DISK is marked as a member of a RAID. Only for a stale mark, of an array that is "
    "gone: writing one member of a living array splits it.",
)


def consent_options(verb: Verb) -> Verb:
    """`--dry-run` and `--yes`, of a verb that writes."""
    return _dry_run_option(_yes_option(verb))


def opening_options(verb: Verb) -> Verb:
    """`--format` and `--ignore-signature`: how the disk is opened."""
    return _format_option(_ignore_option(verb))


def output_options(verb: Verb) -> Verb:
    """`--json`, `--verbose` and `--log`: how the answer is given."""
    return _json_option(verbose_option(log_option(verb)))


def disk_options(verb: Verb) -> Verb:
    """What every verb takes that may report to a tally: the two above, and `--station`."""
    return opening_options(station_option(output_options(verb)))


def work_on_disks(
    goal: Goal,
    *,
    disks: Sequence[Path],
    as_json: bool,
    image_format: ImageFormat | None,
    ignored: str | None,
    keys: Sequence[str] | None = None,
    playbooks: Sequence[Path] | None = None,
    station: Path | None = None,
    dry_run: bool = False,
    yes: bool = False,
    **wanted: Any,
) -> NoReturn:
    """Work on each disk in turn, print its report, and exit with the code of the worst.

    `keys` and `playbooks` are None for a verb that has no such option; `wanted` are other fields of `Order`.
    """
    if goal.changes:
        hint = "add --yes to go ahead, or --dry-run to see the plan"
        require_consent(yes=yes or dry_run, why="this writes to the disk", hint=hint)
    link = _open_station(station)
    library = load_library if playbooks is None else _open_playbooks(playbooks, link)
    if keys is None:
        chain = open_keys((), ask_person=False)
    else:
        chain = open_keys(keys, ask_person=not as_json, link=link)
    reports = []
    with link or nullcontext():
        for disk in disks:
            order = Order(
                disk,
                goal,
                dry_run=dry_run,
                image_format=image_format,
                ignore_raid=ignored is not None,
                **wanted,
            )
            try:
                report = recover_isolated(
                    order,
                    chain,
                    confirm=partial(_ask, goal=goal) if goal.changes and not yes else None,
                    link=link,
                    listeners=step_listeners(),
                    playbooks=library,
                    on_fault=_tell_fault,
                )
            except StoppedError as stopped:
                erase_progress()
                if as_json:
                    click.echo(json.dumps(_document(stopped.report, goal)))
                raise click.Abort(stopped.exit_code) from None
            reports.append(report)
            _print_report(report, goal, as_json=as_json)
    sys.exit(exit_code(worst_status(report.status for report in reports)))


def _open_station(path: Path | None) -> StationLink | None:
    """The link to a station's tally; raises UsageError."""
    if path is None:
        return None
    # Loaded here: without a station a repair should not wait for it.
    from unbrick.report.link import open_link

    return open_link(path, warn, _tell_last_wait if sys.stderr.isatty() else None)


def _open_playbooks(files: Sequence[Path], link: StationLink | None) -> Callable[[], Sequence[Playbook]]:
    """A function that gives the library, these files and the station's own; raises UsageError."""
    station = link.station if link else None
    if not files and station is None:
        return load_library  # read beside the work, not before it
    playbooks = with_playbooks(files, station)
    return lambda: playbooks


def _tell_last_wait() -> None:
    say("  sending the last reports … (Ctrl-C: send them another time)", err=True)


def _ask(report: DiskReport, goal: Goal) -> bool:
    for line in plan_lines(report, goal):
        say(line, err=True)
    return click.confirm("Go ahead?", default=False, err=True)


def open_keys(specs: Sequence[str], *, ask_person: bool, link: StationLink | None = None) -> KeyChain:
    """The sources in the order given, those of the station's file, then a person at a terminal.

    Warns of bad lines on stderr.
    """
    sources = open_sources([*specs, *(link.station.keys if link else ())])
    interactive = ask_person and is_watched()
    if interactive:
        from unbrick.keys.sources.person import PersonKeySource

        screen = below_progress(sys.stderr)
        sources = (*sources, PersonKeySource(sys.stdin, screen, emphasis=emphasis(sys.stderr)))
    chain = KeyChain(sources, interactive=interactive)
    for warning in chain.warnings:
        warn(warning)
    return chain


def _tell_fault(error: Exception) -> None:
    """A bug in unbrick ends the work on this disk only."""
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


def with_given(verb: str, disk: str) -> str:
    """`unbrick VERB DISK` to type next, with the options given now that this verb takes, too."""
    return " ".join([plain(verb, disk), *map(shlex.quote, _given_options(verb))])


def _given_options(verb: str) -> Iterator[str]:
    context = click.get_current_context()
    taken = {parameter.name for parameter in import_module(f"unbrick.cli.{verb}").command.params}
    for option in context.command.params:
        name = option.name
        if not isinstance(option, click.Option) or name not in context.params:
            continue
        if name is None or name not in taken - _OF_THIS_RUN_ONLY:
            continue
        if context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        value = context.params[name]
        for one in value if option.multiple else (value,):
            yield option.opts[0]
            if not option.is_flag:
                yield printable(str(one))
