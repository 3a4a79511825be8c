"""Reads YAML and JSON into frozen dataclasses: what is not understood in full is refused, all faults at once.

A file may hold the fields of its dataclass. A field is annotated with how its value is written:
`Annotated[T, Shape(…)]` one text, number or flag; `Literal[…]` or a `StrEnum` one of some words;
`tuple[T, …]` a list, bounded by `Annotated[…, Span(…)]`; `Mapping[str, T]` a table with any keys; another
dataclass a table of its fields. `metadata["named"]` is the key where Python's name differs. A method
`faults()` yields what no single field can check: a key, and what was expected of it.

YAML is read from PyYAML's nodes: every value has a line, and `no`, `010` and `2024-01-01` are not converted
behind our back. Aliases, anchors and tags are refused before anything is built: a small file could grow
without end. PyYAML is imported when a file is read: it takes 13 ms, and most programs read none.
"""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from unbrick.errors import UsageError
from unbrick.text import printable

if TYPE_CHECKING:
    import yaml

T = TypeVar("T")
_MOST_PROBLEMS = 50
_MOST_TOLD = 10
_SHOWN_LENGTH = 60
_REFUSED = object()
_KIND_OF_TAG = {
    "tag:yaml.org,2002:str": "a text",
    "tag:yaml.org,2002:int": "a number",
    "tag:yaml.org,2002:float": "a number with a fraction",
    "tag:yaml.org,2002:bool": "true or false",
    "tag:yaml.org,2002:null": "nothing",
    "tag:yaml.org,2002:timestamp": "a date",
}
_FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class ScalarKind(Enum):
    """The kinds of single value, by their names in a JSON Schema."""

    TEXT = "string"
    INTEGER = "integer"
    FLAG = "boolean"


@dataclass(frozen=True)
class Shape:
    """How a single value is written; `expected` completes "expected …" in the message about another.

    `pattern` is a regular expression that JSON Schema and Python read alike. `read` turns the text into the
    value; it raises ExpectedError with what was expected, or ValueError, for what `pattern` cannot check.
    `bare`: without quotes it may be what YAML takes for a date or a number, and a flag any word that YAML
    takes for one. `exact`: white space around it counts, as it does in JSON. `beside`: it names a file beside
    the one that is read.
    """

    expected: str
    pattern: str | None = None
    longest: int | None = None
    kind: ScalarKind = ScalarKind.TEXT
    lowest: int | None = None
    highest: int | None = None
    read: Callable[[str], Any] | None = None
    bare: bool = False
    exact: bool = False
    beside: bool = False


def number(expected: str, lowest: int, highest: int) -> Shape:
    """The shape of a whole number, limits included."""
    return Shape(expected, kind=ScalarKind.INTEGER, lowest=lowest, highest=highest)


@dataclass(frozen=True)
class Span:
    """How many a list may hold; `alone`: one of them may stand without a list around it."""

    fewest: int = 1
    most: int | None = None
    alone: bool = False


@dataclass(frozen=True)
class Form:
    """A kind of file: its name in messages (`a playbook`), the hint about a bad one, and its bounds.

    `blank_is_absent`: a key without a value counts as not given, unless it has a default value.
    `may_be_newer`: unknown keys are ignored.
    """

    noun: str
    hint: str | None = None
    most_bytes: int = 64 * 1024
    deepest: int = 12
    most_values: int = 2000
    blank_is_absent: bool = False
    may_be_newer: bool = False


class ExpectedError(ValueError):
    """A text that is not what was expected; the message completes "expected …"."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a file: where in the document, and what was expected; `line` is 0 in JSON."""

    line: int
    message: str


class StrictError(UsageError):
    """A file was refused; `problems` is everything found wrong, in the order of the file."""

    def __init__(self, file: str, problems: Sequence[Problem], form: Form) -> None:
        first, *others = problems
        where = f"{file}:{first.line}" if first.line else file
        told = [f"line {one.line}: {one.message}" if one.line else one.message for one in others]
        more = "".join(f"; {one}" for one in told[: _MOST_TOLD - 1])
        left = f" (and {len(problems) - _MOST_TOLD} more)" if len(problems) > _MOST_TOLD else ""
        super().__init__(f"{where}: {first.message}{more}{left}", hint=form.hint)
        self.file = file
        self.problems = tuple(problems)


def read_yaml(
    hint: type[T], data: bytes, file: str, form: Form, *, beside: Callable[[str], Path] | None = None
) -> T:
    """A file's bytes as the dataclass `hint`; `file` is its name in messages. Raises StrictError.

    `beside` finds the file that a text names, or raises ExpectedError.
    """
    try:
        node = _node(_compose(data, form))
    except _RefusedError as error:
        raise StrictError(file, (error.problem,), form) from error
    return _read(hint, node, file, form, beside)


