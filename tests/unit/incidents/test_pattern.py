from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbrick.incidents.pattern import (
    PatternError,
    component_matches,
    components_overlap,
    fold,
    parse_pattern,
)

CF291 = r"%SystemRoot%\System32\drivers\CrowdStrike\C-00000291*.sys"

# Few letters, so that matches are common; `ß`, `ı` and `ſ` are where upper-casing goes wrong.
_names = st.text("aAbB.-ßıſ", max_size=8)
_patterns = st.text("aAbB.-ßıſ*?", max_size=8)


def _reference(pattern: str, name: str) -> bool:
    """The same question, answered by Python's regular expressions."""
    expression = "".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in fold(pattern))
    return re.fullmatch(expression, fold(name), re.DOTALL) is not None


@given(_patterns, _names)
def test_matching_agrees_with_a_reference(pattern: str, name: str) -> None:
    assert component_matches(pattern, name) == _reference(pattern, name)


@given(_patterns, _patterns, _names)
def test_patterns_that_match_one_name_overlap(one: str, other: str, name: str) -> None:
    if _reference(one, name) and _reference(other, name):
        assert components_overlap(one, other)


@given(st.text("ab*?", max_size=5), st.text("ab", max_size=5))
def test_a_plain_name_overlaps_what_matches_it_and_nothing_else(pattern: str, name: str) -> None:
    assert components_overlap(pattern, name) == component_matches(pattern, name)
    assert components_overlap(name, pattern) == component_matches(pattern, name)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("*.sys", "ntoskrnl*", True),
        ("*a", "b*", True),
        ("*.sys", "*.dll", False),
        ("C-*.sys", "hal*.dll", False),
        ("a?c", "?b?", True),
        ("??", "???", False),
        ("*", "", True),
    ],
)
def test_overlap(one: str, other: str, expected: bool) -> None:
    assert components_overlap(one, other) is expected
    assert components_overlap(other, one) is expected


def test_matching_stays_fast_on_a_pattern_made_to_be_slow() -> None:
    assert not component_matches("*a" * 100 + "b", "a" * 255)
    assert components_overlap("*a" * 100, "?*" * 100)


def test_letters_outside_ascii_never_become_ascii() -> None:
    assert fold("ſıK") == "ſıK"
    assert fold("ß") == "ß"
    assert fold("äöñ") == "ÄÖÑ"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (r"\Windows\System32\drivers\CrowdStrike\C-00000291-1.sys", True),
        (r"\WINDOWS\SYSTEM32\DRIVERS\CROWDSTRIKE\c-00000291.SYS", True),
        (r"\Windows\System32\drivers\CrowdStrike\sub\C-00000291-1.sys", False),
        (r"\Windows\System32\drivers\CrowdStrike\C-00000291-1.sys.bak", False),
        (r"\Windows\System32\drivers\C-00000291-1.sys", False),
        (r"\System32\drivers\CrowdStrike\C-00000291-1.sys", False),
        (r"\Other\System32\drivers\CrowdStrike\C-00000291-1.sys", False),
    ],
)
def test_a_path_fits(path: str, expected: bool) -> None:
    assert parse_pattern(CF291).matches(path, r"\Windows") is expected


def test_system_root_is_the_installations_own_folder() -> None:
    pattern = parse_pattern(r"%systemroot%\a*.sys")
    assert pattern.matches(r"\WINNT\a1.sys", r"\winnt")
    assert not pattern.matches(r"\Windows\a1.sys", r"\winnt")
    assert parse_pattern(r"\Vendor\?.dat").matches(r"\vendor\1.DAT", r"\winnt")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\\",
        "%SystemRoot%",
        "%SystemRoot%\\",
        "%SystemRoot%System32\\a.sys",
        "a\\b",
        "C:\\Windows\\a.sys",
        "\\C:\\a.sys",
        "\\\\server\\share\\a.sys",
        "\\\\?\\C:\\a.sys",
        "/Windows/a.sys",
        "\\Windows/a.sys",
        "\\Windows\\..\\a.sys",
        "\\.\\a.sys",
        "\\Windows\\...",
        "\\Windows \\a.sys",
        "\\a.sys:stream",
        "\\a.sys::$DATA",
        "\\%SystemRoot%\\a.sys",
        "%ProgramFiles%\\a.sys",
        "\\a\\**\\b.sys",
        "\\a\x00b",
        "\\a\nb",
        "\\a\ud800",
        "\\*\\*\\*\\a.sys",
        "\\" + "a" * 256,
        "\\a" * 33,
    ],
)
def test_what_could_leave_the_volume_or_is_unclear_is_refused(text: str) -> None:
    with pytest.raises(PatternError):
        parse_pattern(text)


@given(st.text(max_size=40))
def test_any_text_is_a_pattern_or_refused(text: str) -> None:
    for candidate in (text, "\\" + text, "%SystemRoot%\\" + text):
        try:
            pattern = parse_pattern(candidate)
        except PatternError:
            continue
        assert ".." not in pattern.components
        assert not any(set(component) & set(':/\\"<>|\0') for component in pattern.components)
