"""The short code for a sticker: names one machine, can be read over the telephone, notices a slip.

Made of what the tally counts machines by (`identity.machine_key`), so that both ends know the same code.
"""

from __future__ import annotations

import hashlib

from unbrick.events.identity import machine_key
from unbrick.model import Machine

# No character looks like another (0 O, 1 I L, 5 S, 8 B, 2 Z, U V), and without vowels there are no words.
# Their number is a prime: the check character then notices every wrong character and every exchange of two.
ALPHABET = "23456789CDFHJKMNPRTVWXY"
LENGTH = 8
_PURPOSE = b"unbrick short code\0"


def short_code(machine: Machine, run: str | None) -> str:
    """Eight characters in two groups, `K7M3-9XPC`, the same for the same machine; the last one checks.

    `run` names a machine of which nothing else is known.
    """
    return code_of_key(machine_key(machine, run or ""))


def code_of_key(key: str) -> str:
    """The code of the machine with this `identity.machine_key`."""
    digest = hashlib.sha256(_PURPOSE + key.encode()).digest()
    number = int.from_bytes(digest)
    characters = []
    for _ in range(LENGTH - 1):
        number, digit = divmod(number, len(ALPHABET))
        characters.append(digit)
    characters.append(_check(characters))
    text = "".join(ALPHABET[digit] for digit in characters)
    return f"{text[: LENGTH // 2]}-{text[LENGTH // 2 :]}"


def is_short_code(text: str) -> bool:
    """Whether a text, in any case and with any dashes or spaces, is a code without a slip."""
    characters = plain_code(text)
    if len(characters) != LENGTH or set(characters) - set(ALPHABET):
        return False
    digits = [ALPHABET.index(character) for character in characters]
    return _check(digits[:-1]) == digits[-1]


def plain_code(text: str) -> str:
    """A code in the one form that can be compared: large letters, no dashes, no spaces."""
    return "".join(text.upper().replace("-", " ").split())


def _check(digits: list[int]) -> int:
    """The digit that makes the weighted sum a multiple of the alphabet's length (weights 2 to 8, and 1)."""
    weighted = sum(weight * digit for weight, digit in enumerate(digits, 2))
    return -weighted % len(ALPHABET)
