from __future__ import annotations

import struct
from pathlib import Path

import pytest

from unbrick.drill.contents.security import ONLY_SYSTEM, SYSTEM, SYSTEM_FILES, Protection
from unbrick.drill.disk.states import mark_dirty, restart_page
from unbrick.errors import NeedsHandsError


@pytest.mark.parametrize("log_bytes", [2 * 1024 * 1024, 4 * 1024 * 1024 + 4096, 64 * 1024 * 1024])
def test_a_restart_page_says_open_and_version_1_1(log_bytes: int) -> None:
    page = restart_page(log_bytes, 7)
    assert len(page) == 4096
    assert page[:4] == b"RSTR"
    assert struct.unpack_from("<hh", page, 26) == (1, 1)
    # Every stride ends with the update sequence number.
    assert {page[end - 2 : end] for end in range(512, 4097, 512)} == {b"\x07\x00"}
    area = 0x30
    clients, free, in_use, flags, bits = struct.unpack_from("<HHHHI", page, area + 8)
    assert (clients, free, in_use, flags) == (1, 0xFFFF, 0, 0)
    (size,) = struct.unpack_from("<Q", page, area + 24)
    assert size == log_bytes
    assert bits == 67 - log_bytes.bit_length()


def test_what_is_no_ntfs_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "zeros"
    path.write_bytes(bytes(8192))
    with pytest.raises(NeedsHandsError):
        mark_dirty(path)
    assert path.read_bytes() == bytes(8192)


@pytest.mark.parametrize("protection", [SYSTEM_FILES, ONLY_SYSTEM])
@pytest.mark.parametrize("folder", [True, False])
def test_a_descriptor_is_self_relative_and_whole(protection: Protection, folder: bool) -> None:
    raw = protection.descriptor(folder=folder)
    revision, _, control, owner, group, sacl, dacl = struct.unpack_from("<BBHIIII", raw)
    assert (revision, sacl) == (1, 0)
    assert control & 0x8004 == 0x8004
    assert bool(control & 0x1000) == protection.own
    assert raw[owner : owner + len(protection.owner)] == protection.owner
    assert raw[group : group + len(protection.owner)] == protection.owner
    _, _, size, count, _ = struct.unpack_from("<BBHHH", raw, dacl)
    assert dacl + size == len(raw)
    assert count == len(protection.grants)
    at = dacl + 8
    for grant in protection.grants:
        kind, flags, length, rights = struct.unpack_from("<BBHI", raw, at)
        assert (kind, flags, rights) == (0, 3 if folder else 0, grant.rights)
        assert raw[at + 8 : at + length] == grant.sid
        at += length
    assert at == len(raw)


def test_system_is_s_1_5_18() -> None:
    assert SYSTEM.hex() == "010100000000000512000000"
