"""What each reason means to somebody who has never seen it, and what the helpdesk does about it.

For the person at the machine: short sentences, no word of the trade. For the helpdesk: the trade's words.
The texts lie in the manual's page `reasons`; here are only those where there is no reason.
"""

from __future__ import annotations

from dataclasses import dataclass

from unbrick.errors import Reason
from unbrick.manual.reasons import explain
from unbrick.model import Status

_LEAVE = "A person from IT has to look at this computer."
_AGAIN = "It may work at another try."


@dataclass(frozen=True)
class Meaning:
    """One reason in words: what it is and what to do (for anyone), and what it means (for the helpdesk)."""

    what: str
    to_do: str
    helpdesk: str


_BY_STATUS: dict[Status, Meaning] = {
    Status.FAILED: Meaning("Something went wrong.", _AGAIN, "The work failed."),
    Status.NEEDS_HANDS: Meaning(
        "A person has to look at this computer.", _LEAVE, "Nothing is written here without a person."
    ),
}


def meaning_of(status: Status, reason: str | None) -> Meaning:
    """The words for a troubled disk; a reason may carry a detail (`foreign-encryption:luks`).

    A word that this version does not know is left to what the status says.
    """
    explained = explain(reason or "")
    if explained is None and status is Status.NEEDS_KEY:
        explained = explain(Reason.KEY_MISSING)
    if explained is None:
        return _BY_STATUS.get(status, _BY_STATUS[Status.NEEDS_HANDS])
    return Meaning(explained.what, explained.at_the_machine, explained.for_it)
