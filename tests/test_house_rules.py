"""The rules of the house that no other tool checks; a rule lives only as a test.

Each rule is a function from a module to its violations, in sentences. Below, every rule is held against
every module of the package, and then against a sample that breaks it, so that a blind rule is noticed.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "src" / "unbrick"

MOST_LINES_OF_A_MODULE = 400
MOST_LINES_OF_A_FUNCTION = 60

# The rooms, floor by floor, as the design page has them: what each may import besides itself.
GROUND = (
    "errors",
    "reasons",
    "secret",
    "processes",
    "model",
    "identity",
    "short_code",
    "event",
    "standing",
    "wire",
    "files",
    "ntfs_file",
    "printable",
    "csv_records",
    "signing",
)
INSTRUMENTS = ("disks", "windows", "incidents", "keys", "report")
JUDGEMENT = ("diagnosis", "repair")
BELOW_THE_STORIES = (*GROUND, *INSTRUMENTS, *JUDGEMENT)
STORY_OF_ONE_DISK = (*BELOW_THE_STORIES, "outcome", "recovery_order", "recovery_change", "recovery")
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "__init__": (),
    **{room: GROUND[:index] for index, room in enumerate(GROUND)},
    **dict.fromkeys(INSTRUMENTS, GROUND),
    **dict.fromkeys(JUDGEMENT, (*GROUND, "windows", "incidents")),
    "outcome": GROUND,
    "recovery_order": (*BELOW_THE_STORIES, "outcome"),
    "recovery_change": (*BELOW_THE_STORIES, "outcome", "recovery_order"),
    "recovery": STORY_OF_ONE_DISK[:-1],
    "recovery_isolated": STORY_OF_ONE_DISK,
    **dict.fromkeys(("station", "bulk", "drill"), (*STORY_OF_ONE_DISK, "recovery_isolated")),
    **dict.fromkeys(("tally", "media"), GROUND),
    "manual": (),
}
THE_DOOR = ("cli", "__main__")

MAY_RUN_PROGRAMS = {"processes/command.py"}
MAY_FORK = {"processes/child.py"}
CALLS_THE_C_LIBRARY = "processes/libc.py"
MAY_REVEAL_SECRETS = {
    "processes/command.py",  # onto a program's stdin
    "disks/key_box.py",  # derives a volume's key
    "disks/unlock.py",  # hands a key to a program through a descriptor
    "drill/bitlocker_cipher.py",  # a drill encrypts volumes itself,
    "drill/bitlocker_keys.py",
    "drill/bitlocker_settings.py",
    "drill/fleet.py",  # and writes the escrow of its invented fleet
    "keys/vault.py",  # into memory that no process maps
}
MAY_CATCH_EVERYTHING = {
    "station/main.py",  # the last door on a booted medium: one line, and a key restarts
    "cli/main.py",  # the last door: a user never sees a stack trace
    "processes/isolation.py",  # hands whatever went wrong in a child to its parent
    "recovery_isolated.py",  # on a station a mistake in the work on one disk is told, and stops no other
}

TOP_LEVEL = {
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "pyproject.toml",
    "recovery_media",
    "scripts",
    "src",
    "tests",
}
DRAWERS = {"base", "common", "helper", "helpers", "lib", "misc", "shared", "stuff", "tools", "util", "utils"}
FORKING = re.compile(r"os\.(fork|forkpty|exec\w+|posix_spawnp?|spawn\w+|system|popen)|pty\.fork|pty\.spawn")


# Where an error becomes the status of a disk. The story's own modules lie loose at the top.
TOUCHES_DISKS = frozenset(
    {"diagnosis", "disks", "files", "outcome", "processes", "repair", "windows"}
    | {"recovery", "recovery_change", "recovery_isolated", "recovery_order"}
)


@dataclass(frozen=True)
class Module:
    """A module of the package; `path` is relative to it, with slashes."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def room(self) -> str:
        return self.path.split("/")[0].removesuffix(".py")

    def nodes(self) -> Iterator[ast.AST]:
        return ast.walk(self.tree)

    def imported(self) -> Iterator[str]:
        """Every module that is imported anywhere in this one, by its full dotted name."""
        package = ["unbrick", *self.path.split("/")[:-1]]
        for node in self.nodes():
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = package[: len(package) - node.level + 1] if node.level else []
                origin = ".".join([*base, *([node.module] if node.module else [])])
                yield from (f"{origin}.{alias.name}" for alias in node.names)

    def names(self) -> Iterator[str]:
        """Every name and dotted name that is used: `print`, `os.fork`, `password.secret.reveal`."""
        for node in self.nodes():
            if isinstance(node, ast.Name | ast.Attribute):
                yield ast.unparse(node)


