"""The access control list of all that is ours on a Windows volume: SYSTEM and Administrators, nobody else.

Builds and judges self-relative security descriptors ([MS-DTYP] 2.4.6). What is on a disk is believed only
where `is_ours` says that nobody but an administrator can have put it there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

# In binary ([MS-DTYP] 2.4.2.2).
SYSTEM = bytes.fromhex("010100000000000512000000")  # S-1-5-18
ADMINISTRATORS = bytes.fromhex("01020000000000052000000020020000")  # S-1-5-32-544

_OURS = (SYSTEM, ADMINISTRATORS)
_HEADER = struct.Struct("<BBHIIII")
_ACL_HEADER = struct.Struct("<BBHHH")
_ACE_HEADER = struct.Struct("<BBHI")
_SELF_RELATIVE = 0x8000
_DACL_PROTECTED = 0x1000
_DACL_PRESENT = 0x0004
_ACCESS_ALLOWED = 0
_ACCESS_DENIED = 1
_FULL_CONTROL = 0x001F01FF
_INHERIT_TO_ALL = 0x03  # object and container inherit
_MOST_ENTRIES = 64


def _allow(flags: int, sid: bytes) -> bytes:
    return _ACE_HEADER.pack(_ACCESS_ALLOWED, flags, _ACE_HEADER.size + len(sid), _FULL_CONTROL) + sid


def _build_descriptor(*, inheritable: bool) -> bytes:
    """Owner and group Administrators; a protected list giving full control to SYSTEM and Administrators.

    `inheritable` is for folders: what Windows later makes inside gets the same list.
    """
    flags = _INHERIT_TO_ALL if inheritable else 0
    entries = b"".join(_allow(flags, sid) for sid in _OURS)
    acl = _ACL_HEADER.pack(2, 0, _ACL_HEADER.size + len(entries), len(_OURS), 0) + entries
    owner = _HEADER.size
    group = owner + len(ADMINISTRATORS)
    dacl = group + len(ADMINISTRATORS)
    control = _SELF_RELATIVE | _DACL_PROTECTED | _DACL_PRESENT
    return _HEADER.pack(1, 0, control, owner, group, 0, dacl) + ADMINISTRATORS * 2 + acl


FOLDER_DESCRIPTOR = _build_descriptor(inheritable=True)
FILE_DESCRIPTOR = _build_descriptor(inheritable=False)


def is_ours(descriptor: bytes) -> bool:
    """Whether SYSTEM or Administrators own the file or folder and nobody else is allowed anything on it.

    What cannot be parsed, a missing list (everybody may do everything) and unknown kinds of entry: no.
    """
    try:
        control, owner, dacl = _parse_header(descriptor)
        if owner not in _OURS or not control & _DACL_PRESENT or not dacl:
            return False
        return all(
            kind == _ACCESS_DENIED or (kind == _ACCESS_ALLOWED and sid in _OURS)
            for kind, sid in _entries(descriptor, dacl)
        )
    except (struct.error, ValueError):
        return False


def _parse_header(descriptor: bytes) -> tuple[int, bytes, int]:
    """Control bits, the owner's SID, and the offset of the discretionary list."""
    revision, _, control, owner, _, _, dacl = _HEADER.unpack_from(descriptor)
    if revision != 1 or not control & _SELF_RELATIVE:
        raise ValueError("not a self-relative descriptor")
    return control, _sid_at(descriptor, owner, len(descriptor)), dacl


def _sid_at(descriptor: bytes, offset: int, end: int) -> bytes:
    if not _HEADER.size <= offset <= end - 8:
        raise ValueError("a SID lies outside its place")
    length = 8 + 4 * descriptor[offset + 1]
    if offset + length > end:
        raise ValueError("a SID runs over its end")
    return descriptor[offset : offset + length]


def _entries(descriptor: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    """Kind and SID of each entry of the list at `offset`."""
    _, _, size, count, _ = _ACL_HEADER.unpack_from(descriptor, offset)
    end = offset + size
    if end > len(descriptor) or count > _MOST_ENTRIES:
        raise ValueError("the list runs over its end")
    place = offset + _ACL_HEADER.size
    for _ in range(count):
        kind, _, length, _ = _ACE_HEADER.unpack_from(descriptor, place)
        if length < _ACE_HEADER.size + 8 or place + length > end:
            raise ValueError("an entry runs over its end")
        yield kind, _sid_at(descriptor, place + _ACE_HEADER.size, place + length)
        place += length
