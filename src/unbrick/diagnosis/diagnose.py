"""Weighs one installation against playbooks: which files are faulty, and what a person has to look at.

A sure fault may be taken away also where something else needs a person; where the registry cannot be read
nothing may, because which files Windows needs is then not known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

from unbrick.diagnosis import wording
from unbrick.diagnosis.search import Candidate, Names, Trouble, find_candidates, is_there
from unbrick.errors import Reason
from unbrick.incidents.deny import why_forbidden
from unbrick.incidents.judge import Judgement, weigh
from unbrick.incidents.pattern import PathPattern, component_matches, fold
from unbrick.incidents.playbook import Playbook, Remedy
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
    """What is wrong with one installation.

    `findings` have the verdicts faulty and person, `observations` good and note. `reason` is set where a
    person has to look; where `held_up`, nothing may be written before one has.
    """

    findings: tuple[Finding, ...]
    observations: tuple[Finding, ...]
    reason: str | None
    explanation: str
    held_up: bool = False

    @property
    def status(self) -> Status:
        """`healthy` only where every playbook was weighed, every matching file read, nothing found wrong."""
        if self.reason is not None:
            return Status.NEEDS_HANDS
        return Status.FOUND if self.findings else Status.HEALTHY

    @property
    def repairable(self) -> tuple[Finding, ...]:
        """The findings that a repair may act on: those that are sure."""
        if self.held_up:
            return ()
        return tuple(finding for finding in self.findings if finding.verdict is Verdict.FAULTY)


@dataclass(frozen=True)
class _Weighed:
    """A file and its verdict; a good file beside it ends a `relievable` doubt, a faulty one `only_alone`."""

    fact: FileFact
    verdict: Verdict
    sentence: str
    reason: Reason | None = None
    relievable: bool = False
    only_alone: bool = False
    action: Remedy | None = None


def diagnose(
    root: Path, installation: Installation, playbooks: Sequence[Playbook], *, now: datetime | None = None
) -> Diagnosis:
    """Weigh an installation on the volume mounted at `root`.

    `now` is the clock's time: a file from the future makes no sense. Raises nothing for what is on the disk:
    that becomes a finding or a reason.
    """
    clock = now or datetime.now(UTC)
    wrong: list[Finding] = []
    seen: list[Finding] = []
    taken: set[str] = set()
    names = Names()
    for playbook in playbooks:
        if not _may_apply(playbook, installation):
            continue
        files = _relieve(playbook, installation, _weigh_files(root, installation, playbook, clock, names))
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
    held_up = not _services_known(installation)
    return Diagnosis(wrong, seen, reason, " ".join(explanations), held_up)


def _services_known(installation: Installation) -> bool:
    return installation.readable and installation.control_set is not None


def _may_apply(playbook: Playbook, installation: Installation) -> bool:
    """What cannot be known counts as present."""
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
    root: Path, installation: Installation, playbook: Playbook, clock: datetime, names: Names
) -> list[_Weighed]:
    patterns = [rule.path for rule in playbook.rules]
    found = find_candidates(root, installation.folder, patterns, names)
    weighed = [_cannot_look(trouble, relievable=False) for trouble in found.troubles]
    if _services_known(installation):
        weighed += _missing_drivers(root, installation, patterns, names)
    latest = _latest_sensible(playbook, clock)
    for candidate in found.files:
        one = _weigh_file(root, installation, playbook, candidate, latest)
        if one is not None:
            weighed.append(one)
    return weighed


def _missing_drivers(
    root: Path, installation: Installation, patterns: Iterable[PathPattern], names: Names
) -> Iterator[_Weighed]:
    """The boot drivers that should be in a searched folder and are not there.

    What hides them may hide a faulty file, too: a damaged index shows a folder without some of its names.
    Where a whole folder is missing on the way, so is every driver below it.
    """
    missing: dict[str, str] = {}
    for folder in {pattern.folder_below(installation.folder) for pattern in patterns}:
        drivers = installation.boot_files_in(folder)
        for above in _ways_to(folder):
            if not is_there(root, above, names):
                drivers = installation.boot_files_in(above, whole_tree=True)
                break
        missing |= {path: service for path, service in drivers.items() if not is_there(root, path, names)}
    sentence = wording.missing_drivers(sorted(set(missing.values())))
    for path in sorted(missing):
        yield _Weighed(FileFact(path, None, 0, None), Verdict.PERSON, sentence, Reason.UNREADABLE_FILE)


def _ways_to(folder: str) -> Iterator[str]:
    """The folders on the way to one, from the volume's root down, and itself."""
    parts = folder.strip("\\").split("\\")
    for depth in range(1, len(parts) + 1):
        yield "\\" + "\\".join(parts[:depth])


def _latest_sensible(playbook: Playbook, clock: datetime) -> datetime | None:
    """The latest time a file can have; None where the clock itself is known to be wrong."""
    # A station's battery may be dead.
    if clock < datetime.combine(playbook.dates.published, time(), UTC):
        return None
    return clock + _CLOCK_TOLERANCE