def arrows_point_down(module: Module) -> Iterator[str]:
    if module.room in THE_DOOR:
        return
    if module.room not in MAY_IMPORT:
        yield f"{module.path}: the room {module.room} has no place in the table of rooms"
        return
    for name in module.imported():
        parts = name.split(".")
        if parts[0] != "unbrick" or parts[1:] in ([], ["__version__"]):
            continue
        if parts[1] not in (module.room, *MAY_IMPORT[module.room]):
            yield f"{module.path}: imports {name}, which is not below it"


def rooms_say_what_they_are(module: Module) -> Iterator[str]:
    if not module.path.endswith("__init__.py"):
        return
    text = ast.get_docstring(module.tree) or ""
    if "Never" not in text and " never " not in text:
        yield f"{module.path}: does not say what the room never does"
    first = re.search(r"Read `([^`]+)`\s+first", text)
    if first is None:
        yield f"{module.path}: does not say which file to read first"
    elif not (PACKAGE / module.path).with_name(first[1]).is_file():
        yield f"{module.path}: says to read {first[1]} first, which does not exist"
    if not text.splitlines() or not text.splitlines()[0].endswith((".", ":", ",")):
        yield f"{module.path}: does not open with a line that says what it is for"


def only_the_door_prints_and_exits(module: Module) -> Iterator[str]:
    if module.room in THE_DOOR:
        return
    for name in module.names():
        if name in {"print", "sys.exit", "exit", "quit", "sys.stdout.write", "sys.stderr.write"}:
            yield f"{module.path}: uses {name}"
    if any(name.split(".")[0] == "click" for name in module.imported()):
        yield f"{module.path}: imports click"


def modules_are_short(module: Module) -> Iterator[str]:
    lines = module.text.count("\n")
    if lines > MOST_LINES_OF_A_MODULE:
        yield f"{module.path}: {lines} lines"


def functions_are_short(module: Module) -> Iterator[str]:
    for node in module.nodes():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MOST_LINES_OF_A_FUNCTION:
                yield f"{module.path}: {node.name} has {lines} lines"


def programs_are_run_through_one_door(module: Module) -> Iterator[str]:
    if module.path not in MAY_RUN_PROGRAMS:
        for name in module.imported():
            if name.split(".")[0] in {"subprocess", "multiprocessing", "_posixsubprocess", "pexpect"}:
                yield f"{module.path}: imports {name}"
    if module.path not in MAY_FORK:
        for name in (*module.names(), *module.imported()):
            if FORKING.fullmatch(name):
                yield f"{module.path}: uses {name}"


def the_c_library_is_called_through_one_binding(module: Module) -> Iterator[str]:
    if module.path != CALLS_THE_C_LIBRARY:
        for name in module.imported():
            if name.split(".")[0] in {"ctypes", "_ctypes", "cffi"}:
                yield f"{module.path}: imports {name}"


