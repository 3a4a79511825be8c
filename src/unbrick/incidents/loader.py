"""Reads one playbook file, strictly: what is not understood in full is refused, with file and line.

Works on PyYAML's nodes, so that every value has a line and nothing is converted behind our back. Aliases,
anchors, tags and deep nesting are refused before anything is built (a small file could grow without end).
"""

from __future__ import annotations

import os
import re
import stat
import types
import typing
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from unbrick.errors import UsageError
from unbrick.incidents.pattern import PatternError
from unbrick.incidents.playbook import Playbook, ScalarKind, Shape

MAX_FILE_SIZE = 64 * 1024
_MAX_DEPTH = 12
_MAX_EVENTS = 2000
_MAX_PROBLEMS = 50
_SHOWN_LENGTH = 60
_TEXT_TAG = "tag:yaml.org,2002:str"
_TAG_NAMES = {
    "tag:yaml.org,2002:int": "a number",
    "tag:yaml.org,2002:float": "a number with a fraction",
    "tag:yaml.org,2002:bool": "true or false",
    "tag:yaml.org,2002:null": "nothing",
    "tag:yaml.org,2002:timestamp": "a date",
}
_REFUSED = object()
_HINT = "`unbrick playbook show --schema` prints what a playbook may hold"


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a playbook file: the line (from 1) and what was expected there."""

    line: int
    message: str


class PlaybookError(UsageError):
    """A playbook file was refused; `problems` lists everything found wrong, in the order of the file."""

    def __init__(self, file: str, problems: tuple[Problem, ...]) -> None:
        first = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(f"{file}:{first.line}: {first.message}{more}", hint=_HINT)
        self.file = file
        self.problems = problems


def load_playbook(path: Path) -> Playbook:
    """Read a playbook file; raises PlaybookError with everything that is wrong with it."""
    return parse_playbook(read_playbook_file(path), str(path))


def parse_playbook(data: bytes, file: str) -> Playbook:
    """Read a playbook from bytes; `file` is the name in messages. Raises PlaybookError."""
    node = _compose(_decode(data, file), file)
    reading = _Reading()
    value = reading.value(Playbook, node, "a playbook")
    if reading.problems or not isinstance(value, Playbook):
        ordered = tuple(sorted(reading.problems, key=lambda problem: problem.line))
        raise PlaybookError(file, ordered[:_MAX_PROBLEMS])
    return value


def line_of_key(data: bytes, key: str) -> int:
    """The line (from 1) of a key at the top of a playbook file that was read without a problem."""
    node = yaml.compose(data.decode("utf-8-sig"), yaml.SafeLoader)
    assert isinstance(node, yaml.MappingNode)
    keys: list[yaml.Node] = [one for one, _ in node.value]
    return next((one.start_mark.line for one in keys if one.value == key), 0) + 1


def read_playbook_file(path: Path) -> bytes:
    """The bytes of a regular file, not much more than MAX_FILE_SIZE of them; raises PlaybookError.

    A pipe or a device neither blocks nor is drained.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise PlaybookError(str(path), (Problem(1, "expected a regular file"),))
            return os.read(descriptor, MAX_FILE_SIZE + 1)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else str(error)
        raise PlaybookError(str(path), (Problem(1, f"expected a readable file: {said}"),)) from error


def _decode(data: bytes, file: str) -> str:
    if len(data) > MAX_FILE_SIZE:
        raise PlaybookError(file, (Problem(1, f"expected a file of at most {MAX_FILE_SIZE // 1024} KiB"),))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PlaybookError(file, (Problem(line, "expected text in UTF-8"),)) from error


