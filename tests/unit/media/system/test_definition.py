"""The definition of the medium: what the repository has can be read, and mistakes are told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from unbrick.errors import UsageError
from unbrick.media.system.definition import matching, read_definition
from unbrick.settings.strict import StrictError

RECOVERY_MEDIA = Path(__file__).resolve().parents[4] / "recovery_media"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(RECOVERY_MEDIA, tmp_path / "recovery_media"))


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_everything_that_is_left_out_has_a_reason(folder: Path) -> None:
    definition = read_definition(folder)
    for table in (
        definition.modules.left_out,
        definition.modules.firmware_left_out,
        definition.modules.not_covered,
        definition.system.udev_rules_left_out,
        definition.system.python.left_out,
        definition.system.python.packages_left_out,
    ):
        assert table
        assert all(len(why) >= 5 for why in table.values())


def test_any_change_of_the_definition_changes_its_digest(folder: Path) -> None:
    before = read_definition(folder).digest
    for name in (
        "system.yaml",
        "kernel_modules.yaml",
        "boot_menu.cfg",
        "boot_words.yaml",
        "devices.rules",
        "first_program.sh",
        "requirements.txt",
    ):
        with (folder / name).open("a", encoding="utf-8") as stream:
            stream.write("# \n")
        after = read_definition(folder).digest
        assert after != before
        before = after


@pytest.mark.parametrize(
    ("name", "old", "new", "at", "told"),
    [
        ("system.yaml", "suite: trixie", "suite: [trixie]", "suite:", "suite: expected a text, not a list"),
        ("system.yaml", "suite: trixie", "suit: trixie", "suit:", "not 'suit': did you mean suite?"),
        (
            "system.yaml",
            "suite: trixie",
            "sweet: trixie",
            "sweet:",
            "expected the key 'suite', which is missing",
        ),
        (
            "system.yaml",
            "\npackages:\n",
            "\npackages: busybox\nmore:\n",
            "packages:",
            "packages: expected a list, not 'busybox'",
        ),
        ("system.yaml", "\npackages:\n", "\nhooks: [x]\npackages:\n", "hooks:", ", python, not 'hooks'"),
        (
            "system.yaml",
            "    this.py: it is a joke",
            "    this.py: 3",
            "    this.py:",
            "python.left_out.this.py: expected a text; YAML takes '3' for a number, put it in quotes",
        ),
        (
            "kernel_modules.yaml",
            "  - name: storage",
            "  - title: storage",
            "  - title:",
            "classes[1]: expected the key 'name', which is missing",
        ),
        ("kernel_modules.yaml", "classes:", "classes: {", "  - name: wired", "expected YAML: "),
    ],
)
def test_a_mistake_is_told_in_one_line(
    folder: Path, name: str, old: str, new: str, at: str, told: str
) -> None:
    change(folder / name, old, new)
    line = [one.startswith(at) for one in (folder / name).read_text().splitlines()].index(True) + 1
    with pytest.raises(StrictError) as caught:
        read_definition(folder)
    assert caught.value.file == str(folder / name)
    assert [one for one in caught.value.problems if one.line == line and told in one.message]
    assert "\n" not in caught.value.message


def test_a_missing_definition_says_where_to_build(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_definition(tmp_path / "none")
    assert "checkout" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("drivers/net/**", "drivers/net/a/b", True),
        ("drivers/net/*", "drivers/netx/a", False),
        ("drivers/md/raid*", "drivers/md/raid1", True),
        ("drivers/md/raid*", "drivers/raid1", False),
        ("pydoc_data", "pydoc_data/topics.py", True),
        ("**.pyi", "yaml/x.pyi", True),
        ("a.b", "axb", False),
        ("lexers/[!_s]*", "lexers/python.py", True),
        ("lexers/[!_s]*", "lexers/special.py", False),
    ],
)
def test_patterns_name_whole_names(pattern: str, path: str, expected: bool) -> None:
    assert (matching([pattern], path) is not None) is expected
