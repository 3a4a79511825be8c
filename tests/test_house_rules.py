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
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "src" / "unbrick"

# The rooms, floor by floor, as the design page has them: what each may import besides itself.
GROUND = (
    "errors",
    "secret",
    "model",
    "files",
    "text",
    "manual",
    "processes",
    "events",
    "signing",
    "settings",
)
INSTRUMENTS = ("disks", "windows", "incidents", "keys", "report")
JUDGEMENT = ("diagnosis", "repair")
BELOW_THE_STORIES = (*GROUND, *INSTRUMENTS, *JUDGEMENT)
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "__init__": (),
    **{room: GROUND[:index] for index, room in enumerate(GROUND)},
    **dict.fromkeys(INSTRUMENTS, GROUND),
    **dict.fromkeys(JUDGEMENT, (*GROUND, "windows", "incidents")),
    "recovery": BELOW_THE_STORIES,
    **dict.fromkeys(("station", "bulk"), (*BELOW_THE_STORIES, "recovery")),
    "drill": (*BELOW_THE_STORIES, "recovery", "tally"),
    "tally": GROUND,
    "media": (*GROUND, "incidents", "keys"),
}
NARROWER = {"recovery/outcome.py": GROUND}
WIDER = {"media/stick/layout.py": ("disks.gpt",)}  # makes what disks/ reads
# What lies in a room that has rooms of its own, from the lowest up: what each may import of its neighbours.
FLOORS_INSIDE: dict[str, tuple[str, ...]] = {
    "disks": (
        *(
            "raw_view",
            "gpt",
            "disk",
            "firmware",
            "free_space",
            "fuse_mount",
            "loop_device",
            "in_use",
            "plain_name",
        ),
        *("bitlocker", "identify", "images", "discover", "plain", "ntfs", "proof", "change"),
    ),
    "keys": ("password", "reading", "sources", "chain"),
    "repair": (
        *("disk_errors", "security", "file_state", "trust", "actions"),
        *("quarantine", "journal", "history", "repair", "purge", "undo", "completion"),
    ),
    "recovery": ("outcome", "case", "looking", "change", "story", "isolated"),
    "station": (
        *("screen", "machine", "ending", "stick", "telling", "targets", "restart"),
        *("unattended", "guided_visit", "another_try", "leaving", "boot", "main", "__main__"),
    ),
    "drill": (
        "options",
        "tally",
        "contents",
        "bitlocker",
        "disk",
        "fleet",
        "machine",
        "recover",
        "switch_on",
    ),
    "tally": (
        *("networks", "records", "folder", "new_places", "free_space"),
        *("books", "trust", "count", "show", "office", "store", "door", "upkeep"),
    ),
    "media": ("site_settings", "system", "image", "stick", "netboot", "build", "verify"),
}
LOOSE_AT_THE_ROOT = {
    "__init__.py",
    "__main__.py",
    "errors.py",
    "model.py",
    "secret.py",
    "files.py",
    "text.py",
}
THE_DOOR = ("cli", "__main__")
NO_VERBS = {"cli/__init__.py", "cli/main.py", "options", "terminal"}

