"""What becomes of the computer, and of the stick in it, when a visit ends: one instruction. Pure.

The rest of the last screen is derived from it, and the way out does what it says. No other sentence of an
ending says restart, switch off, take out or start again, so that none can say otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from unbrick.errors import Reason
from unbrick.model import Status
from unbrick.station.ending.case import Case, Colour


class Moment(Enum):
    """When the computer restarts or is switched off."""

    BY_ITSELF = auto()
    STICK_OUT = auto()
    ENTER = auto()
    CHOICE = auto()
    """Enter, then an answer: a missing key can be typed first."""


class Then(Enum):
    """What the computer is for afterwards. Into Windows it restarts; for all else it is switched off."""

    WINDOWS = auto()
    STICK_AGAIN = auto()
    OTHER_STICK = auto()
    STAYS_OFF = auto()


@dataclass(frozen=True)
class Instruction:
    """`medium` is what is plugged in: `stick`, `disc` or nothing."""

    moment: Moment
    then: Then
    powers_off: bool
    medium: str

    @property
    def by_itself(self) -> bool:
        return self.moment in {Moment.BY_ITSELF, Moment.STICK_OUT}

    @property
    def sentence(self) -> str:
        """The instruction in words; the last one under "Now"."""
        if self.moment is Moment.CHOICE:
            return "Without the key: press Enter, then 2. The computer restarts."
        if self.moment is Moment.STICK_OUT:
            return f"Take the {self.medium} out now: the computer then restarts by itself."
        out = f"Take the {self.medium} out" if self.medium else ""
        if self.by_itself:
            sentences = [f"{out}."] if out else []
            happens = ["The computer switches itself off.", "The computer restarts by itself."]
            return " ".join([happens[0], *sentences] if self.powers_off else [*sentences, happens[1]])
        happens_then = "the computer switches itself off" if self.powers_off else "the computer restarts"
        if self.then is Then.STICK_AGAIN:
            first = f"Leave the {self.medium} in and press Enter" if self.medium else "Press Enter"
        else:
            first = f"{out}, then press Enter" if out else "Press Enter"
        again = f"from the {self.medium}" if self.medium else "in the same way"
        return f"{first}: {happens_then}.{_AFTERWARDS[self.then].format(again=again)}"


_AFTERWARDS = {
    Then.WINDOWS: "",
    Then.STICK_AGAIN: " Wait ten seconds, then start it {again} again.",
    Then.OTHER_STICK: " Start it with another stick.",
    Then.STAYS_OFF: " Leave it off until IT has looked at its disk.",
}

_AFTER_A_REASON: dict[str, Then] = {
    Reason.DAMAGED_METADATA: Then.STAYS_OFF,
    Reason.DAMAGED_TABLE: Then.STAYS_OFF,
    Reason.UNREADABLE_DISK: Then.STAYS_OFF,
    Reason.MISSING_TOOL: Then.OTHER_STICK,
    Reason.UNKNOWN_PLAYBOOK: Then.OTHER_STICK,
    Reason.DISK_IN_USE: Then.STICK_AGAIN,
    Reason.INTERNAL_ERROR: Then.STICK_AGAIN,
    Reason.INTERRUPTED: Then.STICK_AGAIN,
    Reason.NOT_FOUND: Then.STICK_AGAIN,
    Reason.PROGRAM_FAILED: Then.STICK_AGAIN,
    Reason.RAID_MEMBER: Then.STICK_AGAIN,
    Reason.TIMED_OUT: Then.STICK_AGAIN,
    Reason.VERIFY_FAILED: Then.STICK_AGAIN,
}
"""Where it is not the status that decides: what failed is tried again, all else leaves Windows as it was."""


def instruction_for(case: Case) -> Instruction:
    facts, then = case.facts, _then(case)
    if then is not Then.WINDOWS:
        return Instruction(Moment.ENTER, then, powers_off=True, medium=facts.medium)
    if case.status is Status.NEEDS_KEY and facts.takes_keys and case.missing_keys:
        moment = Moment.CHOICE
    elif case.colour is not Colour.GREEN or facts.finish == "wait":
        moment = Moment.ENTER
    elif facts.finish == "power-off":
        return Instruction(Moment.BY_ITSELF, then, powers_off=True, medium=facts.medium)
    else:
        to_be_pulled = facts.medium and facts.restart_way == "remove-stick"
        moment = Moment.STICK_OUT if to_be_pulled else Moment.BY_ITSELF
    return Instruction(moment, then, powers_off=False, medium=facts.medium)


def _then(case: Case) -> Then:
    if case.facts.missed and case.status in {Status.FOUND, Status.SCANNED, Status.NEEDS_KEY}:
        return Then.STICK_AGAIN
    if not case.troubled:
        return Then.WINDOWS
    if case.is_hidden:
        return Then.STICK_AGAIN
    if case.status is Status.NEEDS_KEY:
        # What is asked for the key right here goes on into Windows; else it is typed at another start.
        return Then.STICK_AGAIN if case.missing_keys and not case.facts.takes_keys else Then.WINDOWS
    word = (case.worst.reason or "").partition(":")[0]
    return _AFTER_A_REASON.get(word, Then.STICK_AGAIN if case.status is Status.FAILED else Then.WINDOWS)
