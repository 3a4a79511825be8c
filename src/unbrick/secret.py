"""A value that must not leak: it prints as `***`, cannot be pickled, and is revealed in one way only.

It wraps rather than subclasses `str`, so no formatting, joining or quoting can lose the wrapping.
"""

from __future__ import annotations

import hmac
from typing import NoReturn


class Secret:
    """Wraps bytes or text; `reveal()` is the only way out."""

    __slots__ = ("_value",)

    def __init__(self, value: str | bytes) -> None:
        self._value = value.encode() if isinstance(value, str) else bytes(value)

    def reveal(self) -> bytes:
        """The value itself, as bytes (UTF-8 for text). Never log, format or store what this returns."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        raise TypeError("a Secret has no hash: it must not become a dictionary key that is printed")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled")