MAY_RUN_PROGRAMS = {"processes/command.py"}
MAY_FORK = {"processes/child.py"}
CALLS_THE_C_LIBRARY = "processes/libc.py"
MAKES_TEXT_SAFE = "text.py"
# All else reads JSON and YAML through settings/strict.py, which has bounds and says what is wrong.
MAY_PARSE_DOCUMENTS = {
    "settings/strict.py",
    "processes/bounded.py",  # below the settings; a child's answer, within its limit
    "events/event.py",  # below the settings: an event and a message, in the one form that is signed,
    "events/wire.py",
    "signing/signed_folder.py",  # as is the list of what was signed
    "report/asking.py",  # what a station's own processes say to each other
    "report/sender_status.py",  # a page of memory between two processes, with a checksum
    "report/outbox.py",  # an event again
    "keys/reading/document.py",  # whatever others have exported
}
MAY_OPEN_AND_ASK = {
    "files.py",
    "events/run_order.py",  # opens to write
    "windows/observe.py",  # leaves no access time, and has words for each kind of a Windows file
    "settings/csv_text.py",  # a list may come through a pipe
}
MAY_REVEAL_SECRETS = {
    "processes/command.py",  # onto a program's stdin
    "disks/bitlocker/key_box.py",  # derives a volume's key
    "disks/bitlocker/unlock.py",  # hands a key to a program through a descriptor
    "drill/bitlocker/keys.py",  # a drill encrypts volumes itself,
    "drill/bitlocker/settings.py",
    "drill/fleet.py",  # and writes the escrow of its invented fleet
    "keys/sources/vault.py",  # into memory that no process maps
}
MAY_CATCH_EVERYTHING = {
    "station/main.py",  # the last door on a booted medium: one line, and a key restarts
    "cli/main.py",  # the last door: a user never sees a stack trace
    "processes/isolation.py",  # hands whatever went wrong in a child to its parent
    "tally/door/asks.py",  # a mistake in one answer ends no session, and nothing of what was asked is shown
    "recovery/isolated.py",  # on a station a mistake in the work on one disk is told, and stops no other
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

UNICODE_KINDS = {"unicodedata.category", "unicodedata.bidirectional", "category", "bidirectional"}

# Where an error becomes the status of a disk.
TOUCHES_DISKS = frozenset({"diagnosis", "disks", "files", "processes", "recovery", "repair", "windows"})


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

    @property
    def place(self) -> str:
        """What the room has it in: a room of its own, or the file itself."""
        return self.path.split("/")[min(1, self.path.count("/"))].removesuffix(".py")

    @property
    def dotted(self) -> str:
        return ".".join(["unbrick", *self.path.removesuffix(".py").removesuffix("/__init__").split("/")])

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
    inside = ("__init__", *FLOORS_INSIDE[module.room]) if module.room in FLOORS_INSIDE else (module.place,)
    if module.place not in inside:
        yield f"{module.path}: {module.place} has no place in the room {module.room}"
        return
    for name in module.imported():
        parts = name.split(".")
        if parts[0] != "unbrick" or parts[1:] in ([], ["__version__"]):
            continue
        if ".".join(parts[1:]) in WIDER.get(module.path, ()):
            continue
        if parts[1] not in (module.room, *NARROWER.get(module.path, MAY_IMPORT[module.room])):
            yield f"{module.path}: imports {name}, which is not below it"
        elif parts[1] == module.room and parts[2] in inside[inside.index(module.place) + 1 :]:
            yield f"{module.path}: imports {name}, which is above it in its room"


def rooms_say_what_they_are(module: Module) -> Iterator[str]:
    if not module.path.endswith("__init__.py"):
        return
    text = ast.get_docstring(module.tree) or ""
    if "Never" not in text and " never " not in text:
        yield f"{module.path}: does not say what the room never does"
    first = re.search(r"Read `([^`]+)`\s+first", text)
    if first is None:
        yield f"{module.path}: does not say which file to read first"
    elif not (PACKAGE / module.path).parent.joinpath(first[1]).is_file():
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


def documents_are_read_by_one_reader(module: Module) -> Iterator[str]:
    if module.path in MAY_PARSE_DOCUMENTS:
        return
    readers = {"json.load", "json.loads", "json.JSONDecoder"}
    for name in (*module.names(), *module.imported()):
        if name in readers or name.split(".")[0] == "yaml":
            yield f"{module.path}: uses {name}"


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


def text_is_made_safe_to_show_in_one_place(module: Module) -> Iterator[str]:
    """All may ask whether a text is printable; only `text.py` picks the characters that are kept."""
    if module.path == MAKES_TEXT_SAFE:
        return
    for node in module.nodes():
        if isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node) in UNICODE_KINDS:
            yield f"{module.path} line {node.lineno}: asks what kind a character is"
        picks = [node.test] if isinstance(node, ast.IfExp) else []
        if isinstance(node, ast.GeneratorExp | ast.ListComp):
            picks = [test for part in node.generators for test in part.ifs]
        if any(ast.unparse(one).endswith(".isprintable") for test in picks for one in ast.walk(test)):
            yield f"{module.path}: makes text safe to show"


