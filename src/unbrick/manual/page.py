"""A page of the manual as HTML for a browser to show and print: one file, with its pictures inside."""

from __future__ import annotations

import base64
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it.token import Token

_KINDS = {"png": "image/png", "svg": "image/svg+xml"}
_STYLE = """
@page { size: A4; margin: 16mm; }
body { font: 11pt/1.4 sans-serif; max-width: 45em; margin: 1em auto; padding: 0 1em; }
h1, h2, h3 { break-after: avoid; line-height: 1.2; }
img { display: block; width: 100%; max-width: 32em; margin: 1em 0; break-inside: avoid; }
table { border-collapse: collapse; margin: 1em 0; }
th, td { border: 1px solid #888; padding: .25em .6em; text-align: left; vertical-align: top; }
tr { break-inside: avoid; }
code, pre { font: 10pt/1.3 monospace; }
pre { white-space: pre-wrap; margin-left: 1em; }
"""


def html_page(markdown: str) -> str:
    """A page of the manual with its pictures inside; links to other pages become text."""
    from markdown_it import MarkdownIt  # slow to load, and wanted for this alone

    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(markdown)
    for token in tokens:
        _keep_inside(token.children or [])
    title = escape(markdown.partition("\n")[0].lstrip("# "))
    body = reader.renderer.render(tokens, reader.options, {})
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )


def _keep_inside(tokens: list[Token]) -> None:
    """Put pictures into the page, and take away links to files that will not be beside it."""
    dropped = False
    for token in tokens:
        if token.type == "image":
            token.attrs["src"] = _picture(str(token.attrs["src"]))
        elif token.type == "link_open":
            dropped = "://" not in str(token.attrs["href"])
        if dropped and token.type in {"link_open", "link_close"}:
            token.type, token.nesting, token.content = "text", 0, ""


def _picture(name: str) -> str:
    data = files("unbrick.manual").joinpath(name).read_bytes()
    return f"data:{_KINDS[name.rpartition('.')[2]]};base64,{base64.b64encode(data).decode()}"
