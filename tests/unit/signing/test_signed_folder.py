"""The list of signed files: what it lets through, and all that it does not."""

from __future__ import annotations

import contextlib
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbrick.signing.signed_folder import (
    SignedFile,
    SignedFolderError,
    check_file,
    make_manifest,
    parse_manifest,
)

FILES = {"unbrick.yaml": b"site: a\n", "playbooks/mine.yaml": b"x", "Schlüssel.csv": b""}
DIGEST = "0" * 64


def test_a_list_comes_back_as_it_was_made() -> None:
    signed = parse_manifest(make_manifest(FILES))
    assert set(signed.files) == set(FILES)
    for name, data in FILES.items():
        check_file(signed, name, data)
        assert signed.files[name] == SignedFile(hashlib.sha256(data).hexdigest(), len(data))


def test_the_same_files_give_the_same_bytes_in_any_order() -> None:
    assert make_manifest(FILES) == make_manifest(dict(reversed(FILES.items())))


def test_case_does_not_matter_for_finding_a_file_because_fat_does_not_keep_it() -> None:
    signed = parse_manifest(make_manifest(FILES))
    check_file(signed, "UNBRICK.YAML", FILES["unbrick.yaml"])
    check_file(signed, "Playbooks/MINE.yaml", b"x")


@pytest.mark.parametrize(("name", "data"), [("unbrick.yaml", b"site: b\n"), ("playbooks/mine.yaml", b"xx")])
def test_a_changed_file_is_refused(name: str, data: bytes) -> None:
    with pytest.raises(SignedFolderError, match="not as it was signed"):
        check_file(parse_manifest(make_manifest(FILES)), name, data)


def test_a_file_that_was_not_listed_is_refused() -> None:
    with pytest.raises(SignedFolderError, match=r"extra\.yaml is not among"):
        check_file(parse_manifest(make_manifest(FILES)), "extra.yaml", b"")
    with pytest.raises(SignedFolderError, match="not as it was signed"):
        check_file(parse_manifest(make_manifest({"a": b"one"})), "a", b"ones")
    with pytest.raises(SignedFolderError, match="not as it was signed"):
        check_file(parse_manifest(make_manifest({"a": b"one"})), "a", b"two")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "../x",
        "a/../b",
        "a//b",
        "./a",
        "a/",
        "a\\b",
        "c:x",
        "x\n",
        "x\x00",
        "x.",
        "x ",
        "x" * 241,
        "/".join("abcdefghi"),
        "unbrick-signed.json",
        "Unbrick-Signed.JSON.sig",
    ],
)
def test_a_name_that_leads_elsewhere_is_neither_signed_nor_read(name: str) -> None:
    with pytest.raises(SignedFolderError):
        make_manifest({name: b""})
    document = {"files": {name: {"sha256": DIGEST, "size": 0}}, "schema": 1}
    with pytest.raises(SignedFolderError):
        parse_manifest(json.dumps(document, separators=(",", ":")).encode())


@pytest.mark.parametrize("names", [("a", "A"), ("a", "a/b"), ("A/x", "a"), ("\u00fc", "u\u0308")])
def test_names_that_cannot_be_told_apart_are_refused(names: tuple[str, str]) -> None:
    with pytest.raises(SignedFolderError, match="told apart"):
        make_manifest(dict.fromkeys(names, b""))


GOOD = make_manifest({"a": b""})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"[" * 100_000,
        b"\xff",
        GOOD + b"\n",
        GOOD.replace(b'"schema":1', b'"schema":2'),
        GOOD.replace(b'"schema":1', b'"schema":true'),
        GOOD.replace(b'"schema":1', b'"schema":1,"x":1'),
        GOOD.replace(b'"size":0', b'"size":-1'),
        GOOD.replace(b'"size":0', b'"size":0.0'),
        GOOD.replace(b'"size":0', b'"size":false'),
        GOOD.replace(b'"size":0', b'"size":' + b"9" * 5000),
        GOOD.replace(b'"size":0', b'"size":0,"x":0'),
        GOOD.replace(b'"sha256":"e', b'"sha256":"E'),
        GOOD.replace(b'{"files"', b'{"files":{},"files"'),
        b'{"files":[],"schema":1}',
        b'{"files":{"a":1},"schema":1}',
        b'{"files":{"' + b"a" * 1024 * 1024 + b'":1},"schema":1}',
    ],
)
def test_a_list_that_is_not_exactly_as_it_is_made_is_refused(data: bytes) -> None:
    assert data != GOOD
    with pytest.raises(SignedFolderError):
        parse_manifest(data)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_give_a_list_or_one_kind_of_error(data: bytes) -> None:
    with contextlib.suppress(SignedFolderError):
        parse_manifest(data)


@given(st.dictionaries(st.text(max_size=12), st.binary(max_size=8), max_size=4))
def test_whatever_is_made_can_be_read(files: dict[str, bytes]) -> None:
    try:
        data = make_manifest(files)
    except SignedFolderError:
        return
    signed = parse_manifest(data)
    assert set(signed.files) == set(files)
    for name, content in files.items():
        check_file(signed, name, content)