def ssh_is_read_in_one_room(module: Module) -> Iterator[str]:
    """Keys, certificates and signatures in SSH's form, whether by the library or by hand."""
    if module.room == "signing":
        return
    for name in module.imported():
        if f"{name}.".startswith("cryptography.hazmat.primitives.serialization."):
            yield f"{module.path}: imports {name}"
    prose = {id(node.value) for node in module.nodes() if isinstance(node, ast.Expr)}
    for node in module.nodes():
        if isinstance(node, ast.Constant) and id(node) not in prose:
            text = node.value.decode("latin-1") if isinstance(node.value, bytes) else str(node.value)
            if any(word in text for word in ("ssh-ed25519", "SSHSIG", "openssh-key-v1")):
                yield f"{module.path} line {node.lineno}: knows SSH's form"


def secrets_are_revealed_in_few_places(module: Module) -> Iterator[str]:
    if module.path in MAY_REVEAL_SECRETS | {"secret.py"}:
        return
    for name in module.names():
        if name.endswith((".reveal", "._value")) and not name.startswith("self."):
            yield f"{module.path}: uses {name}"


def errors_are_caught_by_name(module: Module) -> Iterator[str]:
    if module.path in MAY_CATCH_EVERYTHING:
        return
    for node in module.nodes():
        if isinstance(node, ast.ExceptHandler):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            names = {ast.unparse(kind) if kind else "everything" for kind in caught}
            again = any(isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(node))
            if names & {"Exception", "everything"} or ("BaseException" in names and not again):
                yield f"{module.path} line {node.lineno}: catches {', '.join(sorted(names))}"


def what_ends_the_work_on_a_disk_has_a_reason(module: Module) -> Iterator[str]:
    """A script switches on the word, and a person looks it up: `failed` without one is a defect."""
    if module.path.split("/")[0].removesuffix(".py") not in TOUCHES_DISKS:
        return
    for node in module.nodes():
        if not isinstance(node, ast.Call) or ast.unparse(node.func) not in {"FailedError", "NeedsKeyError"}:
            continue
        if "reason" not in {keyword.arg for keyword in node.keywords}:
            yield f"{module.path} line {node.lineno}: an error without a reason"


def files_are_named_for_what_they_hold(module: Module) -> Iterator[str]:
    if {part.removesuffix(".py") for part in module.path.split("/")} & DRAWERS:
        yield f"{module.path}: is named like a drawer"


Rule = Callable[[Module], Iterator[str]]
RULES: tuple[Rule, ...] = (
    arrows_point_down,
    rooms_say_what_they_are,
    only_the_door_prints_and_exits,
    modules_are_short,
    functions_are_short,
    programs_are_run_through_one_door,
    the_c_library_is_called_through_one_binding,
    ssh_is_read_in_one_room,
    secrets_are_revealed_in_few_places,
    errors_are_caught_by_name,
    what_ends_the_work_on_a_disk_has_a_reason,
    files_are_named_for_what_they_hold,
)


