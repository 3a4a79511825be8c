"""Every sentence that a person can see, gathered from the program's text: to be read through in one go.

A sentence is any text of three words and more that is no docstring; what is filled in stands in braces.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from support.endings import CONTACT, ended, every_situation, facts

from unbrick.errors import Reason
from unbrick.model import Status
from unbrick.station.ending.ending import Ending, ending_of

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "unbrick"
_FEWEST_WORDS = 3
_STATUSES = {
    "FailedError": Status.FAILED,
    "NeedsHandsError": Status.NEEDS_HANDS,
    "NeedsKeyError": Status.NEEDS_KEY,
}


@dataclass(frozen=True)
class Sentence:
    """A text of the program, the module and line it stands in, and, of an error, its hint and its reason."""

    where: str
    text: str
    hint: str = ""
    reason: str = ""


def sentences(package: Path = PACKAGE) -> Iterator[Sentence]:
    """Those of the package, by module; an error's message, hint and reason are one."""
    for path in sorted(package.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        yield from _of_module(tree, path.relative_to(package).as_posix())


def _of_module(tree: ast.Module, module: str) -> Iterator[Sentence]:
    told: set[ast.AST] = set(_docstrings(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            named = {one.arg: one.value for one in node.keywords if one.arg in {"hint", "reason"}}
            message = _text(node.args[0]) if named and node.args else ""
            if message:
                told.update(ast.walk(node))
                hint, reason = (_text(named[key]) if key in named else "" for key in ("hint", "reason"))
                yield Sentence(f"{module}:{node.lineno}", message, hint, reason)
    inside = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in _parts(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant | ast.JoinedStr) and node not in told and node not in inside:
            text = _text(node)
            if len(text.split()) >= _FEWEST_WORDS and not text.isupper():
                yield Sentence(f"{module}:{node.lineno}", text)


def _docstrings(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for one in body if isinstance(body, list) else []:
            if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant):
                yield one.value


def _parts(text: ast.JoinedStr) -> Iterator[ast.AST]:
    return (part for value in text.values for part in ast.walk(value))


def _text(node: ast.expr) -> str:
    """A text as it reads, with what is filled in by its name."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return f"{{{ast.unparse(node.value)}}}"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    if isinstance(node, ast.IfExp):
        return f"{_text(node.body)} / {_text(node.orelse)}"
    return f"{{{ast.unparse(node)}}}"


def shown_endings() -> Iterator[tuple[str, Ending]]:
    """The ending of each status, and of each reason, with the status that it has at a station."""
    reasons = ((status, reason) for reason in Reason for status in statuses_of(reason))
    for status, reason in (*((one, None) for one in Status), *reasons):
        yield f"{status} {reason or '-'}", ending_of([ended(status, reason)], facts(contact=CONTACT))


def statuses_of(reason: Reason) -> list[Status]:
    """With which statuses a station's visit ends for a reason: those of the errors that carry it."""
    found = _raised().get(reason.name, set())
    if reason is Reason.INTERRUPTED:
        found = found - {Status.NEEDS_HANDS}  # a purge's answer, which no station gives
    return sorted(found) or [Status.NEEDS_HANDS]


@cache
def _raised() -> dict[str, set[Status]]:
    """By the name of a reason: the statuses of the errors that are made with it."""
    raised: dict[str, set[Status]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in _STATUSES:
                for one in node.keywords:
                    if one.arg == "reason" and isinstance(one.value, ast.Attribute):
                        raised.setdefault(one.value.attr, set()).add(_STATUSES[ast.unparse(node.func)])
    return raised


def instructions() -> list[str]:
    """Every instruction that an ending can have."""
    return sorted({ending_of(reports, known).instruction.sentence for reports, known in every_situation()})
