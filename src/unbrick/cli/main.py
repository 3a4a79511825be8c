"""The command `unbrick`: finds the verb's file, runs it, turns every error into a line and an exit code."""

from __future__ import annotations

import json
import os
import sys
from typing import NoReturn

import click

from unbrick import __version__
from unbrick.cli.terminal.manners import color_option, say
from unbrick.cli.terminal.verb_group import VerbGroup
from unbrick.errors import FailedError, Reason, UnbrickError, UsageError
from unbrick.model import error_document
from unbrick.text import printable

_DEBUG = "run again with UNBRICK_DEBUG=1 and report what it prints"


@click.group(
    cls=VerbGroup,
    package="unbrick.cli",
    besides=frozenset({"main", "options", "terminal"}),
    params=[color_option()],
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="unbrick")
def unbrick() -> None:
    """Bring bricked Windows machines back, and put back what was taken away.

    Example: unbrick repair machine.img --keys keys.csv --yes
    """


def tell_error(error: UnbrickError) -> None:
    """One line what and where, one what to do; with `--json` a document, too."""
    say(f"unbrick: {printable(error.message)}", err=True)
    if error.hint:
        say(f"  what to do: {printable(error.hint)}", err=True)
    _tell_document(error.message, hint=error.hint, reason=error.reason)


def _tell_document(message: str, *, hint: str | None, reason: str | None) -> None:
    if _json_is_wanted():
        click.echo(json.dumps(error_document(message, hint=hint, reason=reason)))


def _json_is_wanted() -> bool:
    # From the arguments themselves: click may have failed before it came to the flag.
    arguments = sys.argv[1:]
    return "--json" in (arguments[: arguments.index("--")] if "--" in arguments else arguments)


def tell_fault(error: Exception) -> None:
    """A bug in unbrick in two lines; with UNBRICK_DEBUG it is raised."""
    if os.environ.get("UNBRICK_DEBUG"):
        raise error
    say(f"unbrick: internal error ({type(error).__name__}: {printable(str(error))})", err=True)
    say(f"  what to do: {_DEBUG}", err=True)


def main() -> NoReturn:
    """Run the command line and exit with the contract's code.

    Raises KeyboardInterrupt where it was stopped, with the exit code where that is not 130, for `__main__`.
    """
    try:
        code = unbrick.main(standalone_mode=False)
    except UnbrickError as error:
        tell_error(error)
        code = error.exit_code
    except click.Abort as error:
        raise KeyboardInterrupt(*error.args) from None
    except click.ClickException as error:
        code = _tell_usage(error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except OSError as error:
        where = str(error.filename) if error.filename else "the output"
        tell_error(FailedError(f"{where} could not be read or written: {error.strerror or error}"))
        code = 1
    except Exception as error:  # the last door: a user never sees a stack trace
        tell_fault(error)
        said = f"internal error ({type(error).__name__}: {error})"
        _tell_document(said, hint=_DEBUG, reason=Reason.INTERNAL_ERROR)
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


def _tell_usage(error: click.ClickException) -> int:
    error.show()
    context = getattr(error, "ctx", None)
    hint = f"{context.command_path} --help" if context else "unbrick --help"
    _tell_document(error.format_message(), hint=hint, reason=None)
    return UsageError.exit_code
