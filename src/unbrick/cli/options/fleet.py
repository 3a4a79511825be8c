"""The options by which a drill's fleet is told what happened to it."""

from __future__ import annotations

from pathlib import Path

import click

files_option = click.option(
    "--files", type=int, default=200, show_default=True, help="Ordinary files on each Windows volume."
)
size_option = click.option("--size", default="256M", show_default=True, help="Size of each disk.")
seed_option = click.option(
    "--seed", type=int, default=1, show_default=True, help="The same seed makes the same fleet."
)
playbook_option = click.option(
    "--playbook",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Play the incident that a playbook of your own describes.",
)
