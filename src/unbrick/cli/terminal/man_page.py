"""The man page, made from the texts of `--help` and of the manual."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from unbrick import __version__

_EVERYWHERE = {"--color", "--help"}
_CELL = re.compile(r"(?<!\\)\|")
_TABLE_RULE = re.compile(r"\|[ |:-]+\|")
_INLINE = re.compile(r"`([^`]+)`|\*([^*\n]+)\*|\[([^\]]+)\]\([^)]+\)")


def man_page(context: click.Context, page: str) -> Iterator[str]:
    """The lines of unbrick(1) in roff: all verbs below the root's context, then a page of the manual."""
    root = context.command
    summary = (root.help or "").partition("\n")[0].rstrip(".")
    yield f'.TH UNBRICK 1 "" "unbrick {_escape(__version__)}" "User Commands"'
    yield from (".SH NAME", _escape(f"unbrick - {summary[:1].lower()}{summary[1:]}"))
    yield from (".SH SYNOPSIS", ".B unbrick", r"\fIVERB\fR [\fIOPTIONS\fR] \fIARGUMENTS\fR")
    yield from (".SH VERBS", *_verbs(context))
    yield from _markdown(page)
    yield from (".SH SEE ALSO", _inline("The manual: `unbrick help` lists its pages."))


def _verbs(context: click.Context) -> Iterator[str]:
    group = context.command
    assert isinstance(group, click.Group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, parent=context, info_name=name)
        if isinstance(command, click.Group):
            yield from _verbs(inner)
        else:
            yield from _verb(command, inner)


def _verb(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f'.SS "{_escape(" ".join([context.command_path, *command.collect_usage_pieces(context)]))}"'
    for paragraph in (command.help or "").split("\n\n"):
        yield from (".PP", _escape(" ".join(paragraph.replace("\b", "").split())))
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and record[1] and not _EVERYWHERE & {*parameter.opts}:
            yield from (".TP", rf"\fB{_escape(record[0])}\fR", _escape(record[1]))


def _markdown(page: str) -> Iterator[str]:
    """Headings, paragraphs, lists, tables and blocks to type, as the manual's pages have them."""
    for block in re.split(r"\n{2,}", page.strip()):
        lines = block.splitlines()
        if block.startswith("## "):
            yield f'.SH "{_escape(block[3:].upper())}"'
        elif block.startswith("# "):
            continue
        elif block.startswith("    "):
            yield from (".PP", ".RS 4", ".nf", *(_escape(line[4:]) for line in lines), ".fi", ".RE")
        elif block.startswith("|"):
            yield from _table(lines)
        elif block.startswith("* "):
            for item in re.split(r"^\* ", block, flags=re.MULTILINE)[1:]:
                yield from (r".IP \(bu 2", _inline(" ".join(item.split())))
        else:
            yield from (".PP", _inline(" ".join(lines)))


def _table(lines: list[str]) -> Iterator[str]:
    """A row each: its first cell, the others below it; without the headings."""
    for line in lines[1:]:
        if not _TABLE_RULE.fullmatch(line):
            first, *others = (cell.strip().replace("\\|", "|") for cell in _CELL.split(line.strip("|")))
            yield from (".TP", _inline(first), _inline("; ".join(others)))


def _inline(text: str) -> str:
    parts, end = [], 0
    for found in _INLINE.finditer(text):
        code, stressed, link = found.groups()
        parts.append(_escape(text[end : found.start()]))
        parts.append(rf"\fB{_escape(code or link)}\fR" if code or link else rf"\fI{_escape(stressed)}\fR")
        end = found.end()
    return _guard("".join([*parts, _escape(text[end:])]))


def _escape(text: str) -> str:
    plain = text.replace("\\", r"\e").replace("-", r"\-").replace('"', r"\(dq")
    return _guard("".join(c if c.isascii() else rf"\[u{ord(c):04X}]" for c in plain))


def _guard(line: str) -> str:
    return r"\&" + line if line[:1] in {".", "'"} else line
