"""The manual keeps up with the program: it explains every word of a report, and shows what exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import click
import pytest

from unbrick.cli.main import unbrick
from unbrick.events.standing import MachineStatus
from unbrick.model import Status
from unbrick.tally.records import Statement

_README = Path(__file__).resolve().parents[3] / "README.md"


def _explained(page: str) -> set[str]:
    """The words in backticks in the first column of a page's tables."""
    text = files("unbrick.manual").joinpath(f"{page}.md").read_text(encoding="utf-8")
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| ")]
    return {word.partition(":")[0] for cell in cells for word in re.findall("`([^`]+)`", cell)}


_EXPLAINED = _explained("technician")
_EXPLAINED_TO_THE_LEAD = _explained("it-lead")


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.SCANNED])
def test_every_status_is_explained(status: Status) -> None:
    assert status.value in _EXPLAINED


@pytest.mark.parametrize("status", [*MachineStatus, *Statement])
def test_every_word_of_the_dashboard_is_explained_to_the_lead(status: MachineStatus | Statement) -> None:
    assert status.value in _EXPLAINED_TO_THE_LEAD


def _commands() -> Iterator[tuple[str, str]]:
    """What README and the guides have people type: each line of a block, each span of code that begins so."""
    guides = [entry for entry in files("unbrick.manual").iterdir() if entry.name.endswith(".md")]
    for page in (_README, *guides):
        text = page.read_text(encoding="utf-8")
        for line in re.findall(r"^ {4,}unbrick (.+)$", text, re.MULTILINE):
            yield page.name, line.partition("  ")[0]
        for span in re.findall(r"`unbrick ([^`]+)`", " ".join(text.split())):
            yield page.name, span


def _missing(command: str) -> list[str]:
    """The verb or the options of a command line that the program does not have."""
    found: click.Command = unbrick
    context = click.Context(unbrick)
    for word in command.split():
        if not isinstance(found, click.Group) or not word.isalpha() or word.isupper():
            break
        inner = found.get_command(context, word)
        if inner is None:
            return [word]
        context, found = click.Context(inner, context), inner
    known = {"--help", "--version", *(name for option in found.params for name in option.opts)}
    return [name for name in re.findall(r"(?<!\S)--[a-z-]+", command) if name not in known]


def test_every_command_that_the_guides_show_exists() -> None:
    commands = list(_commands())
    assert len(commands) > 80
    assert [(page, command) for page, command in commands if _missing(command)] == []


@pytest.mark.parametrize("command", ["nosuch DISK", "tally nosuch DIR", "repair DISK --no-such"])
def test_a_command_that_does_not_exist_is_noticed(command: str) -> None:
    assert _missing(command)


def test_readme_leads_to_every_guide_and_to_nothing_that_is_missing() -> None:
    links = re.findall(r"\]\(([^):]+)\)", _README.read_text(encoding="utf-8"))
    assert [link for link in links if not (_README.parent / link).is_file()] == []
    guides = {entry.name for entry in files("unbrick.manual").iterdir() if entry.name.endswith(".md")}
    assert guides <= {link.rpartition("/")[2] for link in links}
