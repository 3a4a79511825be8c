"""Whatever a playbook asks for: a drill plays it as the playbook itself would judge it, or says why not."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as some

from unbrick.drill.contents.faults import UnplayableError, Victim, play
from unbrick.drill.contents.samples import judgement_of
from unbrick.drill.options import dice
from unbrick.incidents.pattern import parse_pattern
from unbrick.incidents.playbook import (
    Dates,
    Limits,
    Match,
    Playbook,
    Remedy,
    Rule,
    SizeCondition,
    TimeCondition,
)
from unbrick.model import Verdict

_PATHS = (
    r"%SystemRoot%\System32\drivers\Vendor\a*.bin",
    r"%systemroot%\system32\DRIVERS\vendor\A?.bin",
    r"%SystemRoot%\System32\drivers\Vendor\fixed.bin",
    r"\ProgramData\Vendor\*\*.dat",
    r"\ProgramData\Vendor\odd*",
    r"\root-?.dat",
)
_TIMES = [datetime(2024, 7, day, hour, tzinfo=UTC) for day in (1, 19, 20) for hour in (0, 4, 5)]
_spans = some.tuples(some.sampled_from(_TIMES), some.sampled_from([None, 1, 3600, 86_400]), some.booleans())


def _time(span: tuple[datetime, int | None, bool]) -> TimeCondition:
    at, seconds, after = span
    if seconds is not None:
        return TimeCondition(since=at, before=at + timedelta(seconds=seconds))
    return TimeCondition(since=at) if after else TimeCondition(before=at)


_matches = some.builds(
    Match,
    first_bytes=some.none() | some.sampled_from([b"\0", b"\0\0\0\0", b"AB", b"AB\0\0"]),
    size=some.none()
    | some.sampled_from([SizeCondition(exact=4), SizeCondition(at_most=10), SizeCondition(at_least=60_000)]),
    sha256=some.sampled_from([None] * 7 + [("ab" * 32,)]),
    modified=some.none() | some.builds(_time, _spans),
    all_zero=some.none() | some.booleans(),
)


def _rule(path: str, verdict: Verdict, when: Match | None) -> Rule:
    action = Remedy.QUARANTINE if verdict is Verdict.FAULTY else None
    return Rule(parse_pattern(path), verdict, "Said of one.", when if when != Match() else None, action)


_rules = some.builds(
    _rule, some.sampled_from(_PATHS), some.sampled_from([Verdict.FAULTY, *Verdict]), _matches
)
_playbooks = some.builds(
    Playbook,
    id=some.just("any"),
    title=some.just("Any incident"),
    dates=some.just(Dates(published=date(2024, 7, 21))),
    references=some.just(("https://example.org/",)),
    limits=some.builds(Limits, files=some.integers(1, 4), bytes=some.sampled_from([4, 5_000, 2**20])),
    rules=some.lists(_rules, min_size=1, max_size=6).map(tuple),
    doubt_times_before=some.none() | some.sampled_from([datetime(2011, 1, 1, tzinfo=UTC), _TIMES[4]]),
)


@settings(max_examples=300)
@given(_playbooks, some.integers(0, 3), some.booleans())
def test_what_is_planted_is_what_the_playbook_says_of_it(
    playbook: Playbook, variant: int, spared: bool
) -> None:
    victim = Victim("\\Users\\a\\Documents", variant, spared=spared)
    try:
        files = play(playbook, dice(1), victim)
    except UnplayableError:
        return
    faulty = [file for file in files if file.faulty]
    assert bool(faulty) is not spared
    assert len(faulty) <= playbook.limits.files
    assert sum(len(file.content) for file in faulty) <= playbook.limits.bytes
    for file in files:
        judgement = judgement_of(playbook, file)
        verdict = judgement.verdict if judgement else None
        assert verdict is not Verdict.PERSON
        assert (verdict is Verdict.FAULTY) is file.faulty
    paths = [path.casefold() for file in files for path in (file.path, *file.links)]
    assert len(set(paths)) == len(paths)
    assert files == play(playbook, dice(1), victim)
