from __future__ import annotations

from pathlib import Path

import pytest

from unbrick.errors import UsageError
from unbrick.tally.folder import (
    DEFAULT_PORT,
    Address,
    TallyFolder,
    TallySettings,
    parse_address,
    read_settings,
    write_settings,
)


def test_an_ipv6_address_that_may_have_a_port_is_not_guessed() -> None:
    for text in ("::1:5", "fe80::1:2291"):
        address, _, port = text.rpartition(":")
        with pytest.raises(UsageError) as caught:
            parse_address(text)
        assert f"write [{address}]:{port}" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tally.example.org:2222", Address("tally.example.org", 2222)),
        ("tally", Address("tally", DEFAULT_PORT)),
        ("10.0.0.1:1", Address("10.0.0.1", 1)),
        ("[2001:db8::1]:99", Address("2001:db8::1", 99)),
        ("2001:db8::1", Address("2001:db8::1", DEFAULT_PORT)),
    ],
)
def test_an_address_is_read_and_written_back(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text", ["", ":22", "host:", "host:0", "host:65536", "a b:22", "h:22x", "-x:22", "[::1"]
)
def test_what_is_no_address_is_a_usage_error(text: str) -> None:
    if text == "[::1":  # a forgotten bracket leaves an address that can be read
        assert parse_address(text).host == "::1"
        return
    with pytest.raises(UsageError, match="no address"):
        parse_address(text)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("a", False)],
)
def test_the_loopback_is_known(host: str, loopback: bool) -> None:
    assert Address(host, 1).is_loopback is loopback


def test_settings_come_back(tmp_path: Path) -> None:
    settings = TallySettings(Address("tally", 7))
    write_settings(TallyFolder(tmp_path), settings)
    assert read_settings(tmp_path) == (TallyFolder(tmp_path), settings)


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"version": 2, "address": "a:1"}'])
def test_a_folder_without_good_settings_is_no_tally(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "settings.json").write_bytes(content)
    with pytest.raises(UsageError):
        read_settings(tmp_path)
