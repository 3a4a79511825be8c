"""The short code for a sticker: names one machine, can be read over the telephone, notices a slip."""

from __future__ import annotations

from unbrick.model import Machine


def short_code(machine: Machine, run: str | None) -> str:
    """Eight characters in two groups, `K7M3-9XPC`, the same for the same machine; the last one checks."""
    raise NotImplementedError
