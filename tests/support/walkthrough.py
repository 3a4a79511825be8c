"""A page of the manual as somebody follows it: files to save, commands to type, and what these print.

"Save this as `NAME`" stands above a block with a file; a `console` block has commands after `$ `, and below
each what it prints, where `…` stands for anything. White space does not count: a terminal breaks lines as it
likes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

_LIMIT_SECONDS = 300
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SAVED = re.compile(r"Save this as `([^`]+)`")


@dataclass(frozen=True)
class SaveFile:
    """A file that the page has one write."""

    name: str
    text: str


@dataclass(frozen=True)
class Type:
    """A command line that the page has one type, and what it says that this prints."""

    command: str
    prints: str


def read_page(name: str) -> tuple[SaveFile | Type, ...]:
    """All that a page of the manual asks for, in order."""
    text = files("unbrick.manual").joinpath(f"{name}.md").read_text(encoding="utf-8")
    steps: list[SaveFile | Type] = []
    end = 0
    for block in _BLOCK.finditer(text):
        language, body = block.groups()
        if language == "console":
            steps += _commands(body)
        else:
            saved = _SAVED.findall(text[end : block.start()])
            assert saved, f"nothing says where to save:\n{body}"
            steps.append(SaveFile(saved[-1], body))
        end = block.end()
    return tuple(steps)


def save_files(page: str, folder: Path) -> None:
    """Write every file that a page has one save."""
    for step in read_page(page):
        if isinstance(step, SaveFile):
            _save(step, folder)


def _save(step: SaveFile, folder: Path) -> None:
    path = folder / step.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(step.text, encoding="utf-8")


def _commands(body: str) -> Iterator[Type]:
    assert body.startswith("$ "), body
    for part in body.removeprefix("$ ").split("\n$ "):
        command, _, prints = part.partition("\n")
        yield Type(command, prints)


def follow(page: str, folder: Path, *, inside: Sequence[str] = ()) -> list[str]:
    """Do everything that a page asks for in a folder; gives what each command printed.

    `inside` is a command that starts each of them elsewhere.
    """
    said = []
    for step in read_page(page):
        if isinstance(step, SaveFile):
            _save(step, folder)
            continue
        printed = _type(step.command, folder, inside)
        said.append(f"$ {step.command}\n{printed}")
        wanted = _flat(step.prints)
        pattern = ".*".join(re.escape(part) for part in wanted.split("…"))
        assert re.fullmatch(pattern.replace(r"\ .*\ ", r".*"), _flat(printed)), (
            f"the page says of {step.command!r}:\n{step.prints}\nand it printed:\n{printed}"
        )
    return said


def _flat(text: str) -> str:
    return " ".join(text.split())


def _type(command: str, folder: Path, inside: Sequence[str]) -> str:
    """What a shell prints, both streams as they come."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    ended = subprocess.run(
        [*inside, "bash", "-c", command],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_LIMIT_SECONDS,
        check=False,
        env={**os.environ, "PATH": path},
    )
    assert "Traceback" not in ended.stdout, ended.stdout
    return ended.stdout
