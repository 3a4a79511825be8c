from __future__ import annotations

import os
import time
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from unbrick.errors import UsageError
from unbrick.incidents.library import MAX_FILE_SIZE, library_files, load_playbook, parse_playbook
from unbrick.incidents.playbook import Playbook, Remedy
from unbrick.model import Verdict
from unbrick.settings.strict import StrictError

GOOD = r"""id: made-up
title: A made-up incident
dates:
  published: 2024-07-20
  from: 2024-07-19T04:09:00Z
  to: 2024-07-19T05:27:00.5Z
references:
  - https://example.org/a
limits:
  files: 2
  bytes: 100
requires:
  services: [Agent]
  products: ['Windows 10*']
doubt_times_before: 2011-01-01T00:00:00Z
rules:
  - path: '%SystemRoot%\System32\drivers\Vendor\a*.sys'
    verdict: faulty
    action: quarantine
    when:
      first_bytes: 4D 5A
      size: {at_least: 1, at_most: 10}
      sha256: [ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABAB]
      modified: {from: 2024-07-19T04:09:00Z, before: 2024-07-19T05:27:00Z}
      all_zero: false
    explanation: >-
      This is
      bad.
  - path: '\Vendor\?.dat'
    verdict: note
    explanation: This is odd.
"""

PATH = "'%SystemRoot%\\System32\\drivers\\Vendor\\a*.sys'"
SIZE = "size: {at_least: 1, at_most: 10}"
REQUIRES = "requires:\n  services: [Agent]\n  products: ['Windows 10*']"
ODD = "    explanation: This is odd."


def _refusal(text: str | bytes) -> StrictError:
    with pytest.raises(StrictError) as caught:
        parse_playbook(text.encode() if isinstance(text, str) else text, "made-up.yaml")
    return caught.value


def _with(old: str, new: str) -> str:
    assert GOOD.count(old) >= 1
    return GOOD.replace(old, new, 1)


def test_every_key_is_read() -> None:
    playbook = parse_playbook(GOOD.encode(), "made-up.yaml")
    assert playbook.id == "made-up"
    assert playbook.dates.published == date(2024, 7, 20)
    assert playbook.dates.begins == datetime(2024, 7, 19, 4, 9, tzinfo=UTC)
    assert playbook.dates.ends == datetime(2024, 7, 19, 5, 27, 0, 500000, tzinfo=UTC)
    assert (playbook.limits.files, playbook.limits.bytes) == (2, 100)
    assert playbook.requires is not None
    assert playbook.requires.services == ("Agent",)
    assert playbook.requires.products == ("Windows 10*",)
    assert playbook.doubt_times_before == datetime(2011, 1, 1, tzinfo=UTC)
    faulty, note = playbook.rules
    assert (faulty.verdict, faulty.action) == (Verdict.FAULTY, Remedy.QUARANTINE)
    assert faulty.explanation == "This is bad."
    assert faulty.when is not None
    assert faulty.when.first_bytes == b"MZ"
    assert faulty.when.size is not None
    assert (faulty.when.size.at_least, faulty.when.size.at_most) == (1, 10)
    assert faulty.when.sha256 == ("ab" * 32,)
    assert faulty.when.modified is not None
    assert faulty.when.modified.before == datetime(2024, 7, 19, 5, 27, tzinfo=UTC)
    assert faulty.when.all_zero is False
    assert (note.verdict, note.action, note.when) == (Verdict.NOTE, None, None)


def test_a_byte_order_mark_and_windows_line_ends_are_read() -> None:
    assert parse_playbook(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode(), "a").id == "made-up"


