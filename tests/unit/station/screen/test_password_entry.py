"""A recovery password typed by a person or a scanner: noise is let by, and a wrong group is seen at once."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.recovery_passwords import make_password

from unbrick.keys.password import GROUPS, RecoveryPassword
from unbrick.station.screen.keystrokes import KeyDecoder
from unbrick.station.screen.password_entry import PasswordEntry

_ON_A_US_KEYBOARD = str.maketrans("1234567890", "!@#$%^&*()")
_LEFT, _RIGHT, _DELETE = "\x1b[D", "\x1b[C", "\x1b[3~"

passwords = st.lists(st.integers(0, 65535), min_size=8, max_size=8).map(
    lambda numbers: [f"{number * 11:06d}" for number in numbers]
)


def typed(text: str, entry: PasswordEntry | None = None) -> PasswordEntry:
    entry = entry or PasswordEntry()
    for key in KeyDecoder().feed(text.encode()):
        entry.press(key)
    return entry


def same(entry: PasswordEntry, groups: list[str]) -> bool:
    return entry.password() == RecoveryPassword.parse("-".join(groups))


@given(passwords, st.sampled_from(["", "-", " ", " - ", "\u2013", "/", "?", "'"]))
def test_dashes_spaces_and_what_other_keyboards_make_of_them_are_let_by(
    groups: list[str], between: str
) -> None:
    assert same(typed(between.join(groups)), groups)


@given(passwords, st.data())
def test_noise_of_a_scanner_is_let_by(groups: list[str], data: st.DataObject) -> None:
    noise = st.text(st.sampled_from("-_ .,;:abcxyzABC|~<>[]é§\x1d\x02\x03"), max_size=3)
    text = "".join(data.draw(noise) + digit for digit in "-".join(groups))
    assert same(typed(text + data.draw(noise)), groups)


@given(passwords)
def test_digits_that_arrive_as_the_signs_above_them_are_digits(groups: list[str]) -> None:
    text = "-".join(groups).translate(_ON_A_US_KEYBOARD)
    assert same(typed(text), groups)


@given(passwords)
def test_a_scanner_set_up_for_a_french_keyboard_sends_its_dash_as_a_six(groups: list[str]) -> None:
    text = "6".join(group.translate(_ON_A_US_KEYBOARD) for group in groups)
    assert same(typed(text), groups)


@given(passwords)
def test_what_comes_after_the_last_digit_changes_nothing(groups: list[str]) -> None:
    assert same(typed("-".join(groups) + "-" + "-".join(reversed(groups))), groups)


@given(passwords, st.integers(0, 7), st.integers(0, 5), st.integers(1, 9))
def test_a_wrong_digit_is_seen_as_soon_as_its_group_is_complete(
    groups: list[str], group: int, place: int, more: int
) -> None:
    wrong = groups[group][:place] + str((int(groups[group][place]) + more) % 10) + groups[group][place + 1 :]
    entry = typed("-".join([*groups[:group], wrong[:-1]]))
    assert entry.wrong == []
    typed(wrong[-1], entry)
    assert entry.wrong == [group]
    typed("".join(groups[group + 1 :]), entry)
    assert entry.complete
    assert entry.password() is None
    entry.go_to_trouble()
    assert entry.current == group
    assert same(typed(groups[group], entry), groups)


def test_two_wrong_groups_are_put_right_one_after_the_other() -> None:
    groups = make_password(3).split("-")
    entry = typed("".join(["111113", groups[1], "111112", *groups[3:]]))
    assert entry.wrong == [0, 2]
    entry.go_to_trouble()
    typed(groups[0], entry)
    assert entry.current == 2, "straight to the next one that is wrong"
    assert same(typed(groups[2], entry), groups)


def test_arrows_go_from_group_to_group_and_typing_there_replaces_it() -> None:
    groups = make_password(4).split("-")
    entry = typed("".join(groups))
    typed(_LEFT * 20, entry)
    assert entry.current == 0
    assert same(entry, groups), "going there changes nothing"
    typed(_RIGHT * 20, entry)
    assert entry.current == GROUPS - 1
    typed("000011", entry)
    assert entry.groups[-1] == "000011"


def test_backspace_goes_back_over_the_groups() -> None:
    groups = make_password(5).split("-")
    entry = typed("".join(groups) + "\x7f" * 8)
    assert entry.groups[6:] == [groups[6][:4], ""]
    assert same(typed(groups[6][4:] + groups[7], entry), groups)
    typed("\x7f" * 100, entry)
    assert not any(entry.groups)
    assert entry.current == 0


def test_delete_begins_again() -> None:
    entry = typed("123456789" + _DELETE)
    assert not any(entry.groups)
    groups = make_password(6).split("-")
    assert same(typed("".join(groups), entry), groups)


def test_missing_digits_are_gone_to() -> None:
    groups = make_password(7).split("-")
    entry = typed("".join(groups)[:-3])
    typed(_LEFT * 4, entry)
    entry.go_to_trouble()
    assert entry.current == 7
    assert same(typed(groups[7][3:], entry), groups), "what was there of it stays"


@pytest.mark.parametrize("seed", range(20))
def test_nothing_of_it_is_ever_printed(seed: int) -> None:
    entry = typed(make_password(seed)[: random.Random(seed).randrange(60)])
    assert not any(character.isdigit() for character in repr(entry).split(" at 0x")[0])
    entry.clear()
    assert not any(entry.groups)
