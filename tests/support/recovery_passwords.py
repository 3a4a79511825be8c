"""Recovery passwords for tests, and the check that none of their digits got into a message."""

from __future__ import annotations

import random
import re


def make_password(seed: int = 0) -> str:
    """A well-formed recovery password, the same for the same seed."""
    dice = random.Random(seed)
    return "-".join(f"{dice.randrange(65536) * 11:06d}" for _ in range(8))


def make_guid(seed: int = 0) -> str:
    """A GUID as unbrick writes them: upper case, no braces."""
    digits = f"{random.Random(f'guid {seed}').getrandbits(128):032X}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def leaked_digits(message: str, given: str) -> str | None:
    """The first six digits in a row of `given` that are also in `message`; None where nothing leaked."""
    for run in re.finditer(r"(?=([0-9]{6}))", given):
        if run[1] in message:
            return run[1]
    return None