@pytest.mark.parametrize(
    ("old", "new", "line", "expected"),
    [
        ("id: made-up", "id: Made Up", 1, "id: expected 3 to 64 small letters"),
        ("id: made-up", "id: [a, b]", 1, "not a list"),
        ("title: A made-up incident", "title: 5", 2, "YAML takes '5' for a number, put it in quotes"),
        ("title: A made-up incident", "title: yes", 2, "YAML takes 'yes' for true or false"),
        ("title: A made-up incident", "title:", 2, "title: expected a name"),
        ("title: A made-up incident", 'title: "a\\eb"', 2, "title: expected a name"),
        ("title: A made-up incident", "title: {a: b}", 2, "not a mapping"),
        ("  published: 2024-07-20", "  published: 20.7.2024", 4, "expected a day such as 2024-07-19"),
        ("  published: 2024-07-20", "  published: 2024-02-30", 4, "expected a day such as 2024-07-19"),
        ("from: 2024-07-19T04:09:00Z", "from: 2024-07-19T04:09:00", 5, "in UTC that ends in Z"),
        ("from: 2024-07-19T04:09:00Z", "from: 2024-07-19T04:09:00+02:00", 5, "in UTC that ends in Z"),
        ("from: 2024-07-19T04:09:00Z", "from: 2024-07-19 04:09:00Z", 5, "in UTC that ends in Z"),
        ("from: 2024-07-19T04:09:00Z", "from: 2024-07-19T25:09:00Z", 5, "in UTC that ends in Z"),
        ("from: 2024-07-19T04:09:00Z", "from: 2024-07-20T04:09:00Z", 5, "from earlier than to"),
        ("https://example.org/a", "http://example.org/a", 8, "begins with https://"),
        ("  - https://example.org/a", "  []", 8, "a list of at least one, not an empty list"),
        ("files: 2", "files: 0", 10, "files: expected a number from 1 to 1000"),
        ("files: 2", "files: 1001", 10, "files: expected a number from 1 to 1000"),
        ("files: 2", "files: '2'", 10, "files: expected a number"),
        ("files: 2", "files: 0x2", 10, "files: expected a number"),
        ("files: 2", "files: 1_0", 10, "files: expected a number"),
        ("files: 2", "files: 2.0", 10, "files: expected a number"),
        ("bytes: 100", "bytes: " + "9" * 5000, 11, "bytes: expected a number of bytes"),
        ("bytes: 100", "bytes: 1:30", 11, "bytes: expected a number of bytes"),
        ("  services: [Agent]", "  servicse: [Agent]", 13, "not 'servicse': did you mean services?"),
        ("  services: [Agent]", "  servicse: [Agent]", 13, "requires: expected one of services, products"),
        (REQUIRES, "requires: {}", 12, "services or products"),
        ("rules:", "colour: red\nrules:", 16, "not 'colour'"),
        ("rules:", "title: twice\nrules:", 16, "a playbook: expected 'title' only once"),
        ("rules:", "? [a]\n: b\nrules:", 16, "not a list"),
        ("rules:", "<<: {title: b}\nrules:", 16, "not '<<'"),
        (PATH, "'C:\\a.sys'", 17, "without a drive letter"),
        (PATH, "'\\a\\..\\b.sys'", 17, "no '.' or '..'"),
        (PATH, "'\\a.sys:s'", 17, "no stream"),
        (PATH, "'\\\\host\\a\\b.sys'", 17, "without empty parts"),
        (PATH, "'\\Users\\a.sys'", 17, "reaches no protected file"),
        (PATH, "'%SystemRoot%\\System32\\*'", 17, "no protected file"),
        ("verdict: faulty", "verdict: bad", 18, "faulty or good or note or person, not 'bad'"),
        ("    action: quarantine\n", "", 18, "action: quarantine beside the verdict faulty"),
        ("action: quarantine", "action: delete", 19, "action: expected quarantine, not 'delete'"),
        ("verdict: note", "verdict: note\n    action: quarantine", 31, "only a faulty file is moved"),
        ("first_bytes: 4D 5A", "first_bytes: 4D 5", 21, "pairs of hex digits"),
        ("first_bytes: 4D 5A", "first_bytes: " + "00" * 65, 21, "1 to 64 bytes"),
        (SIZE, "size: {at_least: 11, at_most: 10}", 22, "no larger than at_most"),
        (SIZE, "size: {exact: 1, at_most: 10}", 22, "either exact, or"),
        (SIZE, "size: {exact: -1}", 22, "a whole number of bytes"),
        (SIZE, "size: {}", 22, "exact, at_least or at_most"),
        (SIZE, "size: {at_most: 1}", 22, "room for the first_bytes"),
        ("all_zero: false", "all_zero: true", 21, "zero bytes only, beside all_zero: true"),
        ("first_bytes: 4D 5A\n      " + SIZE, "all_zero: true\n      size: {exact: 0}", 22, "more than 0"),
        (SIZE, "size: 5", 22, "a mapping of keys"),
        ("sha256: [ABAB", "sha256: [AB", 23, "64 hex digits"),
        ("{from: 2024-07-19T04:09:00Z, before: 2024-07-19T05:27:00Z}", "{}", 24, "from or before"),
        ("before: 2024-07-19T05:27:00Z}", "before: 2024-07-19T04:09:00Z}", 24, "from earlier than before"),
        ("from: 2024-07-19T04:09:00Z, before", "whole_hours_off: 12, before", 24, "both from and before"),
        ("05:27:00Z}", "05:27:00Z, whole_hours_off: 15}", 24, "a number of hours from 1 to 14"),
        ("verdict: note", "verdict: note\n    only_alone: true", 31, "asks for a person"),
        ("all_zero: false", "all_zero: no", 25, "true or false"),
        ("all_zero: false", "all_zero: 'true'", 25, "true or false"),
        ("    explanation: This is odd.\n", "", 29, "rules[1]: expected the key 'explanation', which"),
        (ODD, ODD + "\n    when: {}", 32, "first_bytes, size"),
        ("id: made-up", "id: &a made-up", 1, "anchors (&name) are refused"),
        ("id: made-up", "id: *a", 1, "aliases (*name) are refused"),
        ("id: made-up", "id: !!str made-up", 1, "tags (!name) are refused"),
        ("id: made-up", "id: !!python/object/apply:os.system [ls]", 1, "tags (!name) are refused"),
        ("id: made-up", "%YAML 1.1\n---\nid: made-up", 1, "directives"),
        ("id: made-up", "a: b\n---\nid: made-up", 2, "one playbook in the file"),
        ("id: made-up", "id: made-up\n  x: 1", 2, "expected YAML"),
        ("id: made-up", "\tid: made-up", 1, "expected YAML"),
        ("id: made-up", 'id: "\\UFFFFFFFF"', 1, "impossible escapes"),
        ("title: A made-up incident", 'title: "\\uD800"', 2, "title: expected a name"),
        ("id: made-up", "id: made\x07up", 1, "without control characters"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_its_line(old: str, new: str, line: int, expected: str) -> None:
    error = _refusal(_with(old, new))
    assert [p for p in error.problems if p.line == line and expected in p.message], error.problems
    assert str(error).startswith(f"made-up.yaml:{error.problems[0].line}: ")
    assert isinstance(error, UsageError)
    assert error.exit_code == 2


def test_a_faulty_rule_without_conditions_is_refused() -> None:
    start, end = GOOD.index("    when:\n"), GOOD.index("    explanation: >-")
    assert "a name alone does not make a file faulty" in _refusal(GOOD[:start] + GOOD[end:]).message


def test_all_problems_are_listed_in_the_order_of_the_file() -> None:
    broken = GOOD.replace("id: made-up", "id: X").replace("files: 2", "files: no").replace("note", "nota")
    error = _refusal(broken)
    assert [problem.line for problem in error.problems] == [1, 10, 30]
    assert "; line 10: limits.files: expected a number" in error.message
    assert "; line 30: rules[1].verdict: expected faulty" in error.message


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "just a word", "- a\n- b\n", "null", "\0\0\0"])
def test_what_is_no_mapping_at_all(text: str) -> None:
    assert _refusal(text).problems[0].line <= 2


def test_bytes_that_are_no_text_are_named_with_their_line() -> None:
    assert _refusal(b"id: a\ntitle: \xff\n").problems[0].line == 2
    assert "UTF-8" in _refusal(os.urandom(100) + b"\xff").message


def test_every_fault_is_told_at_once_also_beside_a_value_that_was_refused() -> None:
    text = _with("    action: quarantine\n", "")
    text = text.replace("4D 5A", "4D 5").replace("at_most: 10", "at_most: 0").replace("Vendor\\a*.sys", "a*.")
    text = text.replace("id: made-up", "id: Made Up").replace("files: 2", "files: 0")
    text = text.replace("from: 2024-07-19T04:09:00Z\n", "from: 2025-07-19T04:09:00Z\n")
    told = {(problem.line, problem.message.partition(":")[0]) for problem in _refusal(text).problems}
    assert told == {
        (1, "id"),
        (5, "dates.from"),
        (10, "limits.files"),
        (17, "rules[0].path"),
        (18, "rules[0].verdict"),
        (20, "rules[0].when.first_bytes"),
        (21, "rules[0].when.size.at_least"),
    }


@pytest.mark.parametrize(
    "bomb",
    [
        "[" * 60_000,
        "[\n" * 30_000,
        "{a: " * 15_000,
        "- " * 30_000,
        "? " * 30_000,
        "a: &a [b]\n" + "".join(f"k{n}: &x{n} [*a, *a, *a, *a]\n" for n in range(9)),
        "[" + "a," * 30_000 + "]",
        "\n".join(f"k{n}: v" for n in range(6000)),
        '"' + "\\x41" * 16_000,
        "x" * MAX_FILE_SIZE,
    ],
    ids=range(10),
)  # fmt: skip
def test_a_bomb_is_refused_quickly(bomb: str) -> None:
    began = time.monotonic()
    _refusal(bomb)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("extra: " + "[" * 12 + "]" * 12 + "\n", "at most 12 levels of nesting"),
        ("extra: " + "[" * 20_000 + "]" * 20_000 + "\n", "at most 12 levels of nesting"),
        ("extra: [" + "a," * 2000 + "]\n", "at most 2000 values"),
    ],
    ids=["deep", "bottomless", "long"],
)
def test_nesting_and_length_are_bounded(extra: str, expected: str) -> None:
    assert expected in _refusal(GOOD + extra).message


