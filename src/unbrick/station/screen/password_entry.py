"""A recovery password while it is typed: eight groups of six digits, each checked as it is completed. Pure.

Typed by a person, or by a barcode scanner, which types as fast as it can, ends with Enter or Tab, may send
dashes or spaces, and may be set up for another keyboard: on a US keyboard, which the kernel takes every
keyboard for, its digits then arrive as the signs above them.
"""

from __future__ import annotations

from unbrick.keys.password import DIGITS, GROUPS, RecoveryPassword, fault_of_group
from unbrick.station.screen.keystrokes import Key, KeyKind, digit_of

_DASH_OF_A_FRENCH_KEYBOARD = "6"


class PasswordEntry:
    """What has been typed so far. Never printed by itself; `clear` forgets it."""

    def __init__(self) -> None:
        self.groups = [""] * GROUPS
        self.current = 0
        """The group that the next digit goes to; as many as there are groups when all are full."""
        self._replaces = False
        self._shifted_before = 0

    @property
    def complete(self) -> bool:
        return all(len(group) == DIGITS for group in self.groups)

    def is_wrong(self, number: int) -> bool:
        """Whether a group (from 0) is complete and cannot be right."""
        group = self.groups[number]
        return len(group) == DIGITS and fault_of_group(group) is not None

    @property
    def wrong(self) -> list[int]:
        """The groups, from 0, that are complete and cannot be right."""
        return [number for number in range(GROUPS) if self.is_wrong(number)]

    def password(self) -> RecoveryPassword | None:
        if not self.complete or self.wrong:
            return None
        return RecoveryPassword.parse("-".join(self.groups))

    def clear(self) -> None:
        self.__init__()  # type: ignore[misc]

    def go_to_trouble(self) -> None:
        troubled = (n for n in range(GROUPS) if len(self.groups[n]) != DIGITS or self.is_wrong(n))
        self._go_to(next(troubled, GROUPS))

    def press(self, key: Key) -> None:
        """Take one key; what is neither a digit nor moves or deletes is ignored, as dashes and spaces are."""
        if key.kind is KeyKind.CHARACTER:
            self._write(key)
        elif key.kind is KeyKind.BACKSPACE:
            self._delete()
        elif key.kind is KeyKind.DELETE:
            self.clear()
        elif key.kind in {KeyKind.LEFT, KeyKind.UP}:
            self._go_to(max(self.current - 1, 0))
        elif key.kind in {KeyKind.RIGHT, KeyKind.DOWN}:
            self._go_to(min(self.current + 1, GROUPS - 1))

    def _go_to(self, number: int) -> None:
        self.current = number
        self._replaces = True
        self._shifted_before = 0

    def _write(self, key: Key) -> None:
        digit = digit_of(key)
        if digit is None:
            return
        shifted = digit != key.text
        # A French keyboard, or a scanner set up for one, has its digits on Shift and its dash on the key 6.
        between = self._shifted_before == DIGITS
        if between and not shifted and digit == _DASH_OF_A_FRENCH_KEYBOARD:
            self._shifted_before = 0
            return
        if between:
            self._shifted_before = 0
        if self.current == GROUPS:
            return
        if self._replaces and len(self.groups[self.current]) == DIGITS:
            self.groups[self.current] = ""
        self._replaces = False
        self.groups[self.current] += digit
        self._shifted_before = self._shifted_before + 1 if shifted else 0
        if len(self.groups[self.current]) == DIGITS:
            self._advance()

    def _advance(self) -> None:
        """Go on to the next group that needs typing; wrong ones before this one wait for the arrow keys."""
        after = range(self.current + 1, GROUPS)
        waiting = (n for n in after if len(self.groups[n]) != DIGITS or self.is_wrong(n))
        self.current = next(waiting, GROUPS)
        self._replaces = True

    def _delete(self) -> None:
        self._shifted_before = 0
        if self.current == GROUPS or not self.groups[self.current]:
            self.current = max(self.current - 1, 0)
        self.groups[self.current] = self.groups[self.current][:-1]
        self._replaces = False
