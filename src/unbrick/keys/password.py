"""The BitLocker recovery password: 48 digits in 8 groups, each group checked by itself.

No message has a digit of it: a mistyped group is named by its number. The rule of a group (a multiple of 11
below 720,896) is Microsoft's, in the documentation of
Win32_EncryptableVolume.ProtectKeyWithNumericalPassword.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from unbrick.errors import UsageError
from unbrick.secret import Secret
from unbrick.text import counted

GROUPS = 8
DIGITS = 6
_DIVISOR = 11
_LIMIT = 65536 * _DIVISOR
_LONGEST_TEXT = 200

DASHES = "\u002d\u00ad\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
_INVISIBLE = "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
_SEPARATORS = re.compile(rf"[\s{_INVISIBLE}{re.escape(DASHES)}]+")
_LIKE_WINDOWS_WRITES_IT = re.compile(r"\s*[0-9]{6}(?:[- ][0-9]{6}){7}\s*")
_ROUNDED_BY_A_SPREADSHEET = re.compile(r"[0-9](?:[.,][0-9]*)?E\+?[0-9]{2}", re.IGNORECASE)


class PasswordError(UsageError):
    """Text that is no recovery password. `group` (1 to 8) is the first mistyped one, None where none is."""

    def __init__(self, message: str, *, group: int | None = None) -> None:
        super().__init__(message, hint="a recovery password is 48 digits, in 8 groups of 6")
        self.group = group


@dataclass(frozen=True, slots=True, repr=False)
class RecoveryPassword:
    """A well-formed recovery password. `secret` holds its canonical text, `123456-…`, 55 characters."""

    secret: Secret

    @classmethod
    def parse(cls, text: str) -> RecoveryPassword:
        """Read what was typed or exported: any dashes or spaces between groups, or 48 digits in a row.

        Raises PasswordError, which names the mistyped groups by number.
        """
        groups = text.strip().replace(" ", "-").split("-")
        if len(groups) != GROUPS or _LIKE_WINDOWS_WRITES_IT.fullmatch(text) is None:
            groups = _split(text)
        elif not any(int(group) % _DIVISOR or int(group) >= _LIMIT for group in groups):
            return cls(Secret("-".join(groups)))  # the short way, for files of a hundred thousand
        faults = [
            (number, fault) for number, group in enumerate(groups, 1) if (fault := fault_of_group(group))
        ]
        if faults and len(groups) <= GROUPS:
            said = "; ".join(f"group {number} {fault}" for number, fault in faults)
            raise PasswordError(said, group=faults[0][0])
        if len(groups) != GROUPS:
            raise PasswordError(f"{counted(len(groups), 'group')} of digits, and {GROUPS} are needed")
        return cls(Secret("-".join(groups)))

    def __repr__(self) -> str:
        return "RecoveryPassword(***)"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"


def _split(text: str) -> list[str]:
    """The groups of a text in any accepted form; raises PasswordError where groups cannot be told apart."""
    if len(text) > _LONGEST_TEXT:
        raise PasswordError("this text is far too long for a recovery password")
    pieces = [piece for piece in _SEPARATORS.split(text) if piece]
    if not pieces:
        raise PasswordError("there is no digit in it")
    if len(pieces) > 1:
        return pieces
    run = pieces[0]
    if _ROUNDED_BY_A_SPREADSHEET.fullmatch(run):
        raise PasswordError("a spreadsheet has rounded it to a short number, and its digits are lost")
    if len(run) != GROUPS * DIGITS:
        raise PasswordError(
            f"{counted(len(run), 'character')} in a row, and {GROUPS * DIGITS} digits are needed"
        )
    return [run[start : start + DIGITS] for start in range(0, len(run), DIGITS)]


def fault_of_group(group: str) -> str | None:
    """What is wrong with one group, to follow "group 3 "; None where it is right."""
    if not (group.isascii() and group.isdigit()):
        return "holds something that is not a digit"
    if len(group) != DIGITS:
        return f"has {counted(len(group), 'digit')}, not {DIGITS}"
    value = int(group)
    if value % _DIVISOR:
        return f"is not divisible by {_DIVISOR}: a digit in it is wrong"
    if value >= _LIMIT:
        return "is too large: one of its first digits is wrong"
    return None
