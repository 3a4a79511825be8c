"""A person at the tally's terminal is asked before a list takes machines away."""

from __future__ import annotations

from pathlib import Path

from support.program import at_terminal, run_program


def test_no_means_no_and_yes_means_yes(tmp_path: Path) -> None:
    assert run_program("tally", "init", tmp_path / "tally").code == 0
    whole, one = tmp_path / "whole.csv", tmp_path / "one.csv"
    whole.write_text("name\n" + "".join(f"W-{number}\n" for number in range(20)))
    one.write_text("name\nW-1\n")
    assert run_program("tally", "inventory", "import", tmp_path / "tally", whole).code == 0
    for answer, code, said in (("n", 1, "nothing was changed"), ("y", 0, "19 removed")):
        with at_terminal("tally", "inventory", "import", tmp_path / "tally", one, "--replace") as terminal:
            terminal.wait_for("19 of 20 expected machines are not in one.csv and go")
            terminal.wait_for("Replace the list, and take 19 of 20 machines out of it? [y/N]")
            terminal.type(answer)
            terminal.wait_for(said)
            assert terminal.end() == code
