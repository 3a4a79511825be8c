"""`unbrick tally`: the trusted side; each of its verbs has a file of its own.

Never touches a disk of a machine.
Read `folder.py` first.
"""

from __future__ import annotations

import click

from unbrick.cli.terminal.lazy_group import LazyGroup
from unbrick.errors import FailedError, Reason

_VERBS = {
    "address": "Give the tally other addresses: it moves, or has two.",
    "backup": "Copy the tally, also while it is served.",
    "check": "Look at everything that the tally keeps: whole, as it was signed, adding up.",
    "confirm": "Write down that a machine was seen alive in Windows.",
    "contradictions": "List what contradicts what, and what would settle it.",
    "enrol": "Enrol a station: makes its key and certificate.",
    "export": "Give every report away as it was signed.",
    "import": "Take the reports that `unbrick outbox export` wrote.",
    "init": "Make a tally: its authority, host key, first station and unbrick.yaml.",
    "inventory": "The machines that are expected.",
    "mark": "Write down what no medium saw: re-imaged, firmware-locked, hands-off, …",
    "merge": "Count two machines as one: a changed mainboard, a disk that moved.",
    "renew": "Give a station a new certificate, which it fetches in its next session.",
    "revoke": "End the trust in a station at once, for instance when a stick is lost.",
    "serve": "Serve the tally until it is stopped.",
    "stations": "List the stations: since when, until when, last report, revoked or not.",
    "settle": "Count or dismiss what a contradiction is about.",
    "split": "Count a machine as several: one firmware UUID, several computers.",
    "status": "Show how many machines are back, where, and what is stuck.",
    "unit": "Print a systemd unit that serves the tally.",
    "unrevoke": "Trust a station again that was revoked.",
    "unmark": "Take back what a person said of a machine: the last mark or confirmation.",
    "watch": "Watch the tally live on this terminal.",
}


class _TallyGroup(LazyGroup):
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


@click.group("tally", cls=_TallyGroup, verbs=_VERBS, prefix="unbrick.cli.tally.")
def command() -> None:
    """Count every machine, once, over SSH: the tally, its stations and its dashboard.

    Example: unbrick tally init tally --address tally.example.org:2291
    """