def test_a_file_above_the_limit_is_refused() -> None:
    assert parse_playbook(GOOD.ljust(MAX_FILE_SIZE, "\n").encode(), "a")
    assert "at most 64 KiB" in _refusal(GOOD.ljust(MAX_FILE_SIZE + 1, "\n")).message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    inside = [tmp_path / name for name in ("pipe", "loop", "none", "a\0")]
    for path in (tmp_path, Path("/dev/zero"), *inside):
        with pytest.raises(StrictError, match="file"):
            load_playbook(path)
    (tmp_path / "good.yaml").write_text(GOOD)
    assert load_playbook(tmp_path / "good.yaml").id == "made-up"


_LIBRARY = dict(library_files())["crowdstrike-cf291.yaml"]


def _read_or_refused(data: bytes) -> Playbook | None:
    try:
        return parse_playbook(data, "any.yaml")
    except StrictError as refused:
        error = refused
    assert error.problems
    assert all(problem.line >= 1 and problem.message for problem in error.problems)
    error.message.encode()
    return None


@given(st.binary(max_size=300))
@example(b"\xef\xbb\xbf")
@example(b'"\\UFFFFFFFF"')
@example(b"%YAML 99999999999999999999.1\n---\na")
def test_any_bytes_are_refused_in_our_own_words(data: bytes) -> None:
    assert _read_or_refused(data) is None


@given(st.text("abid: -[]{}'\"\\|>&*!%#?,\n\t0123456789~\u2028\ufeff", max_size=200))
def test_any_near_yaml_is_refused_in_our_own_words(text: str) -> None:
    assert _read_or_refused(text.encode()) is None


@given(st.integers(0, len(_LIBRARY)), st.integers(0, 40), st.binary(max_size=12))
def test_a_damaged_playbook_is_read_whole_or_refused(at: int, removed: int, inserted: bytes) -> None:
    _read_or_refused(_LIBRARY[:at] + inserted + _LIBRARY[at + removed :])
