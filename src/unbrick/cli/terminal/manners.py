"""How the command line behaves at a terminal: colours, lines wrapped at words, what may be drawn over.

Every verb prints its sentences with `say`.
"""

from __future__ import annotations

import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import click

from unbrick.errors import UsageError
from unbrick.events.event import moment
from unbrick.station.telling.event_log import EventLog

_NARROWEST = 20
_COMMAND = re.compile(r"(?:^ *|(?<=[:;] ))(unbrick \S.*)$")
_LONGEST_LOG = 64 * 1024 * 1024


class _Session:
    """What `--verbose` and `--log` have set for this run of the program."""

    def __init__(self) -> None:
        self.verbose = False
        self.log: EventLog | None = None


session = _Session()


def _choose_color(ctx: click.Context, _: click.Parameter, word: str | None) -> None:
    # rich reads the same variables.
    if word == "always":
        ctx.color = True
        os.environ.pop("NO_COLOR", None)
        os.environ["FORCE_COLOR"] = "1"
    elif word == "never":
        ctx.color = False
        os.environ.pop("FORCE_COLOR", None)
        os.environ["NO_COLOR"] = "1"
    elif ctx.parent is None and (os.environ.get("NO_COLOR") or _is_dumb()):
        ctx.color = False


def _choose_verbose(ctx: click.Context, _: click.Parameter, verbose: bool) -> None:
    session.verbose = verbose


def _choose_log(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    # Opened now: work that cannot be logged must not begin.
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise UsageError(f"{path}: the log cannot be written: {error.strerror}") from error
    os.close(descriptor)
    session.log = EventLog(path, stamp=lambda: moment(datetime.now(UTC)), most_bytes=_LONGEST_LOG)
    session.log.say(ctx.command_path)


def color_option() -> click.Option:
    """`--color`, which every verb takes."""
    return click.Option(
        ["--color"],
        type=click.Choice(["auto", "always", "never"]),
        is_eager=True,
        expose_value=False,
        callback=_choose_color,
        help="Colours: auto (at a terminal, unless NO_COLOR is set), always, never.",
    )


verbose_option = click.option(
    "--verbose",
    is_flag=True,
    expose_value=False,
    callback=_choose_verbose,
    help="Say each step and how long it took.",
)
log_option = click.option(
    "--log",
    type=click.Path(path_type=Path),
    metavar="FILE",
    expose_value=False,
    callback=_choose_log,
    help="Add a line to FILE for each step and each answer; no secret is in it.",
)


def with_color(command: click.Command) -> click.Command:
    """The command and all below it, with `--color`."""
    if not any(parameter.name == "color" for parameter in command.params):
        command.params.append(color_option())
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            with_color(inner)
    return command


def _is_dumb() -> bool:
    return os.environ.get("TERM", "") in {"", "dumb"}


def can_redraw(stream: TextIO) -> bool:
    """Whether the stream is a terminal on which a line can be drawn over."""
    return stream.isatty() and not _is_dumb()


def emphasis(stream: TextIO) -> bool:
    """Whether the stream may show bold and colours."""
    context = click.get_current_context(silent=True)
    color = context.color if context else None
    return can_redraw(stream) if color is None else color


def say(line: str, *, err: bool = False) -> None:
    """Print and log one line, wrapped at words on a terminal; the caller makes strangers' text printable."""
    if session.log is not None:
        session.log.say(click.unstyle(line))
    stream = sys.stderr if err else sys.stdout
    click.echo(wrap(line, _width(stream)), err=err)


def _width(stream: TextIO) -> int:
    """The columns of a terminal; 0 for any other stream."""
    try:
        return os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0
    except (OSError, ValueError):
        return 0


def wrap(line: str, width: int) -> str:
    """Break a line between words; later lines are indented by two more.

    No word is broken, as a path must stay one, and a command to type at the end stays whole.
    """
    if width < _NARROWEST or _cells(line) <= width:
        return line
    indent = " " * (len(line) - len(line.lstrip(" ")) + 2)
    command = _COMMAND.search(line)
    words = (line[: command.start(1)] if command else line).split(" ")
    words = [*words[:-1], command[1]] if command else words
    lines = [words[0]]
    for word in words[1:]:
        if _cells(lines[-1]) + 1 + _cells(word) <= width or not lines[-1].strip():
            lines[-1] += " " + word
        else:
            lines.append(indent + word)
    return "\n".join(lines)


def _cells(text: str) -> int:
    plain = click.unstyle(text)
    if plain.isascii():
        return len(plain)
    from rich.cells import cell_len

    return cell_len(plain)