def files_of_strangers_are_opened_in_one_place(module: Module) -> Iterator[str]:
    """A file that is opened and then asked whether it is one is opened by `files.open_plain`."""
    if module.path in MAY_OPEN_AND_ASK:
        return
    for node in module.nodes():
        if isinstance(node, ast.FunctionDef):
            used = {ast.unparse(one) for one in ast.walk(node) if isinstance(one, ast.Attribute)}
            if "stat.S_ISREG" in used and {"os.fstat", "stat.S_ISBLK"} & used == {"os.fstat"}:
                yield f"{module.path} line {node.lineno}: opens a file and asks whether it is one"


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
    *_, folder, name = ("", *module.path.split("/"))
    if folder and name.startswith((f"{folder}_", f"{folder.removesuffix('s')}_")):
        yield f"{module.path}: says the name of its room again"


def only_words_lie_at_the_root(module: Module) -> Iterator[str]:
    if "/" not in module.path and module.path not in LOOSE_AT_THE_ROOT:
        yield f"{module.path}: belongs in a room"


def a_verb_is_a_file_and_a_group_a_folder(module: Module) -> Iterator[str]:
    """`unbrick media build` is `command` in cli/media/build.py: nothing else has to name it."""
    if module.room != "cli":
        return
    made = {
        ast.unparse(call.func): (function.name, call)
        for function in module.nodes()
        if isinstance(function, ast.FunctionDef)
        for call in function.decorator_list
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith((".command", ".group"))
    }
    *_, folder, name = module.path.removesuffix(".py").split("/")
    kind, verb = ("click.group", folder) if name == "__init__" else ("click.command", name.removesuffix("_"))
    if module.path in NO_VERBS or module.place in NO_VERBS:
        if module.path != "cli/main.py" and made:
            yield f"{module.path}: has a verb, which belongs into a file of its own"
    elif set(made) != {kind} or made[kind][0] != "command":
        yield f"{module.path}: is not one {kind}, called `command`"
    elif [ast.unparse(one) for one in made[kind][1].args] != [repr(verb)]:
        yield f"{module.path}: its `command` is not called {verb}"
    elif kind == "click.group" and "package=__name__" not in ast.unparse(made[kind][1]):
        yield f"{module.path}: does not find its verbs by their files"
    elif not ast.get_docstring(module.tree):
        yield f"{module.path}: has no line for the help of its group"


