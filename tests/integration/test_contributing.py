"""What CONTRIBUTING.md shows is typed into a copy of the tree, and does there what the page says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.bricked_volume import mounted, place
from support.drilled import Drills, cut_out
from support.switch_file import ON, PATH
from test_house_rules import RULES, Module

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / ".github" / "CONTRIBUTING.md"
_CODE = r"\n\n```python\n(?P<code>.*?)```"
_STEP = re.compile(
    rf"^New: `(?P<new>[^`]+)`(?:, like `(?P<like>[^`]+)`|{_CODE})"
    rf"|^In `(?P<old>[^`]+)`, below `(?P<anchor>[^`]+)`{_CODE.replace('code', 'line')}",
    re.MULTILINE | re.DOTALL,
)
EXAMPLES = {
    "A verb": (1, 0),
    "A key source": (1, 1),
    "A number of the dashboard": (0, 2),
    "A kind of action": (1, 1),
}
"""The sections, with how many files are new and how many lines."""


@dataclass(frozen=True)
class Copy:
    """A copy of the package, and the paths in it that the page has changed."""

    tree: Path
    new: tuple[str, ...]
    lines: int

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "unbrick", *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(self.tree / "src")},
            cwd=self.tree,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


def steps(title: str) -> Iterator[re.Match[str]]:
    section = PAGE.read_text(encoding="utf-8").partition(f"\n### {title}: ")[2].partition("\n#")[0]
    return _STEP.finditer(section)


def type_it_in(title: str, tree: Path) -> Copy:
    shutil.copytree(REPOSITORY / "src", tree / "src", ignore=shutil.ignore_patterns("__pycache__"))
    new, lines = [], 0
    for step in steps(title):
        if step["new"]:
            path = tree / step["new"]
            assert not path.exists()
            text = step["code"] or (REPOSITORY / step["like"]).read_text(encoding="utf-8")
            path.write_text(text, encoding="utf-8")
            new.append(step["new"])
        else:
            path = tree / step["old"]
            before = path.read_text(encoding="utf-8").splitlines(keepends=True)
            (at,) = (number for number, line in enumerate(before, 1) if step["anchor"] in line)
            path.write_text("".join([*before[:at], step["line"], *before[at:]]), encoding="utf-8")
            lines += step["line"].count("\n")
    return Copy(tree, tuple(new), lines)


@pytest.fixture
def copy(request: pytest.FixtureRequest, tmp_path: Path) -> Copy:
    return type_it_in(request.param, tmp_path / "tree")


def example(title: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("copy", [title], indirect=True)


@pytest.mark.parametrize("copy", EXAMPLES, indirect=True)
def test_an_example_is_as_small_as_promised_and_keeps_the_rules(
    copy: Copy, request: pytest.FixtureRequest
) -> None:
    title = request.node.callspec.params["copy"]
    assert (len(copy.new), copy.lines) == EXAMPLES[title]
    for path in copy.new:
        module = Module(path.removeprefix("src/unbrick/"), (copy.tree / path).read_text(encoding="utf-8"))
        assert [fault for rule in RULES for fault in rule(module)] == []
    shutil.copy(REPOSITORY / "pyproject.toml", copy.tree)
    ruff = [sys.executable, "-m", "ruff"]
    for words in (["check"], ["format", "--check"]):
        done = subprocess.run([*ruff, *words, "src"], cwd=copy.tree, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@example("A verb")
def test_the_verb_is_found(copy: Copy) -> None:
    assert re.fullmatch(r"[0-9]+ playbooks\n", copy.run("playbook", "count").stdout)
    assert "  count  Say how many playbooks come with unbrick." in copy.run("playbook", "--help").stdout
    assert "Example: unbrick playbook count" in copy.run("playbook", "count", "--help").stdout


@example("A key source")
def test_the_key_source_opens_a_volume(copy: Copy, drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("xts-128", tmp_path / "disks")
    passwords = list(disk.passwords().values())
    (copy.tree / "passwords.txt").write_text("\n".join(["no password", *passwords]))
    answer = copy.run("diagnose", disk.image, "--keys", "list:passwords.txt", "--json")
    assert answer.returncode == 3, answer.stderr
    assert json.loads(answer.stdout)["status"] == "found"
    assert "passwords.txt line 1: is no recovery password" in answer.stderr
    assert not any(password in answer.stdout + answer.stderr for password in passwords)
    refused = copy.run("diagnose", disk.image, "--keys", passwords[0])
    assert refused.returncode == 2
    assert "does not belong on the command line" in refused.stderr


@example("A number of the dashboard")
def test_the_number_stands_on_the_dashboard(copy: Copy) -> None:
    (copy.tree / "inventory.csv").write_text("name,site\nPC-1,one\nPC-2,two\nPC-3,two\n")
    assert copy.run("tally", "init", "tally").returncode == 0
    assert "2 sites" not in copy.run("tally", "status", "tally").stdout
    imported = copy.run("tally", "inventory", "import", "tally", "inventory.csv")
    assert imported.returncode == 0, imported.stderr
    assert "2 sites" in copy.run("tally", "status", "tally").stdout


@example("A kind of action")
def test_the_action_is_done_and_undone(copy: Copy, drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    image = tmp_path / "volume.img"
    cut_out(disk.image, disk.volume, image)
    with mounted(image, tmp_path / "mount") as root:
        place(root, PATH).parent.mkdir(exist_ok=True)
        place(root, PATH).write_bytes(ON)
    planned = json.loads(copy.run("repair", image, "--dry-run", "--json").stdout)
    kinds = {one["kind"] for part in planned["installations"] for one in part["actions"]}
    assert kinds == {"quarantine-file", "switch-file"}
    assert f"turned off: {PATH}" in copy.run("repair", image, "--yes").stdout
    assert f"turned on: {PATH}" in copy.run("undo", image, "--yes").stdout
    with mounted(image, tmp_path / "mount", "ro") as root:
        assert place(root, PATH).read_bytes() == ON
