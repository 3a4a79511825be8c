"""The chain of key sources: who is asked when, what is noted, and what `--keys` may name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.recovery_passwords import leaked_digits, make_guid, make_password

from unbrick.errors import NeedsKeyError, Reason, UsageError
from unbrick.keys.chain import KeyChain, open_sources
from unbrick.keys.password import RecoveryPassword
from unbrick.keys.sources.files import KeyFiles
from unbrick.keys.sources.source import Candidate, KeySource

ID, OTHER_ID = make_guid(1), make_guid(2)
KEYS = [RecoveryPassword.parse(make_password(seed)) for seed in range(10)]


@dataclass
class FakeSource:
    name: str
    candidates: list[Candidate]
    interactive: bool = False
    warnings: tuple[str, ...] = ()
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def find(self, protector_ids: Sequence[str]) -> Iterator[Candidate]:
        self.asked.append(tuple(protector_ids))
        yield from self.candidates


def known(seed: int, origin: str) -> Candidate:
    return Candidate(ID, KEYS[seed], origin)


def unknown(seed: int, origin: str) -> Candidate:
    return Candidate(None, KEYS[seed], origin)


def test_known_ids_come_first_then_unknown_ones_and_a_person_last() -> None:
    person: KeySource = FakeSource("the keyboard", [unknown(9, "the keyboard")], interactive=True)
    first: KeySource = FakeSource("a.csv", [known(1, "a.csv line 1"), unknown(2, "a.csv line 2")])
    second: KeySource = FakeSource("b.csv", [known(3, "b.csv line 1")])
    chain = KeyChain([person, first, second])
    origins = [candidate.origin for candidate in chain.unlock_candidates([ID])]
    assert origins == ["a.csv line 1", "b.csv line 1", "a.csv line 2", "the keyboard"]


def test_a_wrong_password_is_noted_when_the_next_is_asked_for_and_the_right_one_is_not() -> None:
    chain = KeyChain([FakeSource("keys.csv", [known(seed, f"keys.csv line {seed}") for seed in (7, 8)])])
    candidates = chain.unlock_candidates([ID], volume="partition 3")
    next(candidates)
    assert not chain.notes
    next(candidates)
    assert chain.notes == ("the password from keys.csv line 7 does not open partition 3",)


def test_later_sources_and_a_person_are_not_asked_while_a_candidate_may_still_be_right() -> None:
    first, second = FakeSource("a.csv", [known(1, "a")]), FakeSource("b.csv", [known(2, "b")])
    person = FakeSource("the keyboard", [unknown(3, "c")], interactive=True)
    candidates = KeyChain([first, second, person]).unlock_candidates([ID])
    next(candidates)
    assert (first.asked, second.asked, person.asked) == ([(ID,)], [], [])
    next(candidates)
    assert (second.asked, person.asked) == ([(ID,)], [])


def test_nobody_is_asked_where_nobody_is_there() -> None:
    person = FakeSource("the keyboard", [unknown(3, "c")], interactive=True)
    chain = KeyChain([person], interactive=False)
    assert list(chain.unlock_candidates([ID])) == []
    assert person.asked == []
    assert "no key source was given" in chain.failure([ID]).message


def test_the_same_password_is_tried_once_whoever_has_it() -> None:
    chain = KeyChain(
        [FakeSource("a", [known(1, "a"), unknown(2, "a2")]), FakeSource("b", [known(1, "b"), known(2, "b2")])]
    )
    assert [candidate.origin for candidate in chain.unlock_candidates([ID])] == ["a", "b2"]


def test_a_volume_without_a_recovery_protector_has_nothing_tried_on_it() -> None:
    source = FakeSource("a", [unknown(1, "a")])
    chain = KeyChain([source])
    assert list(chain.unlock_candidates([])) == []
    assert source.asked == []
    assert "has no recovery password protector" in chain.failure([], volume="partition 3").message


@pytest.mark.parametrize(
    ("count", "reason", "said"),
    [
        (
            0,
            Reason.KEY_MISSING,
            f"partition 3 is locked, and there is no recovery password for key ID {ID} in keys.csv",
        ),
        (1, Reason.KEY_WRONG, f"the only password found for key ID {ID} does not open partition 3"),
        (2, Reason.KEY_WRONG, f"none of the 2 passwords found for key ID {ID} opens partition 3"),
    ],
)
def test_a_volume_that_stays_locked_says_which_key_to_look_for(count: int, reason: Reason, said: str) -> None:
    chain = KeyChain([FakeSource("keys.csv", [known(seed, f"line {seed}") for seed in range(count)])])
    assert len(list(chain.unlock_candidates([ID], volume="partition 3"))) == count
    error = chain.failure([ID], volume="partition 3")
    assert isinstance(error, NeedsKeyError)
    assert (error.reason, error.message, error.exit_code) == (reason, said, 4)
    assert chain.failure([OTHER_ID]).reason == Reason.KEY_MISSING


def test_of_many_key_ids_a_few_are_named() -> None:
    ids = [f"{number:08}-0000-0000-0000-000000000000" for number in range(180)]
    message = KeyChain([]).failure(ids, volume="partition 3").message
    assert f"{ids[0]} or {ids[1]} or {ids[2]} or {ids[3]} or 176 more" in message
    assert "more" not in KeyChain([]).failure(ids[:4], volume="partition 3").message


def test_sources_warnings_reach_the_story() -> None:
    chain = KeyChain(
        [FakeSource("a", [], warnings=("a line 3: no",)), FakeSource("b", [], warnings=("b is old",))]
    )
    assert chain.warnings == ("a line 3: no", "b is old")


def test_a_path_opens_a_csv(tmp_path: Path) -> None:
    path = tmp_path / "my keys: site 4.csv"
    path.write_text(f"KeyID,RecoveryKey\n{ID},{make_password(1)}\n")
    for spec in (path, str(path)):
        (source,) = open_sources([spec])
        assert isinstance(source, KeyFiles)
        assert [candidate.origin for candidate in source.find([ID])] == ["my keys: site 4.csv line 2"]
    assert open_sources([]) == ()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("cloud:tenant", "unknown kind of key source: 'cloud:tenant'"),
        ("ldaps://dc1", "unknown kind of key source: 'ldaps://dc1'"),
        ("a\0b", "unknown kind of key source: 'a\\x00b'"),
        ("", "the name of a key source is empty"),
        ("missing/keys.csv", "there is no keys file missing/keys.csv"),
        ("x" * 5000, "there is no keys file " + "x" * 5000),
    ],
)
def test_an_unknown_key_source_is_told_what_is_understood(spec: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_sources([spec])
    assert caught.value.message == said
    assert caught.value.hint
    assert "KeyID,RecoveryKey" in caught.value.hint


@pytest.mark.parametrize(
    "spec",
    [
        make_password(1),
        make_password(1).replace("-", " "),
        make_password(1).replace("-", ""),
        "password:" + make_password(1),
    ],
)
def test_a_password_on_the_command_line_is_refused_without_repeating_it(spec: str) -> None:
    with pytest.raises(UsageError, match="does not belong on the command line") as caught:
        open_sources([spec])
    assert leaked_digits(f"{caught.value.message} {caught.value.hint}", spec) is None


def test_a_file_named_after_its_password_is_called_by_another_name(tmp_path: Path) -> None:
    path = tmp_path / f"{make_password(1)}.csv"
    path.write_text(f"KeyID,RecoveryKey\n{ID},{make_password(1)}\nx\n")
    (source,) = open_sources([path])
    assert [candidate.origin for candidate in source.find([ID])] == ["the keys file line 2"]
    assert source.warnings == ("the keys file line 3: there is no recovery password in it",)
