"""Serve the tally until it is stopped."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from unbrick.cli.options.answer import PATH, tell, warn
from unbrick.cli.options.tally_act import Act, who_option
from unbrick.cli.options.tally_folder import directory_argument

_LEVELS = ("debug", "info", "warning", "error")


@click.command("serve")
@directory_argument
@click.option("--host", help="Listen on this address only.")
@click.option("--port", type=click.IntRange(0, 65535), help="Listen on this port instead; 0: any free one.")
@click.option(
    "--accept-loss",
    is_flag=True,
    help="Serve although acknowledged reports are missing, or tally.mark is; that is written down.",
)
@click.option(
    "--log-level",
    type=click.Choice(_LEVELS),
    default="info",
    show_default=True,
    help="What is written to stderr: from warning on, refusals; at info also each session and visit.",
)
@click.option(
    "--station-mib",
    type=click.IntRange(1),
    default=512,
    show_default=True,
    metavar="MIB",
    help="How much one station may report in a day; the disk needs several times that. The rest waits.",
)
@click.option(
    "--station-machines",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    metavar="NUMBER",
    help="How many machines that nobody knew count of one station and day; more count once you decide.",
)
@who_option
@click.option(
    "--authority",
    metavar="FILE",
    type=PATH,
    help="Renew the stations' certificates with the authority's private key from there; else nobody does.",
)
def command(
    directory: Path,
    host: str | None,
    port: int | None,
    accept_loss: bool,
    log_level: str,
    station_mib: int,
    station_machines: int,
    who: str | None,
    authority: Path | None,
) -> None:
    """Serve the tally in DIR until it is stopped (Ctrl-C or SIGTERM); every report in hand is kept.

    Where its database has lost what was acknowledged, it says how much and serves nothing.

    Example: unbrick tally serve tally
    """
    from unbrick.tally.door import server
    from unbrick.tally.door.budgets import DayLimits
    from unbrick.tally.door.service_log import LEVELS, ServiceLog
    from unbrick.tally.store.opening import Opening

    server.serve(
        directory,
        host=host,
        port=port,
        authority=authority,
        ready=lambda address: tell(f"listening on {address}"),
        opening=Opening(Act(directory, who, as_json=False).who if accept_loss else None, warn),
        day_limits=DayLimits(bytes=station_mib * 1024**2, machines=station_machines),
        log=ServiceLog(LEVELS[log_level], sys.stderr.fileno()),
    )
