"""What a drill volume is encrypted with, and the making of a recovery password for it."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from unbrick.errors import UsageError
from unbrick.keys.password import RecoveryPassword
from unbrick.secret import Secret

Method = Literal["aes-xts-128", "aes-xts-256"]

_GUID = re.compile(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}")


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
        text = self.recovery_password.reveal().decode()
        if RecoveryPassword.parse(text).secret != self.recovery_password:
            raise UsageError("the recovery password of a drill volume is not a valid one")

    @property
    def description(self) -> str:
        """BitLocker's own label of the volume: computer, drive, and the date as a US Windows writes it."""
        date = f"{self.created.month}/{self.created.day}/{self.created.year}"
        return f"{self.computer} {self.drive} {date}"


def make_recovery_password(generator: random.Random) -> Secret:
    """A recovery password (55 characters) as Windows makes one; the same generator gives the same."""
    return Secret("-".join(f"{generator.randrange(65536) * 11:06d}" for _ in range(8)))
