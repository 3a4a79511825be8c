"""The manual from inside: any page, any verb, any reason; a man page of the same texts; completion."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from support.program import at_terminal, run_program

from unbrick.cli.main import unbrick
from unbrick.errors import Reason

_PROGRAM = Path(sys.executable).with_name("unbrick")


def _verbs(command: click.Command, *above: str) -> list[tuple[str, ...]]:
    if not isinstance(command, click.Group):
        return [above]
    context = click.Context(command)
    found = []
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None
        found += _verbs(inner, *above, name)
    return found


VERBS = _verbs(unbrick)


@pytest.mark.parametrize("verb", [("repair",), ("tally", "init"), ("drill",), ("help",), ("drill", "new")])
def test_help_of_a_verb_is_what_the_verb_itself_says(verb: tuple[str, ...]) -> None:
    assert run_program("help", *verb).out == run_program(*verb, "--help").out


@pytest.mark.parametrize("reason", [Reason.NO_RUN, "foreign-encryption:luks", Reason.HIBERNATED])
def test_help_of_a_reason_is_its_section_of_the_manual(reason: str) -> None:
    ended = run_program("help", reason)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"## `{reason.partition(':')[0]}`\n")
    assert ended.out.count("\n## ") == 0


def test_help_of_what_is_nothing_names_what_there_is() -> None:
    for words in (("no-such-thing",), ("tally", "no-such-thing"), ("repair", "init"), ("../helper",)):
        ended = run_program("help", *words)
        assert (ended.code, ended.out) == (2, ""), words
        assert "technician" in ended.err


def test_every_page_that_the_list_names_can_be_read() -> None:
    names = [line.split()[0] for line in run_program("help").out.partition("\n\n")[0].splitlines()]
    assert {"technician", "reasons", "command-line"} <= set(names)
    for name in names:
        assert run_program("help", name).out.startswith("# ")


def test_the_script_of_the_acceptance_can_be_copied_to_windows() -> None:
    script = run_program("help", "acceptance", "--script").out
    assert script.isascii()  # Windows PowerShell takes a file without a mark for the local code page
    assert {"'put', 'repaired', 'undone', 'remove'"} <= set(re.findall(r"ValidateSet\((.*)\)", script))
    ended = run_program("help", "technician", "--script")
    assert (ended.code, ended.out) == (2, "")
    assert "unbrick help acceptance --script" in ended.err


@pytest.mark.parametrize("page", ["technician", "administrator", "it-lead", "acceptance"])
def test_until_a_real_windows_was_seen_the_guides_say_so_first(page: str) -> None:
    assert "No real Windows has started" in "\n".join(run_program("help", page).out.splitlines()[:12])
    assert "No real Windows has started" in run_program("help").out


def test_at_a_terminal_a_pager_shows_it_and_a_short_one_just_stands_there() -> None:
    with at_terminal("help", "no-run") as terminal:
        terminal.wait_for("taken back")
        assert terminal.end() == 0
    with at_terminal("help", "technician", environment={"PAGER": "sed s/^/paged:/"}) as paged:
        assert paged.end() == 0
    lines = paged.shown.splitlines()
    assert len(lines) > 100
    assert all(line.startswith("paged:") for line in lines)


def test_the_man_page_has_every_verb_and_reads_without_a_warning() -> None:
    page = run_program("help", "--man").out
    argv = ["groff", "-man", "-Tutf8", "-ww"]
    read = subprocess.run(argv, input=page, capture_output=True, text=True, check=True)
    assert read.stderr == ""
    text = " ".join(re.sub("\x1b\\[[0-9;]*m|.\x08", "", read.stdout).split())
    assert len(VERBS) > 30
    for verb in VERBS:
        assert f"unbrick {' '.join(verb)} [OPTIONS]" in text
    for words in ("NAME unbrick", "EXIT CODES", "130 stopped with Ctrl", "--discard-hibernation", "NO_COLOR"):
        assert words in text


def _completed(*words: str) -> list[str]:
    asked = {
        "_UNBRICK_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    ended = subprocess.run(
        [_PROGRAM], env={**os.environ, **asked}, capture_output=True, text=True, check=True
    )
    return [line.partition(",")[2] for line in ended.stdout.splitlines()]


def test_the_shell_completes_verbs_and_options() -> None:
    script = subprocess.run(
        [_PROGRAM], env={**os.environ, "_UNBRICK_COMPLETE": "bash_source"}, capture_output=True, text=True
    )
    assert "complete -o nosort -F" in script.stdout
    assert _completed("unbrick", "rep") == ["repair"]
    assert _completed("unbrick", "tally", "enr") == ["enrol"]
    assert "--discard-hibernation" in _completed("unbrick", "repair", "--")
    assert _completed("unbrick", "repair", "--color", "n") == ["never"]


def test_no_verb_loads_another() -> None:
    program = (
        "import sys\nfrom unbrick.cli.main import unbrick\n"
        "unbrick.main(['playbook', 'list'], standalone_mode=False)\n"
        "late = {'rich', 'paramiko', 'unbrick.cli.tally', 'unbrick.cli.terminal.man_page'}\n"
        "print([name for name in sys.modules if name in late])"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.endswith("[]\n")
