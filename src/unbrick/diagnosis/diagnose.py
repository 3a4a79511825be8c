"""Holds playbooks against one installation: which files are faulty, and whether a person has to look first.

Only looks. In doubt nothing is repairable: one file that needs a person holds up the whole installation,
unless a good file at the same place is in force.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

from unbrick.diagnosis import wording
from unbrick.diagnosis.search import Candidate, Trouble, find_candidates
from unbrick.errors import Reason
from unbrick.incidents.deny import why_forbidden
from unbrick.incidents.judge import Judgement, weigh
from unbrick.incidents.pattern import component_matches, fold
from unbrick.incidents.playbook import Playbook
from unbrick.model import FileFact, Finding, ObservedFile, Status, Verdict
from unbrick.windows.installation import Installation
from unbrick.windows.observe import UnreadableFileError, observe_file

_CLOCK_TOLERANCE = timedelta(days=1)

_MOST_TELLING = (
    Reason.PROTECTED_FILE,
    Reason.TOO_MANY_FILES,
    Reason.UNREADABLE_FILE,
    Reason.DOUBTFUL_TIME,
    Reason.PERSON_DECIDES,
    Reason.UNREADABLE_HIVE,
)


@dataclass(frozen=True)
class Diagnosis:
    """What is the matter with one installation.

    `findings` are what is wrong or doubtful (verdicts faulty and person), `observations` what was seen
    besides (good and note). `reason` is set where a person has to look; then nothing may be written.
    """

    findings: tuple[Finding, ...]
    observations: tuple[Finding, ...]
    reason: str | None
    explanation: str

    @property
    def status(self) -> Status:
        """`needs-hands`, `found` or `healthy`."""
        if self.reason is not None:
            return Status.NEEDS_HANDS
        return Status.FOUND if self.findings else Status.HEALTHY

    @property
    def healthy(self) -> bool:
        """Whether every playbook was weighed, every matching file read, and nothing found wrong."""
        return self.status is Status.HEALTHY

    @property
    def repairable(self) -> tuple[Finding, ...]:
        """The findings that a repair may act on: none as long as a person has to look."""
        if self.reason is not None:
            return ()
        return tuple(finding for finding in self.findings if finding.verdict is Verdict.FAULTY)


@dataclass(frozen=True)
class _Weighed:
    """One file with its verdict and what is said of it. A `relievable` doubt ends where a good file is."""

    fact: FileFact
    verdict: Verdict
    sentence: str
    reason: Reason | None = None
    relievable: bool = False


def diagnose(
    root: Path, installation: Installation, playbooks: Sequence[Playbook], *, now: datetime | None = None
) -> Diagnosis:
    """Weigh an installation on the volume mounted at `root`.

    `now` is the clock's time (the present by default): a file from the future makes no sense. Raises
    nothing for what is on the disk; that becomes a finding or a reason.
    """
    clock = now or datetime.now(UTC)
    wrong: list[Finding] = []
    seen: list[Finding] = []
    taken: set[str] = set()
    for playbook in playbooks:
        if not _may_apply(playbook, installation):
            continue
        files = _relieve(playbook, installation, _weigh_files(root, installation, playbook, clock))
        # A file that an earlier playbook has moved cannot be moved again.
        files = [one for one in files if one.verdict is not Verdict.FAULTY or one.fact.path not in taken]
        files = _hold_up(playbook, installation, files)
        taken |= {one.fact.path for one in files if one.verdict is Verdict.FAULTY}
        for finding in _findings(playbook, files):
            (wrong if finding.verdict in (Verdict.FAULTY, Verdict.PERSON) else seen).append(finding)
    return _conclude(installation, len(playbooks), tuple(wrong), tuple(seen))


def _conclude(
    installation: Installation, playbooks: int, wrong: tuple[Finding, ...], seen: tuple[Finding, ...]
) -> Diagnosis:
    reasons = {finding.reason for finding in wrong if finding.reason is not None}
    explanations = [finding.explanation for finding in wrong]
    if not _services_known(installation):
        reasons.add(Reason.UNREADABLE_HIVE)
        explanations.append(wording.unreadable_hive(installation.warnings))
    if playbooks == 0:
        reasons.add(Reason.PERSON_DECIDES)
        explanations.append(wording.NO_PLAYBOOKS)
    reason = next((str(one) for one in _MOST_TELLING if one in reasons), None)
    if not explanations:
        explanations = [wording.nothing_found(playbooks), *(finding.explanation for finding in seen)]
    return Diagnosis(wrong, seen, reason, " ".join(explanations))


def _services_known(installation: Installation) -> bool:
    return installation.readable and installation.control_set is not None


def _may_apply(playbook: Playbook, installation: Installation) -> bool:
    """Whether what the playbook requires is there; what cannot be known counts as there."""
    required = playbook.requires
    if required is None:
        return True
    if required.services is not None and _services_known(installation):
        present = {fold(service.name) for service in installation.services}
        if not any(fold(name) in present for name in required.services):
            return False
    if required.products is not None and installation.product is not None:
        return any(component_matches(wanted, installation.product) for wanted in required.products)
    return True


def _weigh_files(
    root: Path, installation: Installation, playbook: Playbook, clock: datetime
) -> list[_Weighed]:
    found = find_candidates(root, installation.folder, (rule.path for rule in playbook.rules))
    weighed = [_cannot_look(trouble, relievable=False) for trouble in found.troubles]
    latest = _latest_sensible(playbook, clock)
    for candidate in found.files:
        one = _weigh_file(root, installation, playbook, candidate, latest)
        if one is not None:
            weighed.append(one)
    return weighed


def _latest_sensible(playbook: Playbook, clock: datetime) -> datetime | None:
    """The latest time a file can carry; None where the clock itself is known to be wrong.

    A station's battery may be dead: a clock that stands before the playbook was published is not asked.
    """
    if clock < datetime.combine(playbook.dates.published, time(), UTC):
        return None
    return clock + _CLOCK_TOLERANCE


def _weigh_file(
    root: Path,
    installation: Installation,
    playbook: Playbook,
    candidate: Candidate,
    latest: datetime | None,
) -> _Weighed | None:
    try:
        file = observe_file(root, candidate.path)
    except UnreadableFileError as error:
        trouble = Trouble(candidate.path, Reason.UNREADABLE_FILE, error.why)
        return _cannot_look(trouble, relievable=True, size=candidate.size)
    judgement = weigh(playbook, file, installation.folder, latest)
    return None if judgement is None else _weighed(file, judgement, latest)


def _weighed(file: ObservedFile, judgement: Judgement, latest: datetime | None) -> _Weighed:
    fact = FileFact(file.path, file.sha256, file.size, file.modified)
    if judgement.reason is Reason.DOUBTFUL_TIME:
        sentence = wording.doubtful_time(file.modified, latest)
    else:
        sentence = judgement.rule.explanation
    return _Weighed(fact, judgement.verdict, sentence, judgement.reason, relievable=True)


def _cannot_look(trouble: Trouble, *, relievable: bool, size: int = 0) -> _Weighed:
    fact = FileFact(wording.encodable(trouble.path), None, size, None)
    sentence = wording.cannot_look(trouble.what)
    return _Weighed(fact, Verdict.PERSON, sentence, trouble.reason, relievable=relievable)


def _relieve(playbook: Playbook, installation: Installation, files: list[_Weighed]) -> list[_Weighed]:
    """Turn doubts into notes where a good file that the same pattern names is in force."""
    good = [one.fact.path for one in files if one.verdict is Verdict.GOOD]

    def is_relieved(one: _Weighed) -> bool:
        if one.verdict is not Verdict.PERSON or not one.relievable:
            return False
        paths = [
            rule.path for rule in playbook.rules if rule.path.matches(one.fact.path, installation.folder)
        ]
        return any(path.matches(other, installation.folder) for path in paths for other in good)

    return [
        replace(one, verdict=Verdict.NOTE, reason=None, sentence=wording.relieved(one.sentence))
        if is_relieved(one)
        else one
        for one in files
    ]


def _hold_up(playbook: Playbook, installation: Installation, files: list[_Weighed]) -> list[_Weighed]:
    """Leave faulty files to a person where moving them is forbidden, would do harm, or is too much."""
    guarded = [_guard(one, installation) if one.verdict is Verdict.FAULTY else one for one in files]
    faulty = [one.fact for one in guarded if one.verdict is Verdict.FAULTY]
    limits = playbook.limits
    if len(faulty) <= limits.files and sum(fact.size for fact in faulty) <= limits.bytes:
        return guarded
    sentence = wording.too_many(limits.files, limits.bytes)
    return [
        replace(one, verdict=Verdict.PERSON, reason=Reason.TOO_MANY_FILES, sentence=sentence)
        if one.verdict is Verdict.FAULTY
        else one
        for one in guarded
    ]


def _guard(one: _Weighed, installation: Installation) -> _Weighed:
    why = why_forbidden(one.fact.path)
    service = installation.names_boot_file(one.fact.path)
    if why is None and service is not None:
        why = wording.needed_to_start(service)
    if why is None:
        return one
    sentence = wording.protected(why)
    return replace(one, verdict=Verdict.PERSON, reason=Reason.PROTECTED_FILE, sentence=sentence)


def _findings(playbook: Playbook, files: Iterable[_Weighed]) -> list[Finding]:
    """One finding for each verdict and reason, faulty ones first."""
    groups: dict[tuple[Verdict, Reason | None], list[_Weighed]] = {}
    for one in files:
        groups.setdefault((one.verdict, one.reason), []).append(one)
    order = list(Verdict)
    findings = []
    for (verdict, reason), group in sorted(groups.items(), key=lambda item: order.index(item[0][0])):
        facts = tuple(one.fact for one in group)
        text = wording.finding_text(verdict, facts, [one.sentence for one in group])
        findings.append(Finding(playbook.id, verdict, facts, text, str(reason) if reason else None))
    return findings
