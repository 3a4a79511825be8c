"""What would be done about some findings: which files would be moved, and to which neutral names. Pure.

Looks at nothing and changes nothing; a dry run is a plan that nobody applies.
"""

from __future__ import annotations

from collections.abc import Sequence

from unbrick.errors import NeedsHandsError, Reason
from unbrick.model import Action, Finding, Plan, Verdict

QUARANTINE_FILE = "quarantine-file"
"""The only kind of action there is."""
MOST_FILES = 1000
"""How many files one run may move, as many as the widest playbook may ask for."""


def make_plan(run: str, findings: Sequence[Finding]) -> Plan:
    """Quarantine every file that a finding calls faulty, each once, in order.

    The new names say nothing about the old ones, so that nothing that scans for drivers by name finds
    them. Raises NeedsHandsError where a faulty file could not be read or there are too many.
    """
    actions: list[Action] = []
    planned: dict[str, str] = {}
    for finding in findings:
        if finding.verdict is not Verdict.FAULTY:
            continue
        for fact in finding.files:
            same = planned.get(fact.path.casefold())
            if same is not None and _name(same) == _name(fact.path):
                continue
            if same is not None:
                raise NeedsHandsError(
                    f"{same} and {fact.path} differ by case only; Windows cannot tell them apart",
                    hint="look at the two files by hand",
                    reason=Reason.PERSON_DECIDES,
                )
            if fact.sha256 is None:
                raise NeedsHandsError(
                    f"{fact.path} was judged without being read", reason=Reason.UNREADABLE_FILE
                )
            planned[fact.path.casefold()] = fact.path
            name = f"{len(actions) + 1:04}.bin"
            actions.append(Action(QUARANTINE_FILE, fact.path, finding.playbook, fact.sha256, fact.size, name))
    if len(actions) > MOST_FILES:
        raise NeedsHandsError(
            f"{len(actions)} files would have to be moved, more than the {MOST_FILES} of one run",
            reason=Reason.TOO_MANY_FILES,
        )
    return Plan(run, tuple(actions))


def _name(path: str) -> str:
    return path.rpartition("\\")[2]
