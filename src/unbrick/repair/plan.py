"""What would be done about some findings: the actions of every kind, in order. Pure.

Looks at nothing and changes nothing; a dry run is a plan that nobody applies.
"""

from __future__ import annotations

from collections.abc import Sequence

from unbrick.model import Finding, Plan
from unbrick.repair.actions.kinds import KINDS


def make_plan(run: str, findings: Sequence[Finding]) -> Plan:
    """What each kind of action would do. Raises NeedsHandsError where one of them cannot say."""
    return Plan(run, tuple(action for kind in KINDS.values() for action in kind.plan(findings)))
