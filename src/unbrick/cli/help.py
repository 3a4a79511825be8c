"""`unbrick help`: the manual, which lies inside the package because a stick is offline."""

from __future__ import annotations

import sys
from importlib.resources import files

import click

from unbrick.errors import UsageError


def _topics() -> dict[str, str]:
    """Each guide's name and its first heading."""
    pages = {}
    for page in sorted(files("unbrick.manual").iterdir(), key=lambda entry: entry.name):
        if page.name.endswith(".md"):
            pages[page.name.removesuffix(".md")] = (
                page.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
            )
    return pages


@click.command("help")
@click.argument("topic", required=False)
def command(topic: str | None) -> None:
    """Show the manual's page on TOPIC, or the list of topics.

    Example: unbrick help technician
    """
    topics = _topics()
    if topic is None:
        for name, title in topics.items():
            click.echo(f"{name:14}{title}")
        click.echo("\nRead one with: unbrick help TOPIC")
        return
    if topic not in topics:
        raise UsageError(f"there is no page on {topic!r}", hint=f"topics: {', '.join(topics)}")
    text = files("unbrick.manual").joinpath(f"{topic}.md").read_text(encoding="utf-8")
    if not sys.stdout.isatty():
        click.echo(text)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text))
