"""Asking a person before something is changed."""

from __future__ import annotations

import sys

import click

from unbrick.errors import FailedError, UsageError
from unbrick.text import printable


def is_watched() -> bool:
    """Whether somebody sits there who can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def require_consent(*, yes: bool, why: str = "this asks first", hint: str = "add --yes to go ahead") -> None:
    """Without `--yes` somebody must be there to ask; raises UsageError, before anything was looked at."""
    if not yes and not is_watched():
        raise UsageError(f"{why}, and there is no terminal to ask on", hint=hint)


def ask(question: str, *, yes: bool) -> None:
    """Ask, unless `yes`; only a clear yes goes on, everything else raises FailedError."""
    if not yes and not click.confirm(printable(question), default=False, err=True):
        raise FailedError("nothing was changed: the answer was no")
