"""Asking a person before a verb of the tally changes what cannot be overlooked."""

from __future__ import annotations

import sys

import click

from unbrick.errors import FailedError, UsageError
from unbrick.text import printable


def require_consent(*, yes: bool) -> None:
    """Without `--yes` somebody must be there to ask; raises UsageError, before anything was looked at."""
    if not yes and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("this asks first, and there is no terminal to ask on", hint="add --yes to go ahead")


def ask(question: str, *, yes: bool) -> None:
    """Ask, unless `yes`; only a clear yes goes on, everything else raises FailedError."""
    if not yes and not click.confirm(printable(question), default=False, err=True):
        raise FailedError("nothing was changed: the answer was no")
