"""Every error a user can meet: a message, a hint what to do, a reason word for scripts, an exit code.

Raised anywhere, printed only by the door (`cli/`). Read by everyone, imports nothing of ours.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class Reason(StrEnum):
    """The fixed words of the contract's `reason` field, one meaning each; scripts switch on them."""

    BAD_JOURNAL = "bad-journal"
    CONVERTING = "converting"
    DAMAGED_IMAGE = "damaged-image"
    DAMAGED_METADATA = "damaged-metadata"
    DAMAGED_TABLE = "damaged-table"
    DAMAGED_VOLUME = "damaged-volume"
    DISK_FULL = "disk-full"
    DISK_IN_USE = "disk-in-use"
    DOUBTFUL_TIME = "doubtful-time"
    DYNAMIC_DISK = "dynamic-disk"
    EMPTY_DISK = "empty-disk"
    FOREIGN_ENCRYPTION = "foreign-encryption"
    FOREIGN_QUARANTINE = "foreign-quarantine"
    HIBERNATED = "hibernated"
    IMAGE_MISMATCH = "image-mismatch"
    IMAGE_UNSAFE = "image-unsafe"
    INTERNAL_ERROR = "internal-error"
    INTERRUPTED = "interrupted"
    KEY_MISSING = "key-missing"
    KEY_WRONG = "key-wrong"
    MISSING_TOOL = "missing-tool"
    NEEDS_ROOT = "needs-root"
    NO_RUN = "no-run"
    NO_WINDOWS = "no-windows"
    NOT_FOUND = "not-found"
    OPAL_LOCKED = "opal-locked"
    PERSON_DECIDES = "person-decides"
    PROGRAM_FAILED = "program-failed"
    PROTECTED_FILE = "protected-file"
    QUARANTINE_CHANGED = "quarantine-changed"
    RAID_MEMBER = "raid-member"
    READ_ONLY = "read-only"
    REFS = "refs"
    REPORTS_MISSING = "reports-missing"
    SOMETHING_IN_THE_WAY = "something-in-the-way"
    STORAGE_SPACES = "storage-spaces"
    TIMED_OUT = "timed-out"
    TOO_MANY_FILES = "too-many-files"
    TRUNCATED = "truncated"
    UNCLEAN_LOG = "unclean-log"
    UNKNOWN_PLAYBOOK = "unknown-playbook"
    UNREADABLE_DISK = "unreadable-disk"
    UNREADABLE_FILE = "unreadable-file"
    UNREADABLE_HIVE = "unreadable-hive"
    UNSUPPORTED_BITLOCKER = "unsupported-bitlocker"
    VERIFY_FAILED = "verify-failed"


class UnbrickError(Exception):
    """An error for a user, in one line what and where; the hint says what to do.

    `reason` is a word of `Reason`, or one of them with a colon and a detail (`foreign-encryption:luks`).
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None, reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.reason = str(reason) if reason is not None else None


class FailedError(UnbrickError):
    """Work was begun or attempted and did not succeed."""


class HalfDoneError(FailedError):
    """Ctrl-C stopped work that cannot be left half done; the hint says how to finish it."""

    exit_code = 130


class UsageError(UnbrickError):
    """The command line, a settings file, a keys file or a playbook is wrong; nothing was touched."""

    exit_code = 2


class NeedsKeyError(UnbrickError):
    """A BitLocker volume stays locked: no key source had a recovery password that opens it."""

    exit_code = 4


class NeedsHandsError(UnbrickError):
    """unbrick does not write here by itself; a person has to look. Always has a reason."""

    exit_code = 5

    def __init__(self, message: str, *, reason: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint, reason=reason)


_PACKAGE = {
    "blkid": "util-linux",
    "cryptsetup": "cryptsetup-bin",
    "dnsmasq": "dnsmasq-base",
    "fusermount3": "fuse3",
    "ip": "iproute2",
    "lsblk": "util-linux",
    "mcopy": "mtools",
    "mdir": "mtools",
    "mformat": "mtools",
    "mkfs.fat": "dosfstools",
    "mkntfs": "ntfs-3g",
    "mmd": "mtools",
    "ntfs-3g.probe": "ntfs-3g",
    "ntfsrecover": "ntfs-3g",
    "qemu-img": "qemu-utils",
    "qemu-storage-daemon": "qemu-system-common",
    "qemu-system-x86_64": "qemu-system-x86",
    "setpriv": "util-linux",
    "sfdisk": "fdisk",
    "ssh-keygen": "openssh-client",
    "umount": "mount",
    "wipefs": "util-linux",
}
"""Debian's package of each program whose package has another name."""


class MissingToolError(FailedError):
    """A program that unbrick needs is not installed; the hint names Debian's package."""

    def __init__(self, program: str) -> None:
        super().__init__(
            f"the program {program} is not installed",
            hint=f"install it: apt install {_PACKAGE.get(program, program)}",
            reason=Reason.MISSING_TOOL,
        )


class MissingLibraryError(FailedError):
    """A Python library that unbrick needs is not installed; `install` is the command for it."""

    def __init__(self, library: str, install: str) -> None:
        super().__init__(
            f"the Python library {library} is not installed",
            hint=f"install it: {install}",
            reason=Reason.MISSING_TOOL,
        )