def _weigh_file(
    root: Path, installation: Installation, playbook: Playbook, candidate: Candidate, latest: datetime | None
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
    return _Weighed(
        fact,
        judgement.verdict,
        sentence,
        judgement.reason,
        relievable=True,
        only_alone=judgement.rule.only_alone is True,
        action=judgement.rule.action,
    )


def _cannot_look(trouble: Trouble, *, relievable: bool, size: int = 0) -> _Weighed:
    fact = FileFact(wording.encodable(trouble.path), None, size, None)
    sentence = wording.cannot_look(trouble.what)
    return _Weighed(fact, Verdict.PERSON, sentence, trouble.reason, relievable=relievable)


def _relieve(playbook: Playbook, installation: Installation, files: list[_Weighed]) -> list[_Weighed]:
    """Turn doubts into notes where a file that the same pattern found has settled them."""

    def patterns_of(fact: FileFact) -> set[PathPattern]:
        return {rule.path for rule in playbook.rules if rule.path.matches(fact.path, installation.folder)}

    def patterns_with(verdict: Verdict) -> set[PathPattern]:
        return {path for one in files if one.verdict is verdict for path in patterns_of(one.fact)}

    good, faulty = patterns_with(Verdict.GOOD), patterns_with(Verdict.FAULTY)

    def settled(one: _Weighed) -> _Weighed:
        if one.verdict is not Verdict.PERSON or not one.relievable:
            return one
        if good & patterns_of(one.fact):
            sentence = wording.relieved_by_good(one.sentence)
        elif one.only_alone and faulty & patterns_of(one.fact):
            sentence = wording.relieved_by_faulty(one.sentence)
        else:
            return one
        return replace(one, verdict=Verdict.NOTE, reason=None, sentence=sentence)

    return [settled(one) for one in files]


def _hold_up(playbook: Playbook, installation: Installation, files: list[_Weighed]) -> list[_Weighed]:
    """Leave faulty files to a person where moving them is forbidden, does harm, or exceeds the limits."""
    alike = _spelled_alike([one.fact.path for one in files if one.verdict is Verdict.FAULTY])
    guarded = [_guard(one, installation, alike) if one.verdict is Verdict.FAULTY else one for one in files]
    faulty = [one.fact for one in guarded if one.verdict is Verdict.FAULTY]
    limits = playbook.limits
    # A search that was broken off has not seen how many there are.
    whole = not any(one.reason is Reason.TOO_MANY_FILES for one in files)
    if whole and len(faulty) <= limits.files and sum(fact.size for fact in faulty) <= limits.bytes:
        return guarded
    sentence = wording.too_many(limits.files, limits.bytes) if whole else wording.NOT_ALL_SEEN
    return [
        replace(one, verdict=Verdict.PERSON, reason=Reason.TOO_MANY_FILES, sentence=sentence)
        if one.verdict is Verdict.FAULTY
        else one
        for one in guarded
    ]


def _spelled_alike(paths: Sequence[str]) -> set[str]:
    """The paths that neither Windows nor a journal can tell from another, by their name or their folder."""
    names = Counter(path.casefold() for path in paths)
    folders = {path.rpartition("\\")[0] for path in paths}
    alike = Counter(folder.casefold() for folder in folders)
    return {
        path for path in paths if names[path.casefold()] > 1 or alike[path.rpartition("\\")[0].casefold()] > 1
    }


def _guard(one: _Weighed, installation: Installation, alike: set[str]) -> _Weighed:
    if one.fact.path in alike:
        return replace(
            one, verdict=Verdict.PERSON, reason=Reason.PERSON_DECIDES, sentence=wording.SPELLED_ALIKE
        )
    why = why_forbidden(one.fact.path)
    service = installation.names_boot_file(one.fact.path)
    if why is None and service is not None:
        why = wording.needed_to_start(service)
    if why is None:
        return one
    sentence = wording.protected(why)
    return replace(one, verdict=Verdict.PERSON, reason=Reason.PROTECTED_FILE, sentence=sentence)


def _findings(playbook: Playbook, files: Iterable[_Weighed]) -> list[Finding]:
    """One finding for each verdict, reason and action, faulty ones first."""
    groups: dict[tuple[Verdict, Reason | None, Remedy | None], list[_Weighed]] = {}
    for one in files:
        action = one.action if one.verdict is Verdict.FAULTY else None
        groups.setdefault((one.verdict, one.reason, action), []).append(one)
    order = list(Verdict)
    findings = []
    for (verdict, reason, action), group in sorted(groups.items(), key=lambda item: order.index(item[0][0])):
        facts = tuple(one.fact for one in group)
        text = wording.finding_text(verdict, facts, [one.sentence for one in group])
        why = str(reason) if reason else None
        findings.append(Finding(playbook.id, verdict, facts, text, why, action))
    return findings
