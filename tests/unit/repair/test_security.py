from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbrick.repair.security import (
    ADMINISTRATORS,
    FILE_DESCRIPTOR,
    FOLDER_DESCRIPTOR,
    SYSTEM,
    is_ours,
)

EVERYONE = bytes.fromhex("010100000000000100000000")
# What ntfs-3g gives a new folder: owner Administrators, everyone may do everything.
NTFS_3G_DEFAULT = bytes.fromhex(
    "0100048014000000240000000000000034000000010200000000000520000000200200000102000000000005200000002002"
    "000002001c000100000000031400ff011f00010100000000000100000000"
)


def descriptor(owner: bytes, *entries: tuple[int, bytes], control: int = 0x9004) -> bytes:
    aces = b"".join(struct.pack("<BBHI", kind, 0, 8 + len(sid), 0x1F01FF) + sid for kind, sid in entries)
    acl = struct.pack("<BBHHH", 2, 0, 8 + len(aces), len(entries), 0) + aces
    return struct.pack("<BBHIIII", 1, 0, control, 20, 20, 0, 20 + len(owner)) + owner + acl


def test_what_we_write_is_ours() -> None:
    assert is_ours(FOLDER_DESCRIPTOR)
    assert is_ours(FILE_DESCRIPTOR)


def test_a_folders_list_is_inherited_and_nothing_from_above_is() -> None:
    control = struct.unpack_from("<H", FOLDER_DESCRIPTOR, 2)[0]
    assert control & 0x1000  # protected
    assert FOLDER_DESCRIPTOR.count(b"\x00\x03\x14\x00\xff\x01\x1f\x00" + SYSTEM) == 1
    assert FOLDER_DESCRIPTOR.count(b"\x00\x03\x18\x00\xff\x01\x1f\x00" + ADMINISTRATORS) == 1
    assert FILE_DESCRIPTOR.count(b"\x00\x00\x14\x00\xff\x01\x1f\x00" + SYSTEM) == 1


@pytest.mark.parametrize(
    "foreign",
    [
        b"",
        NTFS_3G_DEFAULT,
        descriptor(EVERYONE, (0, SYSTEM)),
        descriptor(SYSTEM, (0, SYSTEM), (0, EVERYONE)),
        descriptor(SYSTEM, (5, SYSTEM)),  # an object entry
        descriptor(SYSTEM, (0, SYSTEM), control=0x9000),  # no list: everybody may do everything
        descriptor(SYSTEM, (0, SYSTEM), control=0x1004),  # not self-relative
        FOLDER_DESCRIPTOR[:16] + bytes(4) + FOLDER_DESCRIPTOR[20:],  # a null list
        FOLDER_DESCRIPTOR[:-1],
    ],
)
def test_what_others_own_or_may_write_is_not_ours(foreign: bytes) -> None:
    assert not is_ours(foreign)


def test_windows_may_have_added_a_denial() -> None:
    assert is_ours(descriptor(ADMINISTRATORS, (1, EVERYONE), (0, ADMINISTRATORS)))


@given(st.binary(max_size=200))
def test_any_bytes_are_judged_without_an_error(data: bytes) -> None:
    assert is_ours(data) in (True, False)


@given(st.integers(0, len(FOLDER_DESCRIPTOR) - 1), st.integers(0, 255))
def test_any_changed_byte_is_judged_without_an_error(place: int, value: int) -> None:
    changed = bytearray(FOLDER_DESCRIPTOR)
    changed[place] = value
    assert is_ours(bytes(changed)) in (True, False)
