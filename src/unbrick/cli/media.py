"""`unbrick media`: what machines are booted from; each of its verbs has a file of its own."""

from __future__ import annotations

import importlib

import click

_VERBS = {
    "build": "Build the image that machines are booted from.",
    "netboot": "Make a folder to boot machines from over the network, and serve it.",
    "sign": "Sign settings and playbooks, so that stations act on them.",
    "verify": "Check every byte of an image or a stick against its signature.",
    "write": "Write a stick, with a partition UNBRICK that any PC can open.",
}


class _LazyGroup(click.Group):
    """Loads only the verb that was asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every verb, in alphabetical order."""
        return sorted(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command, from its own file."""
        if cmd_name not in _VERBS:
            return None
        command = importlib.import_module(f"unbrick.cli.media_{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs with a line each, without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_VERBS.items()))


@click.group("media", cls=_LazyGroup)
def command() -> None:
    """Make boot media and sticks, sign their settings, boot over the network.

    Example: unbrick media write /dev/sdb --image unbrick.iso --station unbrick.yaml
    """