def _compose(text: str, file: str) -> yaml.Node:
    """The file's one document as nodes, after its events were found free of everything we refuse."""
    try:
        _check_events(text, file)
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise PlaybookError(file, (Problem(line, f"expected YAML: {error.problem}"),)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise PlaybookError(file, (Problem(line, "expected text without control characters"),)) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # PyYAML lets ValueError through for an escape such as "\\UFFFFFFFF" and for endless version numbers.
        raise PlaybookError(file, (Problem(1, "expected YAML without impossible escapes"),)) from error
    if node is None:
        raise PlaybookError(file, (Problem(1, "expected a playbook, not an empty file"),))
    return node


def _check_events(text: str, file: str) -> None:
    depth = documents = 0
    for count, event in enumerate(yaml.parse(text, yaml.SafeLoader)):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        refusal = _why_refused(event)
        if refusal is None and documents > 1:
            refusal = "expected one playbook in the file, not several documents"
        if refusal is None and depth > _MAX_DEPTH:
            refusal = f"expected at most {_MAX_DEPTH} levels of nesting"
        if refusal is None and count > _MAX_EVENTS:
            refusal = f"expected at most {_MAX_EVENTS} values and lists"
        if refusal is not None:
            raise PlaybookError(file, (Problem(line, refusal),))


def _why_refused(event: yaml.Event) -> str | None:
    if isinstance(event, yaml.AliasEvent):
        return "expected plain values: aliases (*name) are refused"
    if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
        return "expected plain values: anchors (&name) are refused"
    if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag is not None:
        return "expected plain values: tags (!name) are refused"
    if isinstance(event, yaml.DocumentStartEvent) and (event.tags or event.version):
        return "expected a file without % directives"
    return None


class _UnreadError(Exception):
    """A value was asked for that is missing, or was refused."""


class _HalfRead:
    """A record of which some values were refused: its other faults are to be told in the same breath."""

    def __init__(self, hint: type[Any], values: dict[str, Any]) -> None:
        defaults = {one.name: one.default for one in fields(hint) if one.default is not MISSING}
        self._values = {**defaults, **values}

    def __getattr__(self, name: str) -> Any:
        value = self._values.get(name, _REFUSED)
        if value is _REFUSED:
            raise _UnreadError
        return value


class _Reading:
    """Turns nodes into values of annotated types; goes on after a problem, to report all of them."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def _refuse(self, node: yaml.Node, message: str) -> Any:
        self.problems.append(Problem(node.start_mark.line + 1, message))
        return _REFUSED

    def value(self, hint: Any, node: yaml.Node, what: str) -> Any:
        """A node as a value of the annotated type `hint`, or _REFUSED after noting why."""
        origin = typing.get_origin(hint)
        if origin is typing.Annotated:
            return self._scalar(hint.__metadata__[0], node, what)
        if origin in (types.UnionType, typing.Union):
            return self.value(next(a for a in typing.get_args(hint) if a is not types.NoneType), node, what)
        if origin is tuple:
            return self._list(typing.get_args(hint)[0], node, what)
        if isinstance(hint, type) and is_dataclass(hint):
            return self._record(hint, node, what)
        return self._choice(hint, node, what)

    def _scalar(self, shape: Shape, node: yaml.Node, what: str) -> Any:
        expected = f"{what}: expected {shape.expected}"
        if not isinstance(node, yaml.ScalarNode):
            return self._refuse(node, f"{expected}, not {_describe(node)}")
        text = node.value.strip()
        if shape.kind is ScalarKind.FLAG:
            if node.style is None and text in ("true", "false"):
                return text == "true"
        elif shape.kind is ScalarKind.INTEGER:
            if node.style is None and re.fullmatch(r"0|[1-9][0-9]{0,18}", text):
                number = int(text)
                if (shape.lowest or 0) <= number <= (shape.highest or number):
                    return number
        elif node.tag != _TEXT_TAG and not (shape.bare and text):
            kind = _TAG_NAMES.get(node.tag, "something else")
            return self._refuse(node, f"{expected}; YAML takes {_shown(text)} for {kind}, put it in quotes")
        elif _fits(shape, text):
            return self._read(shape, node, text, expected)
        return self._refuse(node, f"{expected}, not {_describe(node)}")

    def _read(self, shape: Shape, node: yaml.Node, text: str, expected: str) -> Any:
        if shape.read is None:
            return text
        try:
            return shape.read(text)
        except PatternError as error:
            return self._refuse(
                node, f"{expected.partition(':')[0]}: expected {error}, not {_describe(node)}"
            )
        except (ValueError, OverflowError):
            return self._refuse(node, f"{expected}, not {_describe(node)}")

    def _list(self, hint: Any, node: yaml.Node, what: str) -> Any:
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            return self._refuse(node, f"{what}: expected a list of at least one, not {_describe(node)}")
        values = tuple(self.value(hint, item, what) for item in node.value)
        return _REFUSED if _REFUSED in values else values

    def _choice(self, hint: type[StrEnum], node: yaml.Node, what: str) -> Any:
        words = [str(member) for member in hint]
        if isinstance(node, yaml.ScalarNode) and node.value in words:
            return hint(node.value)
        return self._refuse(node, f"{what}: expected {' or '.join(words)}, not {_describe(node)}")

    def _record(self, hint: type[Any], node: yaml.Node, what: str) -> Any:
        if not isinstance(node, yaml.MappingNode):
            return self._refuse(node, f"{what}: expected a mapping of keys, not {_describe(node)}")
        known = dict(keys_of(hint))
        hints = typing.get_type_hints(hint, include_extras=True)
        values: dict[str, Any] = {}
        nodes: dict[str, yaml.Node] = {"": node}
        for key_node, value_node in node.value:
            name = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if name not in known:
                self._refuse(
                    key_node, f"{what}: expected one of {', '.join(known)}, not {_describe(key_node)}"
                )
            elif name in nodes:
                self._refuse(key_node, f"{what}: expected {name} only once")
            else:
                nodes[name] = value_node
                values[known[name].name] = self.value(hints[known[name].name], value_node, name)
        return self._build(hint, known, values, nodes, what)

    def _build(
        self,
        hint: type[Any],
        known: dict[str, Field[Any]],
        values: dict[str, Any],
        nodes: dict[str, yaml.Node],
        what: str,
    ) -> Any:
        missing = [name for name, one in known.items() if one.default is MISSING and one.name not in values]
        for name in missing:
            self._refuse(nodes[""], f"{what}: expected the key {name}")
        whole = not missing and not any(value is _REFUSED for value in values.values())
        record = hint(**values) if whole else _HalfRead(hint, values)
        try:
            for name, expected in getattr(hint, "faults", lambda _: ())(record):
                self._refuse(nodes.get(name, nodes[""]), f"{name or what}: expected {expected}")
        except _UnreadError:  # what follows hangs on a value that was refused
            return _REFUSED
        return record if whole else _REFUSED


def keys_of(hint: type[Any]) -> Iterator[tuple[str, Field[Any]]]:
    """The keys of a playbook's mapping as the file spells them, with the field each one fills."""
    for one in fields(hint):
        yield one.metadata.get("named") or one.name, one


def _fits(shape: Shape, text: str) -> bool:
    if not text or (shape.longest is not None and len(text) > shape.longest):
        return False
    if not all(character.isprintable() or character == "\n" for character in text):
        return False
    return shape.pattern is None or re.search(shape.pattern, text) is not None


def _describe(node: yaml.Node) -> str:
    """What stands in the file, for a message: short, and safe to print."""
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list" if node.value else "an empty list"
    return _shown(node.value) if node.value else "nothing"


def _shown(text: str) -> str:
    short = text if len(text) <= _SHOWN_LENGTH else text[: _SHOWN_LENGTH - 1] + "…"
    return "'" + "".join(character if character.isprintable() else "?" for character in short) + "'"
