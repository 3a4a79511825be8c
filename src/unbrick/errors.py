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
    INTERRUPTED = "interrupted"
    KEY_MISSING = "key-missing"
    KEY_WRONG = "key-wrong"
    MISSING_TOOL = "missing-tool"
    NO_RUN = "no-run"
    NO_WINDOWS = "no-windows"
    NOT_FOUND = "not-found"
    OPAL_LOCKED = "opal-locked"
    PERSON_DECIDES = "person-decides"
    PROTECTED_FILE = "protected-file"
    RAID_MEMBER = "raid-member"
    READ_ONLY = "read-only"
    REFS = "refs"
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
    VERIFY_FAILED = "verify-failed"


class UnbrickError(Exception):
    """Something a user is told in one line: what, where, and (the hint) what to do about it.

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


class UsageError(UnbrickError):
    """The command line, a settings file, a keys file or a playbook is wrong; nothing was touched."""

    exit_code = 2


class NeedsKeyError(UnbrickError):
    """A BitLocker volume stays locked: no key source had a recovery password that opens it."""

    exit_code = 4


class NeedsHandsError(UnbrickError):
    """unbrick will not write here by itself; a person has to look. Always carries a reason."""

    exit_code = 5

    def __init__(self, message: str, *, reason: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint, reason=reason)
