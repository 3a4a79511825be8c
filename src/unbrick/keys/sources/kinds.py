"""Every kind of key source that `--keys` can name, in the order in which they are asked whose it is."""

from __future__ import annotations

from collections.abc import Callable
from pkgutil import resolve_name

from unbrick.keys.sources.source import KeySource

# Each opens what it is given, or says by None that it is none of its own; raises UsageError.
_OPENERS = (
    "unbrick.keys.sources.files:open_files",
)  # fmt: skip

KINDS: tuple[Callable[[str], KeySource | None], ...] = tuple(map(resolve_name, _OPENERS))