Rule = Callable[[Module], Iterator[str]]
RULES: tuple[Rule, ...] = (
    arrows_point_down,
    rooms_say_what_they_are,
    only_the_door_prints_and_exits,
    programs_are_run_through_one_door,
    the_c_library_is_called_through_one_binding,
    documents_are_read_by_one_reader,
    ssh_is_read_in_one_room,
    text_is_made_safe_to_show_in_one_place,
    files_of_strangers_are_opened_in_one_place,
    secrets_are_revealed_in_few_places,
    errors_are_caught_by_name,
    what_ends_the_work_on_a_disk_has_a_reason,
    files_are_named_for_what_they_hold,
    only_words_lie_at_the_root,
    a_verb_is_a_file_and_a_group_a_folder,
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


def circle_of(modules: Iterable[Module]) -> list[str]:
    """Modules that import one another all the way round, late imports included; or none."""
    imports = {module.dotted: list(module.imported()) for module in modules}
    known = {
        name: {at for one in found for at in (one, one.rpartition(".")[0]) if at in imports and at != name}
        for name, found in imports.items()
    }
    try:
        TopologicalSorter(known).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_imports_itself_all_the_way_round() -> None:
    assert circle_of(read_package()) == []


def test_a_circle_of_imports_is_noticed() -> None:
    one = Module("keys/one.py", "def late():\n    from unbrick.keys import two\n")
    two = Module("keys/two.py", "from unbrick.keys.one import late\n")
    assert circle_of([one, Module("keys/two.py", "")]) == []
    assert set(circle_of([one, two])) == {"unbrick.keys.one", "unbrick.keys.two"}


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
    listed = (
        {CALLS_THE_C_LIBRARY, MAKES_TEXT_SAFE}
        | MAY_PARSE_DOCUMENTS
        | MAY_RUN_PROGRAMS
        | MAY_OPEN_AND_ASK
        | MAY_FORK
        | MAY_REVEAL_SECRETS
        | MAY_CATCH_EVERYTHING
    )
    assert {path for path in listed if not (PACKAGE / path).is_file()} == set()


KEEPS = '"""What it is for.\n\nNever does harm.\nRead `password.py` first.\n"""\n'
VERB = '"""Burn it."""\n@click.command("burn")\ndef command(): ...\n'
BREAKS: list[tuple[Rule, str, str]] = [
    (arrows_point_down, "incidents/x.py", "from unbrick.disks.discover import open_disk\n"),
    (arrows_point_down, "incidents/x.py", "from unbrick import disks\n"),
    (arrows_point_down, "incidents/x.py", "import unbrick.recovery.story as story\n"),
    (arrows_point_down, "incidents/x.py", "from ..windows import hive\n"),
    (arrows_point_down, "incidents/x.py", "from .. import cli\n"),
    (arrows_point_down, "incidents/x.py", "def late():\n    from unbrick.cli.main import main\n"),
    (arrows_point_down, "diagnosis/x.py", "from unbrick.repair.repair import make_plan\n"),
    (arrows_point_down, "repair/repair.py", "import unbrick.disks.change.views\n"),
    (arrows_point_down, "errors.py", "from unbrick.secret import Secret\n"),
    (arrows_point_down, "recovery/story.py", "from unbrick.drill.fleet import make_fleet\n"),
    (arrows_point_down, "tally/records.py", "from unbrick.report.recorder import Recorder\n"),
    (arrows_point_down, "attic/x.py", ""),
    (arrows_point_down, "disks/attic.py", ""),
    (arrows_point_down, "disks/attic/x.py", ""),
    (arrows_point_down, "disks/ntfs/x.py", "from unbrick.disks.change.views import look\n"),
    (arrows_point_down, "disks/ntfs/x.py", "from unbrick.disks import change\n"),
    (arrows_point_down, "disks/ntfs/x.py", "from ..change import views\n"),
    (arrows_point_down, "tally/count/x.py", "from unbrick.tally.store.store import Store\n"),
    (arrows_point_down, "media/stick/layout.py", "from unbrick.disks import in_use\n"),
    (arrows_point_down, "media/stick/target.py", "from unbrick.disks import gpt\n"),
    (arrows_point_down, "recovery/outcome.py", "from unbrick.repair.repair import make_plan\n"),
    (rooms_say_what_they_are, "keys/__init__.py", KEEPS.replace("Never does", "Does")),
    (rooms_say_what_they_are, "keys/__init__.py", KEEPS.replace("password.py", "missing.py")),
    (rooms_say_what_they_are, "keys/__init__.py", KEEPS.replace("Read ", "See ")),
    (rooms_say_what_they_are, "keys/__init__.py", ""),
    (only_the_door_prints_and_exits, "keys/x.py", "print(1)\n"),
    (only_the_door_prints_and_exits, "keys/x.py", "import sys\nsys.exit(1)\n"),
    (only_the_door_prints_and_exits, "keys/x.py", "from click import echo\n"),
    (programs_are_run_through_one_door, "keys/x.py", "import subprocess\n"),
    (programs_are_run_through_one_door, "keys/x.py", "def late():\n    from subprocess import run\n"),
    (programs_are_run_through_one_door, "processes/isolation.py", "import subprocess\n"),
    (programs_are_run_through_one_door, "keys/x.py", "import os\nos.fork()\n"),
    (programs_are_run_through_one_door, "processes/isolation.py", "import os\nos.fork()\n"),
    (programs_are_run_through_one_door, "processes/command.py", "import os\nos.system('x')\n"),
    (programs_are_run_through_one_door, "keys/x.py", "from os import execvp\n"),
    (the_c_library_is_called_through_one_binding, "disks/x.py", "import ctypes\n"),
    (the_c_library_is_called_through_one_binding, "processes/x.py", "from ctypes import CDLL\n"),
    (documents_are_read_by_one_reader, "tally/x.py", "import json\nfound = json.loads(text)\n"),
    (documents_are_read_by_one_reader, "media/x.py", "from json import load\n"),
    (documents_are_read_by_one_reader, "incidents/x.py", "def late():\n    import yaml\n"),
    (documents_are_read_by_one_reader, "cli/x.py", "from yaml import safe_load\n"),
    (ssh_is_read_in_one_room, "tally/x.py", "from cryptography.hazmat.primitives import serialization\n"),
    (ssh_is_read_in_one_room, "report/x.py", "import cryptography.hazmat.primitives.serialization.ssh\n"),
    (ssh_is_read_in_one_room, "media/x.py", "HEAD = b'\\0\\0\\0\\x0bssh-ed25519\\0\\0\\0\\x20'\n"),
    (ssh_is_read_in_one_room, "media/x.py", "def line(blob):\n    return f'ssh-ed25519 {blob}'\n"),
    (text_is_made_safe_to_show_in_one_place, "x.py", "''.join(c if c.isprintable() else '?' for c in 'x')\n"),
    (text_is_made_safe_to_show_in_one_place, "x.py", "''.join(c for c in 'x' if not c.isprintable())\n"),
    (text_is_made_safe_to_show_in_one_place, "x.py", "import unicodedata\nunicodedata.category('x')\n"),
    (files_of_strangers_are_opened_in_one_place, "x.py", "def f():\n    stat.S_ISREG(os.fstat(3).st_mode)\n"),
    (secrets_are_revealed_in_few_places, "keys/x.py", "text = password.secret.reveal()\n"),
    (secrets_are_revealed_in_few_places, "keys/x.py", "look = Secret.reveal\n"),
    (secrets_are_revealed_in_few_places, "keys/x.py", "text = secret._value\n"),
    (errors_are_caught_by_name, "keys/x.py", "try:\n    x = 1\nexcept Exception:\n    pass\n"),
    (errors_are_caught_by_name, "keys/x.py", "try:\n    x = 1\nexcept (OSError, Exception):\n    raise\n"),
    (errors_are_caught_by_name, "keys/x.py", "try:\n    x = 1\nexcept:\n    pass\n"),
    (errors_are_caught_by_name, "keys/x.py", "try:\n    x = 1\nexcept BaseException:\n    pass\n"),
    (what_ends_the_work_on_a_disk_has_a_reason, "disks/x.py", "raise FailedError('no', hint='yes')\n"),
    (what_ends_the_work_on_a_disk_has_a_reason, "recovery/story.py", "error = FailedError('no')\n"),
    (files_are_named_for_what_they_hold, "keys/utils.py", ""),
    (files_are_named_for_what_they_hold, "common/x.py", ""),
    (files_are_named_for_what_they_hold, "disks/images/image_qcow2.py", ""),
    (only_words_lie_at_the_root, "command.py", ""),
    (a_verb_is_a_file_and_a_group_a_folder, "cli/media/burn.py", VERB.replace("burn", "bake")),
    (a_verb_is_a_file_and_a_group_a_folder, "cli/media/burn.py", VERB.replace("command()", "burn()")),
    (a_verb_is_a_file_and_a_group_a_folder, "cli/media/burn.py", VERB.replace("click", "group")),
    (a_verb_is_a_file_and_a_group_a_folder, "cli/media/burn.py", VERB.partition("\n")[2]),
    (a_verb_is_a_file_and_a_group_a_folder, "cli/media/words.py", '"""Words."""\n'),
    (a_verb_is_a_file_and_a_group_a_folder, "cli/burn/__init__.py", VERB),
    (a_verb_is_a_file_and_a_group_a_folder, "cli/burn/__init__.py", VERB.replace(".command", ".group")),
    (a_verb_is_a_file_and_a_group_a_folder, "cli/options/burn.py", VERB),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "path", "text"), BREAKS, ids=lambda value: getattr(value, "__name__", None))