def read_json(hint: type[T], data: bytes, file: str, form: Form) -> T:
    """As `read_yaml`, for JSON that a program of ours wrote; only a syntax error has a line.

    null counts as a key that is not given, and an unknown key as a newer unbrick's.
    """
    try:
        node = _json_node(parse_json(data, form.most_bytes))
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else 0
        raise StrictError(file, (Problem(line, f"expected JSON: {error}"),), form) from error
    return _read(hint, node, file, replace(form, blank_is_absent=True, may_be_newer=True), None)


def _read(hint: type[T], node: _Node, file: str, form: Form, beside: Callable[[str], Path] | None) -> T:
    reading = _Reading(form, beside)
    value = reading.value(hint, node, "")
    if reading.problems:
        ordered = sorted(reading.problems, key=lambda problem: problem.line)
        raise StrictError(file, ordered[:_MOST_PROBLEMS], form)
    return typing.cast(T, value)


def parse_json(data: bytes | str, most_bytes: int = 16 * 1024 * 1024) -> Any:
    """A hostile JSON document as Python has it; raises ValueError and nothing else.

    A key given twice is refused, as are NaN and Infinity, and what is too long or too deep.
    """
    if len(data) > most_bytes:
        raise ValueError(f"more than {most_bytes} bytes")
    try:
        return _DECODER.decode(data if isinstance(data, str) else data.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("too many levels of nesting") from error


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key is given twice")
    return document


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")


_DECODER = json.JSONDecoder(object_pairs_hook=_without_twins, parse_constant=_no_number)


def line_of_key(data: bytes, key: str) -> int:
    """The line (from 1) of a key at the top of a YAML file that `read_yaml` has read."""
    import yaml

    node = yaml.compose(data.decode("utf-8-sig"), yaml.SafeLoader)
    assert isinstance(node, yaml.MappingNode)
    keys: list[yaml.Node] = [one for one, _ in node.value]
    return next((one.start_mark.line for one in keys if one.value == key), 0) + 1


def keys_of(hint: Any) -> Mapping[str, tuple[Field[Any], Any]]:
    """The keys of a dataclass's table as the file spells them, with the field each fills and its type."""
    return _keys_of(hint)  # to `cache` itself mypy gives no class: it is not `Hashable`


@cache  # working out the types of a class's fields takes longer than reading its values
def _keys_of(hint: Any) -> Mapping[str, tuple[Field[Any], Any]]:
    hints = typing.get_type_hints(hint, include_extras=True)
    return {one.metadata.get("named") or one.name: (one, hints[one.name]) for one in fields(hint)}


class _RefusedError(Exception):
    """The whole file is refused for one reason."""

    def __init__(self, line: int, expected: str) -> None:
        super().__init__(expected)
        self.problem = Problem(line, f"expected {expected}")


def _compose(data: bytes, form: Form) -> yaml.Node:
    """The file's one document as nodes; its events are checked before anything is built."""
    import yaml

    if len(data) > form.most_bytes:
        raise _RefusedError(1, f"a file of at most {form.most_bytes // 1024} KiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _RefusedError(data.count(b"\n", 0, error.start) + 1, "text in UTF-8") from error
    try:
        _check_events(text, form)
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _RefusedError(mark.line + 1 if mark else 1, f"YAML: {error.problem}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _RefusedError(line, "text without control characters") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # PyYAML lets ValueError through for an escape such as "\\UFFFFFFFF" and for endless version numbers.
        raise _RefusedError(1, "YAML without impossible escapes") from error
    if node is None:
        raise _RefusedError(1, f"{form.noun}, not an empty file")
    return node


def _check_events(text: str, form: Form) -> None:
    import yaml

    depth = documents = 0
    for count, event in enumerate(yaml.parse(text, yaml.SafeLoader)):
        refusal = _why_refused(event)
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if refusal is None and documents > 1:
            refusal = f"one {form.noun.partition(' ')[2]} in the file, not several documents"
        if refusal is None and depth > form.deepest:
            refusal = f"at most {form.deepest} levels of nesting"
        if refusal is None and count > form.most_values:
            refusal = f"at most {form.most_values} values and lists"
        if refusal is not None:
            raise _RefusedError(event.start_mark.line + 1 if event.start_mark else 1, refusal)


def _why_refused(event: yaml.Event) -> str | None:
    import yaml

    if isinstance(event, yaml.AliasEvent):
        return "plain values: aliases (*name) are refused"
    if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
        return "plain values: anchors (&name) are refused"
    if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag is not None:
        return "plain values: tags (!name) are refused"
    if isinstance(event, yaml.DocumentStartEvent) and (event.tags or event.version):
        return "a file without % directives"
    return None


@dataclass(frozen=True)
class _Node:
    """A value in the file. `content` is a list's nodes, a table's pairs of nodes, or a text as it is written.

    `kind` is what YAML takes it for, `plain` whether it has no quotes.
    """

    line: int
    kind: str
    content: Any
    plain: bool = False

    @property
    def shown(self) -> str:
        """The value for a message: short, and safe to print."""
        if self.kind in ("a mapping", "a list"):
            return self.kind if self.content or self.kind == "a mapping" else "an empty list"
        return _shown(self.content) if self.content else "nothing"


def _node(node: yaml.Node) -> _Node:
    import yaml

    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        return _Node(line, "a mapping", [(_node(key), _node(value)) for key, value in node.value])
    if isinstance(node, yaml.SequenceNode):
        return _Node(line, "a list", [_node(one) for one in node.value])
    assert isinstance(node, yaml.ScalarNode)
    kind = _KIND_OF_TAG.get(node.tag, "something else")
    return _Node(line, kind, node.value, plain=node.style is None)


def _json_node(value: Any) -> _Node:
    if isinstance(value, dict):
        return _Node(0, "a mapping", [(_json_node(key), _json_node(one)) for key, one in value.items()])
    if isinstance(value, list):
        return _Node(0, "a list", [_json_node(one) for one in value])
    if isinstance(value, str):
        return _Node(0, "a text", value)
    kinds = {bool: "true or false", type(None): "nothing"}
    return _Node(0, kinds.get(type(value), "a number"), json.dumps(value), plain=True)


class _UnreadError(Exception):
    """A value was asked for that is missing, or was refused."""


class _HalfRead:
    """A record of which some values were refused: its other faults are reported with them."""

    def __init__(self, hint: type[Any], values: dict[str, Any]) -> None:
        defaults = {one.name: one.default for one in fields(hint) if one.default is not MISSING}
        self._values = {**defaults, **values}

    def __getattr__(self, name: str) -> Any:
        value = self._values.get(name, _REFUSED)
        if value is _REFUSED:
            raise _UnreadError
        return value


class _Reading:
    """Turns nodes into values of annotated types; goes on after a problem, to report all of them.

    `where` is a value's place in the document: `rules[0].when`; empty at the top.
    """

    def __init__(self, form: Form, beside: Callable[[str], Path] | None) -> None:
        self._form = form
        self._beside = beside
        self.problems: list[Problem] = []

    def _refuse(self, node: _Node, where: str, expected: str) -> Any:
        self.problems.append(Problem(node.line, f"{where or self._form.noun}: expected {expected}"))
        return _REFUSED

    def value(self, hint: Any, node: _Node, where: str, span: Span | None = None) -> Any:
        """A node as a value of the annotated type `hint`, or _REFUSED after noting why."""
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin is typing.Annotated:
            how = hint.__metadata__[0]
            if isinstance(how, Span):
                return self.value(arguments[0], node, where, how)
            return self._scalar(how, node, where)
        if origin in (types.UnionType, typing.Union):
            return self.value(next(one for one in arguments if one is not types.NoneType), node, where)
        if origin is tuple:
            pair = None if arguments[-1] is Ellipsis else Span(len(arguments), len(arguments))
            return self._list(arguments[0], node, where, span or pair or Span())
        if origin is Mapping:
            return self._table(arguments[1], node, where)
        if isinstance(hint, type) and is_dataclass(hint):
            return self._record(hint, node, where)
        return self._choice(hint, node, where)

    def _scalar(self, shape: Shape, node: _Node, where: str) -> Any:
        if not isinstance(node.content, str):
            return self._refuse(node, where, f"{shape.expected}, not {node.shown}")
        exact = shape.exact or not node.line
        text = node.content if exact else node.content.strip()
        if shape.kind is ScalarKind.FLAG:
            if node.plain and (text in ("true", "false") or (shape.bare and text.lower() in _FLAGS)):
                return _FLAGS[text.lower()]
        elif shape.kind is ScalarKind.INTEGER:
            if node.plain and re.fullmatch(r"0|[1-9][0-9]{0,18}", text):
                number = int(text)
                if (shape.lowest or 0) <= number <= (shape.highest or number):
                    return number
        elif node.kind != "a text" and text and not shape.bare:
            if node.line:
                advice = f"YAML takes {_shown(text)} for {node.kind}, put it in quotes"
                return self._refuse(node, where, f"{shape.expected}; {advice}")
        elif _fits(shape, text, exact):
            return self._text(shape, text, node, where)
        return self._refuse(node, where, f"{shape.expected}, not {node.shown}")

    def _text(self, shape: Shape, text: str, node: _Node, where: str) -> Any:
        read = self._beside if shape.beside else shape.read
        try:
            return text if read is None else read(text)
        except ExpectedError as error:
            return self._refuse(node, where, f"{error}, not {node.shown}")
        except (ValueError, OverflowError):
            return self._refuse(node, where, f"{shape.expected}, not {node.shown}")

    def _list(self, hint: Any, node: _Node, where: str, span: Span) -> Any:
        if span.alone and isinstance(node.content, str):
            value = self.value(hint, node, where)
            return _REFUSED if value is _REFUSED else (value,)
        count = len(node.content) if node.kind == "a list" else -1
        if not span.fewest <= count <= (count if span.most is None else span.most):
            bounds = " of at least one" if span.fewest else ""
            bounds = bounds if span.most is None else f" of {span.fewest} to {span.most}"
            given = node.shown if count < 1 else f"of {count}"
            return self._refuse(node, where, f"a list{bounds}, not {given}")
        values = tuple(self.value(hint, one, f"{where}[{at}]") for at, one in enumerate(node.content))
        return _REFUSED if _REFUSED in values else values

    def _choice(self, hint: Any, node: _Node, where: str) -> Any:
        literal = typing.get_origin(hint) is Literal
        words = typing.get_args(hint) if literal else tuple(str(member) for member in hint)
        if isinstance(node.content, str) and node.content in words:
            return node.content if literal else hint(node.content)
        return self._refuse(node, where, f"{' or '.join(words)}, not {node.shown}")

    def _pairs(self, node: _Node, where: str) -> Iterator[tuple[_Node, str | None, _Node]]:
        """A table's keys and values; a key that is no plain name is None, one given twice is refused."""
        seen = set()
        for key, value in node.content:
            name = key.content if isinstance(key.content, str) else None
            if name is not None and name in seen:
                self._refuse(key, where, f"{_shown(name)} only once")
                continue
            seen.add(name)
            yield key, name, value

    def _table(self, hint: Any, node: _Node, where: str) -> Any:
        if node.kind != "a mapping":
            return self._refuse(node, where, f"a mapping of keys, not {node.shown}")
        values = {}
        for key, name, value in self._pairs(node, where):
            if name is None or key.kind != "a text":
                self._refuse(key, where, f"a key that is a text, not {key.shown}")
            else:
                place = f"{where}.{printable(name)[:_SHOWN_LENGTH]}".lstrip(".")
                values[name] = self.value(hint, value, place)
        return _REFUSED if _REFUSED in values.values() else values

    def _record(self, hint: type[Any], node: _Node, where: str) -> Any:
        if node.kind != "a mapping":
            return self._refuse(node, where, f"a mapping of keys, not {node.shown}")
        known = keys_of(hint)
        values: dict[str, Any] = {}
        nodes = {"": node}
        for key, name, value in self._pairs(node, where):
            if name is None or name not in known:
                if self._form.may_be_newer:
                    continue
                self._refuse(key, where, f"one of {', '.join(known)}, not {key.shown}{_nearest(name, known)}")
                continue
            nodes[name] = value
            one, inner = known[name]
            optional = one.default in (None, (), MISSING)
            if not (self._form.blank_is_absent and value.kind == "nothing" and optional):
                values[one.name] = self.value(inner, value, f"{where}.{name}".lstrip("."))
        return self._build(hint, values, nodes, where)

    def _build(self, hint: type[Any], values: dict[str, Any], nodes: dict[str, _Node], where: str) -> Any:
        missing = [
            name
            for name, (one, _) in keys_of(hint).items()
            if one.default is MISSING and one.name not in values
        ]
        for name in missing:
            self._refuse(nodes[""], where, f"the key {_shown(name)}, which is missing")
        whole = not missing and _REFUSED not in values.values()
        record = hint(**values) if whole else _HalfRead(hint, values)
        try:
            for name, expected in getattr(hint, "faults", lambda _: ())(record):
                place = f"{where}.{name}".strip(".")
                self._refuse(nodes.get(name, nodes[""]), place, expected)
        except _UnreadError:  # what follows hangs on a value that was refused
            return _REFUSED
        return record if whole else _REFUSED


def _nearest(name: str | None, known: Mapping[str, Any]) -> str:
    import difflib  # slow to load, and needed for a mistyped key only

    near = difflib.get_close_matches(name or "", known, 1)
    return f": did you mean {near[0]}?" if near else ""


def _fits(shape: Shape, text: str, exact: bool) -> bool:
    if not text or (shape.longest is not None and len(text) > shape.longest):
        return False
    if not all(one.isprintable() or (one == "\n" and not exact) for one in text):
        return False
    return shape.pattern is None or re.search(shape.pattern, text) is not None


def _shown(text: str) -> str:
    short = text if len(text) <= _SHOWN_LENGTH else text[: _SHOWN_LENGTH - 1] + "…"
    return f"'{printable(short)}'"
