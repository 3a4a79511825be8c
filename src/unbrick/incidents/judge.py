"""Weighs one file against one playbook. Pure: no disk, no clock; the same file always gets the same verdict.

Where a file's time makes no sense, a rule's other conditions hold and it asks for the time, the file is left
to a person.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from unbrick.errors import Reason
from unbrick.incidents.deny import why_forbidden
from unbrick.incidents.playbook import Match, Playbook, Rule, SizeCondition, TimeCondition
from unbrick.model import ObservedFile, Verdict

_USUAL_FOLDER = "\\Windows"


@dataclass(frozen=True)
class Judgement:
    """A playbook's verdict on one file, the rule that gave it, and the reason where a person must look."""

    verdict: Verdict
    rule: Rule
    reason: Reason | None = None


def paths_match(playbook: Playbook, installation_folder: str, windows_path: str) -> bool:
    """Whether this playbook could have a file of that path moved; both paths begin at the volume's root.

    True only for a faulty rule's path that is not on the deny list; the file's content does not count.
    """
    if why_forbidden(windows_path) is not None:
        return False
    return any(
        rule.verdict is Verdict.FAULTY and rule.path.matches(windows_path, installation_folder)
        for rule in playbook.rules
    )


def judge(playbook: Playbook, file: ObservedFile, installation_folder: str = _USUAL_FOLDER) -> Verdict | None:
    """The playbook's verdict on a file, or None where no rule fits it."""
    judgement = weigh(playbook, file, installation_folder)
    return judgement.verdict if judgement else None


def weigh(
    playbook: Playbook,
    file: ObservedFile,
    installation_folder: str = _USUAL_FOLDER,
    latest_sensible: datetime | None = None,
) -> Judgement | None:
    """The first rule that fits a file, and what it says; None where none does.

    A modified time that is missing, earlier than the playbook's `doubt_times_before` or later than
    `latest_sensible` makes no sense.
    """
    doubtful = _is_doubtful(file.modified, playbook.doubt_times_before, latest_sensible)
    for rule in playbook.rules:
        if not rule.path.matches(file.path, installation_folder):
            continue
        when = rule.when or Match()
        if not _content_fits(when, file):
            continue
        if when.modified is not None:
            if doubtful:
                return Judgement(Verdict.PERSON, rule, Reason.DOUBTFUL_TIME)
            if not _time_fits(when.modified, file.modified):
                continue
        reason = Reason.PERSON_DECIDES if rule.verdict is Verdict.PERSON else None
        return Judgement(rule.verdict, rule, reason)
    return None


def _is_doubtful(modified: datetime | None, earliest: datetime | None, latest: datetime | None) -> bool:
    if modified is None:
        return True
    return (earliest is not None and modified < earliest) or (latest is not None and modified > latest)


def _content_fits(when: Match, file: ObservedFile) -> bool:
    if when.first_bytes is not None and not file.first_bytes.startswith(when.first_bytes):
        return False
    if when.size is not None and not _size_fits(when.size, file.size):
        return False
    if when.sha256 is not None and file.sha256.lower() not in when.sha256:
        return False
    return when.all_zero is None or when.all_zero == file.all_zero


def _size_fits(wanted: SizeCondition, size: int) -> bool:
    if wanted.exact is not None:
        return size == wanted.exact
    if wanted.at_least is not None and size < wanted.at_least:
        return False
    return wanted.at_most is None or size <= wanted.at_most


def _time_fits(wanted: TimeCondition, modified: datetime | None) -> bool:
    if modified is None:
        return False
    most = wanted.whole_hours_off or 0
    return any(_lies_in(wanted, modified + timedelta(hours=hours)) for hours in range(-most, most + 1))


def _lies_in(span: TimeCondition, moment: datetime) -> bool:
    if span.since is not None and moment < span.since:
        return False
    return span.before is None or moment < span.before
