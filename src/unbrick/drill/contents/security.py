"""Security descriptors as Windows gives them to its own files, to programs and to a user's data.

Self-relative form, [MS-DTYP] 2.4.6; who may do what follows a default Windows 10 installation.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

FULL_CONTROL = 0x1F01FF
READ_AND_EXECUTE = 0x1200A9
_INHERITED_BY_ALL = 0x03  # object and container inherit
_DACL_PRESENT_SELF_RELATIVE = 0x8004
_DACL_PROTECTED = 0x1000


def _sid(authority: int, *parts: int) -> bytes:
    return struct.pack("<BB6s", 1, len(parts), authority.to_bytes(6, "big")) + struct.pack(
        f"<{len(parts)}I", *parts
    )


SYSTEM = _sid(5, 18)
ADMINISTRATORS = _sid(5, 32, 544)
USERS = _sid(5, 32, 545)
TRUSTED_INSTALLER = _sid(5, 80, 956008885, 3418522649, 1831038044, 1853292631, 2271478464)


@dataclass(frozen=True)
class Grant:
    """Rights given to one SID, or refused to it when `deny`."""

    sid: bytes
    rights: int
    deny: bool = False


@dataclass(frozen=True)
class Protection:
    """Who owns a thing and who may do what with it, refusals first.

    `own` marks rights set here and cut off from what the folder above would hand down.
    """

    owner: bytes
    grants: tuple[Grant, ...]
    own: bool = False

    def descriptor(self, *, folder: bool) -> bytes:
        """The self-relative descriptor; only a folder's entries are inherited further."""
        flags = _INHERITED_BY_ALL if folder else 0
        entries = b"".join(
            struct.pack("<BBHI", int(grant.deny), flags, 8 + len(grant.sid), grant.rights) + grant.sid
            for grant in self.grants
        )
        rights = struct.pack("<BBHHH", 2, 0, 8 + len(entries), len(self.grants), 0) + entries
        control = _DACL_PRESENT_SELF_RELATIVE | (_DACL_PROTECTED if self.own else 0)
        owner_at = 20
        group_at = owner_at + len(self.owner)
        header = struct.pack("<BBHIIII", 1, 0, control, owner_at, group_at, 0, group_at + len(self.owner))
        return header + self.owner + self.owner + rights


def local_user(seed: int, number: int) -> bytes:
    """The SID of a local account of a machine whose identifier comes from `seed`."""
    return _sid(5, 21, 0x10000000 + seed % 0xFFFFFF, 0x2B7C1D30, 0x3F9A4E12, 1000 + number)


SYSTEM_FILES = Protection(
    TRUSTED_INSTALLER,
    (
        Grant(TRUSTED_INSTALLER, FULL_CONTROL),
        Grant(SYSTEM, FULL_CONTROL),
        Grant(ADMINISTRATORS, READ_AND_EXECUTE),
        Grant(USERS, READ_AND_EXECUTE),
    ),
)
PROGRAM_FILES = Protection(
    SYSTEM,
    (
        Grant(SYSTEM, FULL_CONTROL),
        Grant(ADMINISTRATORS, FULL_CONTROL),
        Grant(USERS, READ_AND_EXECUTE),
    ),
)
ONLY_SYSTEM = Protection(SYSTEM, (Grant(SYSTEM, FULL_CONTROL), Grant(ADMINISTRATORS, FULL_CONTROL)), own=True)


def profile_of(user: bytes) -> Protection:
    """For a user's profile: the user, SYSTEM and administrators."""
    return Protection(
        user,
        (
            Grant(SYSTEM, FULL_CONTROL),
            Grant(ADMINISTRATORS, FULL_CONTROL),
            Grant(user, FULL_CONTROL),
        ),
        own=True,
    )
