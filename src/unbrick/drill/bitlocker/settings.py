"""What a drill volume is to be encrypted with, and the making of a recovery password for it.

Plain data, checked on the way in; does no encryption.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from unbrick.errors import UsageError
from unbrick.secret import Secret

Method = Literal["aes-xts-128", "aes-xts-256"]

_GUID = re.compile(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}")
_PASSWORD = re.compile(rb"[0-9]{6}(-[0-9]{6}){7}")
_GROUPS = 8
_GROUP_DIVISOR = 11
_GROUP_LIMIT = 65536


@dataclass(frozen=True, kw_only=True)
class BitLockerSettings:
    """How a drill volume is encrypted. Everything random in it follows from `seed`.

    `recovery_password` is the 55-character text, `protector_id` the GUID it is escrowed under (upper case,
    no braces), `created` an aware time. `tpm` adds a TPM protector whose sealed blob opens nowhere;
    `clear_key` leaves the key in the open, as on a volume whose protection is suspended. Raises UsageError
    for values that no Windows could have written.
    """

    method: Method
    computer: str
    drive: str = "C:"
    recovery_password: Secret
    protector_id: str
    tpm: bool = True
    clear_key: bool = False
    seed: int
    created: datetime

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise UsageError(f"a drill volume cannot be encrypted with {self.method!r}")
        if not _GUID.fullmatch(self.protector_id):
            raise UsageError(f"not a key protector id: {self.protector_id!r}", hint="a GUID in upper case")
        if self.created.tzinfo is None:
            raise UsageError("the time a drill volume was encrypted at has no time zone")
        password_groups(self.recovery_password)

    @property
    def description(self) -> str:
        """BitLocker's own label of the volume: computer, drive, and the date as a US Windows writes it."""
        date = f"{self.created.month}/{self.created.day}/{self.created.year}"
        return f"{self.computer} {self.drive} {date}"


def password_groups(password: Secret) -> tuple[int, ...]:
    """The eight 16-bit numbers a recovery password stands for.

    Raises UsageError where it is not eight groups of six digits, each a multiple of 11 below 720896.
    """
    raw = password.reveal()
    groups = [int(group) for group in raw.split(b"-")] if _PASSWORD.fullmatch(raw) else []
    if not groups or any(
        group % _GROUP_DIVISOR or group >= _GROUP_LIMIT * _GROUP_DIVISOR for group in groups
    ):
        raise UsageError("the recovery password of a drill volume is not a valid one")
    return tuple(group // _GROUP_DIVISOR for group in groups)


def make_recovery_password(generator: random.Random) -> Secret:
    """A recovery password (55 characters) as Windows would make one; the same generator gives the same."""
    groups = (generator.randrange(_GROUP_LIMIT) * _GROUP_DIVISOR for _ in range(_GROUPS))
    return Secret("-".join(f"{group:06d}" for group in groups))
