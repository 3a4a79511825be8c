"""Every kind of key source that `--keys` can name, in the order in which they are asked whose it is."""

from __future__ import annotations

from collections.abc import Callable

from unbrick.keys.sources.csv_file import open_csv
from unbrick.keys.sources.source import KeySource

# Each opens what it is given, or says by None that it is none of its own; raises UsageError.
KINDS: tuple[Callable[[str], KeySource | None], ...] = (
    open_csv,
)  # fmt: skip
