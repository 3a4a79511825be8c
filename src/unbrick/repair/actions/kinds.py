"""Every kind of action, by the word that journals and `--json` have for it, in the order of a run."""

from __future__ import annotations

from unbrick.repair.actions.kind import ActionKind
from unbrick.repair.actions.quarantine_file import QuarantineFile

KINDS: dict[str, type[ActionKind]] = {
    QuarantineFile.KIND: QuarantineFile,
}
