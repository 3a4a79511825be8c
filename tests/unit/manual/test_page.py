"""A guide as an HTML page: whole, with its pictures inside, and leading nowhere that is not there."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from importlib.resources import files

import pytest
from support.program import run_program

from unbrick.manual.page import html_page

_GUIDES = sorted(entry.name for entry in files("unbrick.manual").iterdir() if entry.name.endswith(".md"))
_WITHOUT_END = {"img", "meta", "br", "hr"}


class _Reader(HTMLParser):
    """The words, pictures and links of a page, and whether its elements are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.pictures: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "img":
            self.pictures.append(named["src"] or "")
        elif tag == "a":
            self.links.append(named["href"] or "")
        if tag not in _WITHOUT_END:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag in _WITHOUT_END or self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data.split()


def _read(page: str) -> _Reader:
    reader = _Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


@pytest.mark.parametrize("name", _GUIDES)
def test_a_guide_is_one_file_with_its_pictures(name: str) -> None:
    text = files("unbrick.manual").joinpath(name).read_text(encoding="utf-8")
    page = _read(html_page(text))
    assert len(page.pictures) == text.count("![")
    for picture in page.pictures:
        kind, _, data = picture.partition(";base64,")
        start = {"data:image/png": b"\x89PNG", "data:image/svg+xml": b"<svg"}[kind]
        assert base64.b64decode(data).startswith(start)
    assert all(link.startswith(("http://", "https://")) for link in page.links)
    shown = " ".join(page.words)
    for heading in re.findall("^#+ (.+)$", text, re.MULTILINE):
        assert " ".join(heading.replace("`", "").split()) in shown


def test_the_helpers_guide_is_printed_by_a_command() -> None:
    done = run_program("help", "helper", "--html")
    assert done.code == 0, done.said
    assert done.out.startswith("<!DOCTYPE html>")
    page = _read(done.out)
    assert len(page.pictures) >= 6
    assert "Volume" not in page.words
    assert "See advanced repair options" in " ".join(page.words)


def test_what_is_no_guide_is_not_printed() -> None:
    for words in (("repair",), ()):
        done = run_program("help", *words, "--html")
        assert (done.code, "name a guide" in done.err) == (2, True), done.said


def test_markup_in_a_page_stays_text() -> None:
    assert "<script>" not in html_page("# A <b>\n\n<script>x</script> & [here](media.md#sign) `<i>`\n")
    assert "here" in html_page("# A\n\n[here](media.md#sign)\n")