def read_package() -> list[Module]:
    return [
        Module(path.relative_to(PACKAGE).as_posix(), path.read_text(encoding="utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
    ]


def strangers_at_the_top(names: Iterable[str]) -> set[str]:
    """What the top level of the repository should not hold."""
    return {name for name in names if not name.startswith(".")} - TOP_LEVEL


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_module_keeps_the_rule(rule: Rule) -> None:
    modules = read_package()
    assert len(modules) > 20
    assert [violation for module in modules for violation in rule(module)] == []


def test_the_top_level_of_the_repository_is_a_short_list() -> None:
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={REPOSITORY}", "ls-files"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    names = {line.split("/")[0] for line in listed.stdout.splitlines()}
    assert "src" in names
    assert strangers_at_the_top(names) == set()


def test_the_lists_of_exceptions_name_files_that_exist() -> None:
    listed = {CALLS_THE_C_LIBRARY} | MAY_RUN_PROGRAMS | MAY_FORK | MAY_REVEAL_SECRETS | MAY_CATCH_EVERYTHING
    assert {path for path in listed if not (PACKAGE / path).is_file()} == set()


KEEPS = '"""What it is for.\n\nNever does harm.\nRead `password.py` first.\n"""\n'
BREAKS: list[tuple[Rule, str, str]] = [
    (arrows_point_down, "keys/x.py", "from unbrick.disks.discover import open_disk\n"),
    (arrows_point_down, "keys/x.py", "from unbrick import disks\n"),
    (arrows_point_down, "keys/x.py", "import unbrick.recovery as story\n"),
    (arrows_point_down, "keys/x.py", "from ..windows import hive\n"),
    (arrows_point_down, "keys/x.py", "from .. import cli\n"),
    (arrows_point_down, "keys/x.py", "def late():\n    from unbrick.cli.main import main\n"),
    (arrows_point_down, "diagnosis/x.py", "from unbrick.repair.plan import make_plan\n"),
    (arrows_point_down, "repair/x.py", "import unbrick.disks.mount\n"),
    (arrows_point_down, "errors.py", "from unbrick.secret import Secret\n"),
    (arrows_point_down, "recovery.py", "from unbrick.drill.fleet import make_fleet\n"),
    (arrows_point_down, "tally/x.py", "from unbrick.report.recorder import Recorder\n"),
    (arrows_point_down, "attic/x.py", ""),
    (rooms_say_what_they_are, "keys/__init__.py", KEEPS.replace("Never does", "Does")),
    (rooms_say_what_they_are, "keys/__init__.py", KEEPS.replace("password.py", "missing.py")),
    (rooms_say_what_they_are, "keys/__init__.py", KEEPS.replace("Read ", "See ")),
    (rooms_say_what_they_are, "keys/__init__.py", ""),
    (only_the_door_prints_and_exits, "keys/x.py", "print(1)\n"),
    (only_the_door_prints_and_exits, "keys/x.py", "import sys\nsys.exit(1)\n"),
    (only_the_door_prints_and_exits, "keys/x.py", "from click import echo\n"),
    (modules_are_short, "keys/x.py", "x = 1\n" * 401),
    (functions_are_short, "keys/x.py", "def long():\n" + "    x = 1\n" * 60),
    (functions_are_short, "keys/x.py", "class A:\n    async def long(self):\n" + "        x = 1\n" * 60),
    (programs_are_run_through_one_door, "keys/x.py", "import subprocess\n"),
    (programs_are_run_through_one_door, "keys/x.py", "def late():\n    from subprocess import run\n"),
    (programs_are_run_through_one_door, "processes/isolation.py", "import subprocess\n"),
    (programs_are_run_through_one_door, "keys/x.py", "import os\nos.fork()\n"),
    (programs_are_run_through_one_door, "processes/isolation.py", "import os\nos.fork()\n"),
    (programs_are_run_through_one_door, "processes/command.py", "import os\nos.system('x')\n"),
    (programs_are_run_through_one_door, "keys/x.py", "from os import execvp\n"),
    (the_c_library_is_called_through_one_binding, "disks/x.py", "import ctypes\n"),
    (the_c_library_is_called_through_one_binding, "processes/x.py", "from ctypes import CDLL\n"),
    (ssh_is_read_in_one_room, "tally/x.py", "from cryptography.hazmat.primitives import serialization\n"),
    (ssh_is_read_in_one_room, "report/x.py", "import cryptography.hazmat.primitives.serialization.ssh\n"),
    (ssh_is_read_in_one_room, "media/x.py", "HEAD = b'\\0\\0\\0\\x0bssh-ed25519\\0\\0\\0\\x20'\n"),
    (ssh_is_read_in_one_room, "media/x.py", "def line(blob):\n    return f'ssh-ed25519 {blob}'\n"),
    (secrets_are_revealed_in_few_places, "keys/x.py", "text = password.secret.reveal()\n"),
    (secrets_are_revealed_in_few_places, "keys/x.py", "look = Secret.reveal\n"),
    (secrets_are_revealed_in_few_places, "keys/x.py", "text = secret._value\n"),
    (errors_are_caught_by_name, "keys/x.py", "try:\n    x = 1\nexcept Exception:\n    pass\n"),
    (errors_are_caught_by_name, "keys/x.py", "try:\n    x = 1\nexcept (OSError, Exception):\n    raise\n"),
    (errors_are_caught_by_name, "keys/x.py", "try:\n    x = 1\nexcept:\n    pass\n"),
    (errors_are_caught_by_name, "keys/x.py", "try:\n    x = 1\nexcept BaseException:\n    pass\n"),
    (what_ends_the_work_on_a_disk_has_a_reason, "disks/x.py", "raise FailedError('no', hint='yes')\n"),
    (what_ends_the_work_on_a_disk_has_a_reason, "recovery.py", "error = FailedError('no')\n"),
    (files_are_named_for_what_they_hold, "keys/utils.py", ""),
    (files_are_named_for_what_they_hold, "common/x.py", ""),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "path", "text"), BREAKS, ids=lambda value: getattr(value, "__name__", None))
def test_a_module_that_breaks_the_rule_is_noticed(rule: Rule, path: str, text: str) -> None:
    assert list(rule(Module(path, text)))


ALLOWED: list[tuple[Rule, str, str]] = [
    (arrows_point_down, "keys/x.py", "from unbrick.errors import Reason\nfrom unbrick import __version__\n"),
    (arrows_point_down, "keys/x.py", "from . import csv_text\nfrom .source import Candidate\nimport json\n"),
    (arrows_point_down, "recovery.py", "from unbrick.repair.plan import make_plan\n"),
    (arrows_point_down, "cli/x.py", "from unbrick.drill.fleet import make_fleet\n"),
    (rooms_say_what_they_are, "keys/__init__.py", KEEPS),
    (rooms_say_what_they_are, "keys/password.py", ""),
    (only_the_door_prints_and_exits, "cli/x.py", "print(1)\n"),
    (modules_are_short, "keys/x.py", "x = 1\n" * 400),
    (functions_are_short, "keys/x.py", "def long():\n" + "    x = 1\n" * 59),
    (programs_are_run_through_one_door, "processes/command.py", "import subprocess\n"),
    (programs_are_run_through_one_door, "processes/child.py", "import os\nos.fork()\n"),
    (the_c_library_is_called_through_one_binding, "processes/libc.py", "import ctypes\n"),
    (ssh_is_read_in_one_room, "signing/x.py", "KEY_TYPE = 'ssh-ed25519'\n"),
    (ssh_is_read_in_one_room, "tally/x.py", '"""A key line, `ssh-ed25519 AAAA`."""\nKEY = "Ed25519"\n'),
    (secrets_are_revealed_in_few_places, "disks/unlock.py", "key.reveal()\n"),
    (errors_are_caught_by_name, "keys/x.py", "try:\n    x = 1\nexcept BaseException:\n    raise\n"),
    (errors_are_caught_by_name, "keys/x.py", "try:\n    x = 1\nexcept OSError:\n    pass\n"),
    (what_ends_the_work_on_a_disk_has_a_reason, "disks/x.py", "FailedError('no', reason=Reason.TIMED_OUT)\n"),
    (what_ends_the_work_on_a_disk_has_a_reason, "media/x.py", "FailedError('no')\n"),
    (files_are_named_for_what_they_hold, "keys/password.py", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "path", "text"), ALLOWED, ids=lambda value: getattr(value, "__name__", None)
)
def test_a_module_that_keeps_the_rule_is_left_in_peace(rule: Rule, path: str, text: str) -> None:
    assert list(rule(Module(path, text))) == []


def test_every_rule_has_a_sample_that_breaks_it_and_one_that_keeps_it() -> None:
    assert {rule for rule, _, _ in BREAKS} == {rule for rule, _, _ in ALLOWED} == set(RULES)


def test_a_stranger_at_the_top_level_is_noticed() -> None:
    assert strangers_at_the_top(["src", ".ci", "LICENSE", "notes.txt", "docs"]) == {"notes.txt", "docs"}
