"""What each reason means and what to do about it, as the manual's page `reasons` has it.

The page has a section for each word. It opens with a sentence for anybody, then `At the machine` (what the
person in front of it does) and `For IT`; what follows is for whoever works on the disk.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

_SECTION = re.compile(
    r"^## `(?P<word>[a-z-]+)`\n\n(?P<what>[^\n]+)\n\n"
    r"\* At the machine: (?P<at>[^\n]+)\n\* For IT: (?P<it>[^\n]+)\n(?P<more>.*?)(?=^## |\Z)",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Explanation:
    """A reason in words: what it is and what to do (for anybody), what it means (for IT).

    `section` is its whole section of the manual, as Markdown with the heading.
    """

    what: str
    at_the_machine: str
    for_it: str
    section: str


@cache
def explanations() -> dict[str, Explanation]:
    """Every reason's word (without a detail) and its explanation, in the order of the page."""
    from importlib.resources import files  # slow to load, and a station needs it at the end only

    page = files("unbrick.manual").joinpath("reasons.md").read_text(encoding="utf-8")
    return {
        found["word"]: Explanation(found["what"], found["at"], found["it"], found[0].strip() + "\n")
        for found in _SECTION.finditer(page)
    }


def explain(reason: str) -> Explanation | None:
    """The explanation of a word, also with a detail (`foreign-encryption:luks`); None where there is none."""
    return explanations().get(reason.partition(":")[0])
