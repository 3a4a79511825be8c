"""The manual, offline."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from importlib.resources import files

import click

from unbrick.cli.terminal.manners import can_redraw
from unbrick.errors import UsageError
from unbrick.manual.reasons import explain

_SCHEMAS = ("result",)


@click.command("help")
@click.argument("words", nargs=-1, metavar="[TOPIC|VERB|REASON]")
@click.option("--schema", type=click.Choice(_SCHEMAS), help="Print the JSON Schema of what --json prints.")
@click.option("--man", is_flag=True, help="Print the man page: unbrick help --man | man -l -")
@click.option("--html", is_flag=True, help="Print a guide as an HTML page with its pictures, for paper.")
@click.option("--script", is_flag=True, help="Print the script that belongs to a guide.")
def command(words: tuple[str, ...], schema: str | None, man: bool, html: bool, script: bool) -> None:
    """Show the manual's page on a TOPIC, a VERB's options, or what a REASON means; alone, the list of topics.

    Example: unbrick help no-run
    """
    if schema is not None:
        click.echo(_read(f"{schema}.schema.json"), nl=False)
    elif man:
        from unbrick.cli.terminal.man_page import man_page  # it loads every verb

        click.echo("\n".join(man_page(click.get_current_context().find_root(), _read("command-line.md"))))
    elif html:
        click.echo(_as_html(words), nl=False)
    elif script:
        click.echo(_script_of(words), nl=False)
    elif not words:
        click.echo("\n".join(_contents()))
    elif (page := _find_page(words)) is not None:
        _show(page)
    else:
        _page(_help_of(words))


def _read(name: str) -> str:
    return files("unbrick.manual").joinpath(name).read_text(encoding="utf-8")


def _topics() -> dict[str, str]:
    """Each guide's name and its first heading."""
    names = sorted(entry.name for entry in files("unbrick.manual").iterdir() if entry.name.endswith(".md"))
    return {name.removesuffix(".md"): _read(name).partition("\n")[0].lstrip("# ") for name in names}


def _contents() -> Iterator[str]:
    for name, title in _topics().items():
        yield f"{name:15}{title}"
    yield "\nRead one with: unbrick help TOPIC"
    yield "Of a verb, or a reason: unbrick help repair, unbrick help no-run"
    yield "\nNo real Windows has started after a repair by unbrick yet, as far as this project knows;"
    yield "the kit for trying it on one: unbrick help acceptance"


def _find_page(words: Sequence[str]) -> str | None:
    """A guide, or the manual's section on a reason, as Markdown."""
    topic = "-".join(words)
    if topic in _topics():
        return _read(f"{topic}.md")
    explanation = explain(words[0]) if len(words) == 1 else None
    return explanation.section if explanation else None


def _as_html(words: Sequence[str]) -> str:
    from unbrick.manual.page import html_page

    if (page := _find_page(words) if words else None) is None:
        raise UsageError(
            "only a guide can be printed with --html", hint="name a guide: unbrick help helper --html"
        )
    return html_page(page)


def _script_of(words: Sequence[str]) -> str:
    topic = "-".join(words)
    scripts = [entry.name for entry in files("unbrick.manual").iterdir() if entry.name.endswith(".ps1")]
    if f"{topic}.ps1" not in scripts:
        raise UsageError("this guide has no script", hint="there is one: unbrick help acceptance --script")
    return _read(f"{topic}.ps1")


def _show(page: str) -> None:
    if not sys.stdout.isatty():
        click.echo(page)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    with console.capture() as text:
        console.print(Markdown(page))
    _page(text.get())


def _page(text: str) -> None:
    if not can_redraw(sys.stdout):
        click.echo(text)
        return
    os.environ.setdefault("LESS", "FRX")  # leaves a text that fits on the screen there
    click.echo_via_pager(text, color=True)


def _help_of(words: Sequence[str]) -> str:
    """What `--help` says of a verb, or of a verb of a group; raises UsageError."""
    context = click.get_current_context().find_root()
    found: click.Command = context.command
    for word in words:
        inner = found.get_command(context, word) if isinstance(found, click.Group) else None
        if inner is None:
            topics = ", ".join(_topics())
            raise UsageError(
                f"there is no page on {' '.join(words)!r}",
                hint=f"name a verb (unbrick --help lists them), a reason, or one of: {topics}",
            )
        context, found = click.Context(inner, context, info_name=word), inner
    return found.get_help(context)
