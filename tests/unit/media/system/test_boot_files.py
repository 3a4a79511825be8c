"""GRUB's words in our language: a catalogue that any gettext reads."""

from __future__ import annotations

import gettext
import io

import pytest

from unbrick.media.system.boot_files import make_catalogue
from unbrick.media.system.definition import read_definition


@pytest.mark.parametrize("words", [{}, {"b": "x", "a": "ä"}, dict(read_definition().boot_words)])
def test_every_word_is_found_and_no_other(words: dict[str, str]) -> None:
    catalogue = gettext.GNUTranslations(
        io.BytesIO(make_catalogue({"": "Content-Type: text/plain; charset=UTF-8\n", **words}))
    )
    for theirs, ours in words.items():
        assert catalogue.gettext(theirs) == ours
    assert catalogue.gettext("Enter something else") == "Enter something else"
    assert make_catalogue(words) == make_catalogue(dict(reversed(words.items())))


def test_nobody_is_asked_for_a_name_or_told_how_to_edit() -> None:
    """What a person reads at the keys that would lead to GRUB's editor and prompt."""
    words = read_definition().boot_words
    assert {"Enter username: ", "Enter password: ", "access denied"} <= set(words)
    said = " ".join(words.values()).lower()
    assert not [word for word in ("username", "password", "edit", "command-line") if word in said]
