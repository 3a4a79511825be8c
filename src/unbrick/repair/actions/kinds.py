"""Every kind of action, by the word that journals and `--json` have for it, in the order of a run."""

from __future__ import annotations

from pkgutil import resolve_name

from unbrick.repair.actions.kind import ActionKind

_CLASSES = (
    "unbrick.repair.actions.quarantine_file:QuarantineFile",
)  # fmt: skip

KINDS: dict[str, type[ActionKind]] = {kind.KIND: kind for kind in map(resolve_name, _CLASSES)}