def test_a_module_that_breaks_the_rule_is_noticed(rule: Rule, path: str, text: str) -> None:
    assert list(rule(Module(path, text)))


ALLOWED: list[tuple[Rule, str, str]] = [
    (arrows_point_down, "incidents/x.py", "from unbrick.errors import A\nfrom unbrick import __version__\n"),
    (arrows_point_down, "keys/chain.py", "from . import sources\nfrom .password import parse\nimport json\n"),
    (arrows_point_down, "disks/change/x.py", "from unbrick.disks.ntfs import log\nfrom . import facts\n"),
    (arrows_point_down, "recovery/story.py", "from unbrick.repair.repair import make_plan\n"),
    (arrows_point_down, "media/stick/layout.py", "from unbrick.disks import gpt\n"),
    (arrows_point_down, "cli/x.py", "from unbrick.drill.fleet import make_fleet\n"),
    (rooms_say_what_they_are, "keys/__init__.py", KEEPS),
    (rooms_say_what_they_are, "keys/password.py", ""),
    (only_the_door_prints_and_exits, "cli/x.py", "print(1)\n"),
    (programs_are_run_through_one_door, "processes/command.py", "import subprocess\n"),
    (programs_are_run_through_one_door, "processes/child.py", "import os\nos.fork()\n"),
    (the_c_library_is_called_through_one_binding, "processes/libc.py", "import ctypes\n"),
    (documents_are_read_by_one_reader, "tally/x.py", "import json\ntext = json.dumps(found)\n"),
    (documents_are_read_by_one_reader, "settings/strict.py", "import yaml\nyaml.compose(text)\n"),
    (ssh_is_read_in_one_room, "signing/x.py", "KEY_TYPE = 'ssh-ed25519'\n"),
    (ssh_is_read_in_one_room, "tally/x.py", '"""A key line, `ssh-ed25519 AAAA`."""\nKEY = "Ed25519"\n'),
    (text_is_made_safe_to_show_in_one_place, "text.py", "'x' if 'x'.isprintable() else '?'\n"),
    (text_is_made_safe_to_show_in_one_place, "keys/x.py", "if not name.isprintable():\n    pass\n"),
    (files_of_strangers_are_opened_in_one_place, "files.py", "def f():\n  stat.S_ISREG(os.fstat(3))\n"),
    (files_of_strangers_are_opened_in_one_place, "x.py", "def f():\n  stat.S_ISREG(path.lstat())\n"),
    (secrets_are_revealed_in_few_places, "disks/bitlocker/unlock.py", "key.reveal()\n"),
    (errors_are_caught_by_name, "keys/x.py", "try:\n    x = 1\nexcept BaseException:\n    raise\n"),
    (errors_are_caught_by_name, "keys/x.py", "try:\n    x = 1\nexcept OSError:\n    pass\n"),
    (what_ends_the_work_on_a_disk_has_a_reason, "disks/x.py", "FailedError('no', reason=Reason.TIMED_OUT)\n"),
    (what_ends_the_work_on_a_disk_has_a_reason, "media/x.py", "FailedError('no')\n"),
    (files_are_named_for_what_they_hold, "keys/password.py", ""),
    (files_are_named_for_what_they_hold, "disks/images/image.py", ""),
    (only_words_lie_at_the_root, "errors.py", ""),
    (only_words_lie_at_the_root, "keys/errors.py", ""),
    (a_verb_is_a_file_and_a_group_a_folder, "cli/media/burn.py", VERB),
    (
        a_verb_is_a_file_and_a_group_a_folder,
        "cli/burn/__init__.py",
        VERB.replace('command("burn"', 'group("burn", package=__name__'),
    ),
    (a_verb_is_a_file_and_a_group_a_folder, "cli/options/consent.py", "def ask(): ...\n"),
    (a_verb_is_a_file_and_a_group_a_folder, "media/burn.py", ""),
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
