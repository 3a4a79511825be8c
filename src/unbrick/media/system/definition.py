"""What belongs on the medium, read from `recovery_media/`: data that a person can read and change."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from unbrick.errors import UsageError

_FOLDER = Path(__file__).resolve().parents[4] / "recovery_media"


class DefinitionError(UsageError):
    """A file of the definition that says something we do not understand."""


@dataclass(frozen=True)
class SystemDefinition:
    """`system.yaml`: packages, programs, files; what is left out is told with a reason."""

    suite: str
    architecture: str
    components: tuple[str, ...]
    packages: tuple[str, ...]
    programs: tuple[str, ...]
    libraries: tuple[str, ...]
    files: tuple[str, ...]
    links: Mapping[str, str]
    busybox_left_out: tuple[str, ...]
    udev_rules_left_out: Mapping[str, str]
    python_version: str
    python_left_out: Mapping[str, str]
    python_packages_left_out: Mapping[str, str]


@dataclass(frozen=True)
class ModuleClass:
    """A kind of hardware: patterns of source folders."""

    name: str
    folders: tuple[str, ...]


@dataclass(frozen=True)
class ModulesDefinition:
    """`kernel_modules.yaml`: the classes, what of them is left out, firmware that is, and what is loaded."""

    classes: tuple[ModuleClass, ...]
    left_out: Mapping[str, str]
    not_covered: Mapping[str, str]
    firmware_left_out: Mapping[str, str]
    load_at_boot: tuple[str, ...]
    announced_at_boot: tuple[str, ...]


@dataclass(frozen=True)
class Definition:
    """All of `recovery_media/`."""

    system: SystemDefinition
    modules: ModulesDefinition
    boot_menu: str
    boot_find: str
    boot_words: Mapping[str, str]
    device_rules: str
    file_systems: str
    first_program: str
    requirements: Path
    digest: str


def read_definition(folder: Path = _FOLDER) -> Definition:
    """Read the definition; raises DefinitionError with the file and what is wrong."""
    if not folder.is_dir():
        raise DefinitionError(
            f"{folder}: not there",
            hint="build from a checkout of unbrick: the folder recovery_media holds the image's parts",
        )
    texts = {name: _text(folder, name) for name in _NAMES}
    digest = hashlib.sha256()
    for name in sorted(texts):
        digest.update(f"{name}\0{len(texts[name])}\0{texts[name]}".encode())
    return Definition(
        _system(_mapping(texts, "system.yaml")),
        _modules(_mapping(texts, "kernel_modules.yaml")),
        texts["boot_menu.cfg"],
        texts["boot_find.cfg"],
        _table_of_words({"boot_words.yaml": _mapping(texts, "boot_words.yaml")}, "boot_words.yaml"),
        texts["devices.rules"],
        texts["file_systems.fstab"],
        texts["first_program.sh"],
        folder / "requirements.txt",
        digest.hexdigest(),
    )


_NAMES = (
    "boot_find.cfg",
    "boot_menu.cfg",
    "boot_words.yaml",
    "devices.rules",
    "file_systems.fstab",
    "first_program.sh",
    "kernel_modules.yaml",
    "requirements.txt",
    "system.yaml",
)


def _text(folder: Path, name: str) -> str:
    try:
        return (folder / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DefinitionError(f"{folder / name}: {error}") from error


def _mapping(texts: Mapping[str, str], name: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(texts[name])
    except yaml.YAMLError as error:
        raise DefinitionError(f"{name}: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise DefinitionError(f"{name}: not a table of names and values")
    return found


def _system(table: dict[str, Any]) -> SystemDefinition:
    python = table.pop("python", None)
    if not isinstance(python, dict):
        raise DefinitionError("system.yaml: python: not a table")
    found = SystemDefinition(
        suite=_word(table, "suite"),
        architecture=_word(table, "architecture"),
        components=_words(table, "components"),
        packages=_words(table, "packages"),
        programs=_words(table, "programs"),
        libraries=_words(table, "libraries"),
        files=_words(table, "files"),
        links=_table_of_words(table, "links"),
        busybox_left_out=_words(table, "busybox_left_out"),
        udev_rules_left_out=_table_of_words(table, "udev_rules_left_out"),
        python_version=_word(python, "version"),
        python_left_out=_table_of_words(python, "left_out"),
        python_packages_left_out=_table_of_words(python, "packages_left_out"),
    )
    _nothing_more("system.yaml", {**table, **python})
    return found


def _modules(table: dict[str, Any]) -> ModulesDefinition:
    classes = table.pop("classes", None)
    if not isinstance(classes, list):
        raise DefinitionError("kernel_modules.yaml: classes: not a list")
    found = ModulesDefinition(
        classes=tuple(ModuleClass(_word(entry, "name"), _words(entry, "folders")) for entry in classes),
        left_out=_table_of_words(table, "left_out"),
        not_covered=_table_of_words(table, "not_covered"),
        firmware_left_out=_table_of_words(table, "firmware_left_out"),
        load_at_boot=_words(table, "load_at_boot"),
        announced_at_boot=_words(table, "announced_at_boot"),
    )
    _nothing_more("kernel_modules.yaml", table)
    return found


def _word(table: dict[str, Any], name: str) -> str:
    found = table.pop(name, None) if isinstance(table, dict) else None
    if not isinstance(found, str) or not found:
        raise DefinitionError(f"{name}: not a word")
    return found


def _words(table: dict[str, Any], name: str) -> tuple[str, ...]:
    found = table.pop(name, None)
    if not isinstance(found, list) or not all(isinstance(word, str) and word for word in found):
        raise DefinitionError(f"{name}: not a list of words")
    return tuple(found)


def _table_of_words(table: dict[str, Any], name: str) -> dict[str, str]:
    found = table.pop(name, None)
    if not isinstance(found, dict) or not all(
        isinstance(part, str) for pair in found.items() for part in pair
    ):
        raise DefinitionError(f"{name}: not a table of words")
    return found


def _nothing_more(name: str, table: dict[str, Any]) -> None:
    if table:
        raise DefinitionError(f"{name}: not understood: {', '.join(sorted(table))}")


def matching(patterns: Mapping[str, str], path: str) -> str | None:
    """The first pattern that a path, or a folder above it, matches; None where none does."""
    return next((pattern for pattern in patterns if _compiled(pattern).match(path)), None)


def matches(pattern: str, path: str) -> bool:
    """Whether a path, or a folder above it, is what the pattern names: `*`, `**` at any depth, `[…]`."""
    return _compiled(pattern).match(path) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    escaped = re.escape(pattern).replace(r"\*\*", ".*").replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
    escaped = escaped.replace(r"\[!", "[^").replace(r"\[", "[").replace(r"\]", "]")
    return re.compile(f"{escaped}(/.*)?$")
