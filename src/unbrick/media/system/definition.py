"""What belongs on the medium, read from `recovery_media/`: data that a person can read and change."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from unbrick.errors import UsageError
from unbrick.settings.strict import Form, Shape, Span, read_yaml

PACKAGE = Path(__file__).resolve().parents[2]
"""The folder of unbrick's own source."""
_FOLDER = PACKAGE.parents[1] / "recovery_media"
_FORM = Form("a table of the definition")


Word = Annotated[str, Shape("a text", exact=True)]
Words = Annotated[tuple[Word, ...], Span(0)]


@dataclass(frozen=True)
class PythonDefinition:
    """The Python on the medium, and what of it is left out."""

    version: Word
    left_out: Mapping[str, Word]
    packages_left_out: Mapping[str, Word]


@dataclass(frozen=True)
class SystemDefinition:
    """`system.yaml`: packages, programs, files; what is left out has a reason."""

    suite: Word
    architecture: Word
    components: Words
    packages: Words
    programs: Words
    libraries: Words
    files: Words
    links: Mapping[str, Word]
    busybox_left_out: Words
    udev_rules_left_out: Mapping[str, Word]
    python: PythonDefinition


@dataclass(frozen=True)
class ModuleClass:
    """A kind of hardware: patterns of source folders."""

    name: Word
    folders: Words


@dataclass(frozen=True)
class ModulesDefinition:
    """`kernel_modules.yaml`: the classes, modules and firmware that are left out, and what is loaded."""

    classes: Annotated[tuple[ModuleClass, ...], Span(0)]
    left_out: Mapping[str, Word]
    not_covered: Mapping[str, Word]
    firmware_left_out: Mapping[str, Word]
    load_at_boot: Words
    announced_at_boot: Words


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
    if not folder.is_dir():
        raise UsageError(
            f"{folder}: not there",
            hint="build from a checkout of unbrick: the folder recovery_media holds the image's parts",
        )
    texts = {name: _text(folder, name) for name in _NAMES}
    digest = hashlib.sha256()
    for name in sorted(texts):
        digest.update(f"{name}\0{len(texts[name])}\0{texts[name]}".encode())

    def read(hint: Any, name: str) -> Any:
        return read_yaml(hint, texts[name].encode(), str(folder / name), _FORM)

    return Definition(
        read(SystemDefinition, "system.yaml"),
        read(ModulesDefinition, "kernel_modules.yaml"),
        texts["boot_menu.cfg"],
        texts["boot_find.cfg"],
        read(Mapping[str, Word], "boot_words.yaml"),
        texts["devices.rules"],
        texts["file_systems.fstab"],
        texts["first_program.sh"],
        folder / "requirements.txt",
        digest.hexdigest(),
    )


_NAMES = (
    *("boot_find.cfg", "boot_menu.cfg", "boot_words.yaml", "devices.rules", "file_systems.fstab"),
    *("first_program.sh", "kernel_modules.yaml", "requirements.txt", "system.yaml"),
)


def _text(folder: Path, name: str) -> str:
    try:
        return (folder / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{folder / name}: {error}") from error


def matching(patterns: Iterable[str], path: str) -> str | None:
    """The first pattern (`*`, `**` at any depth, `[…]`) that names a path or a folder above it."""
    return next((pattern for pattern in patterns if _compiled(pattern).match(path)), None)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    escaped = re.escape(pattern).replace(r"\*\*", ".*").replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
    escaped = escaped.replace(r"\[!", "[^").replace(r"\[", "[").replace(r"\]", "]")
    return re.compile(f"{escaped}(/.*)?$")
