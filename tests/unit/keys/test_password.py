"""The recovery password as a type: what it accepts, how it names what is wrong, and that it never shows."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.artefacts import artefact
from support.recovery_passwords import leaked_digits, make_password

from unbrick.errors import UsageError
from unbrick.keys.password import PasswordError, RecoveryPassword

GOOD = make_password(1)
GROUPS = GOOD.split("-")

numbers = st.lists(st.integers(0, 65535), min_size=8, max_size=8)
separators = st.sampled_from(
    ["-", " ", "  ", " - ", "\t", "\u2013", "\u2014", "\u2011", "\u2212", "\u00a0", "\r\n", "--"]
)


def canonical(values: Sequence[int]) -> str:
    return "-".join(f"{value * 11:06d}" for value in values)


@given(
    numbers, st.lists(separators, min_size=7, max_size=7), st.sampled_from(["", " ", "\t", "\r\n", "\ufeff"])
)
def test_any_separators_give_the_same_canonical_text(
    values: list[int], between: list[str], around: str
) -> None:
    groups = canonical(values).split("-")
    text = "".join(group + separator for group, separator in zip(groups, [*between, ""], strict=True))
    secret = RecoveryPassword.parse(around + text + around).secret
    assert secret.reveal().decode() == canonical(values)
    assert len(secret.reveal()) == 55


@given(numbers)
def test_48_digits_in_a_row_are_cut_into_groups(values: list[int]) -> None:
    run = canonical(values).replace("-", "")
    assert RecoveryPassword.parse(run).secret.reveal().decode() == canonical(values)


def test_every_wrong_digit_is_noticed_whatever_it_is() -> None:
    """A digit off by d at place p changes the group by d * 10^p, and 11 divides neither."""
    assert all(
        (wrong - right) * 10**place % 11
        for place in range(6)
        for right in range(10)
        for wrong in range(10)
        if wrong != right
    )


def test_every_pair_of_swapped_digits_is_noticed() -> None:
    """Neighbours a, b swapped change the group by 9 * (a - b) * 10^p."""
    assert all(
        9 * (a - b) * 10**place % 11 for place in range(5) for a in range(10) for b in range(10) if a != b
    )


@given(numbers, st.integers(0, 47), st.integers(1, 9), st.booleans())
def test_one_wrong_digit_names_its_group(values: list[int], place: int, change: int, in_a_row: bool) -> None:
    digits = [int(digit) for digit in canonical(values).replace("-", "")]
    digits[place] = (digits[place] + change) % 10
    run = "".join(map(str, digits))
    text = run if in_a_row else "-".join(run[start : start + 6] for start in range(0, 48, 6))
    with pytest.raises(PasswordError) as caught:
        RecoveryPassword.parse(text)
    assert caught.value.group == place // 6 + 1
    assert caught.value.message.startswith(f"group {place // 6 + 1} is not divisible by 11")
    assert leaked_digits(caught.value.message, text) is None


@given(numbers, st.integers(0, 7), st.integers(65536, 90909))
def test_a_group_that_no_16_bits_hold_is_refused_by_number(values: list[int], index: int, value: int) -> None:
    groups = canonical(values).split("-")
    groups[index] = f"{value * 11:06d}"
    with pytest.raises(PasswordError, match=f"^group {index + 1} is too large") as caught:
        RecoveryPassword.parse(" ".join(groups))
    assert caught.value.group == index + 1


def test_the_largest_group_is_720885() -> None:
    assert RecoveryPassword.parse("-".join(["720885"] * 8)).secret.reveal() == b"-".join([b"720885"] * 8)
    with pytest.raises(PasswordError, match="group 8 is too large"):
        RecoveryPassword.parse("-".join([*["720885"] * 7, "720896"]))


@pytest.mark.parametrize(
    ("replaced", "said"),
    [
        ("12345", "group 3 has 5 digits, not 6"),
        ("1", "group 3 has 1 digit, not 6"),
        ("1234567", "group 3 has 7 digits, not 6"),
        ("12345O", "group 3 holds something that is not a digit"),
        ("l23456", "group 3 holds something that is not a digit"),
        ("１２３４５６", "group 3 holds something that is not a digit"),
        ("²²²²²²", "group 3 holds something that is not a digit"),
    ],
)
def test_a_group_of_another_shape_is_named(replaced: str, said: str) -> None:
    groups = [*GROUPS[:2], replaced, *GROUPS[3:]]
    with pytest.raises(PasswordError) as caught:
        RecoveryPassword.parse("-".join(groups))
    assert (caught.value.message, caught.value.group) == (said, 3)


def test_all_mistyped_groups_are_named_at_once() -> None:
    groups = [*GROUPS[:1], "000001", *GROUPS[2:6], "12", *GROUPS[7:]]
    with pytest.raises(PasswordError) as caught:
        RecoveryPassword.parse("-".join(groups))
    assert caught.value.group == 2
    assert (
        caught.value.message
        == "group 2 is not divisible by 11: a digit in it is wrong; group 7 has 2 digits, not 6"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no digit in it"),
        (" - \u2013 ", "there is no digit in it"),
        ("-".join(GROUPS[:7]), "7 groups of digits, and 8 are needed"),
        ("-".join([*GROUPS, GROUPS[0]]), "9 groups of digits, and 8 are needed"),
        ("0" * 47, "47 characters in a row, and 48 digits are needed"),
        ("0" * 49, "49 characters in a row, and 48 digits are needed"),
        ("1.23457E+47", "a spreadsheet has rounded it to a short number, and its digits are lost"),
        ("1,23E47", "a spreadsheet has rounded it to a short number, and its digits are lost"),
        (GOOD * 30, "this text is far too long for a recovery password"),
    ],
)
def test_what_has_no_single_mistyped_group_says_what_is_missing(text: str, said: str) -> None:
    with pytest.raises(PasswordError) as caught:
        RecoveryPassword.parse(text)
    assert (caught.value.message, caught.value.group) == (said, None)
    assert isinstance(caught.value, UsageError)


def test_the_key_of_microsofts_documentation_is_not_a_password() -> None:
    sample = json.loads(artefact("keys/graph_get_recoveryKey_with_key.json").read_text())["value"]["key"]
    with pytest.raises(PasswordError) as caught:
        RecoveryPassword.parse(sample)
    assert caught.value.group == 1
    assert all(f"group {number} " in caught.value.message for number in range(1, 9))
    assert leaked_digits(caught.value.message, sample) is None


def test_it_cannot_be_shown_stored_or_hashed() -> None:
    password = RecoveryPassword.parse(GOOD)
    shown = [
        repr(password),
        str(password),
        f"{password}",
        f"{password!r:>80}",
        f"{[password]}",
    ]
    assert all(leaked_digits(text, GOOD) is None for text in shown)
    assert "***" in shown[0]
    with pytest.raises(TypeError):
        pickle.dumps(password)
    with pytest.raises(TypeError):
        copy.deepcopy(password)
    with pytest.raises(TypeError):
        hash(password)


def test_two_spellings_are_equal_and_two_passwords_are_not() -> None:
    assert RecoveryPassword.parse(GOOD) == RecoveryPassword.parse(GOOD.replace("-", ""))
    assert RecoveryPassword.parse(GOOD) != RecoveryPassword.parse(make_password(2))


@given(st.text() | st.text("0123456789- \u2013", max_size=70))
def test_any_text_is_a_password_or_a_password_error_without_digits(text: str) -> None:
    try:
        secret = RecoveryPassword.parse(text).secret
    except PasswordError as refused:
        error = refused
    else:
        assert RecoveryPassword.parse(secret.reveal().decode()).secret == secret
        return
    assert leaked_digits(f"{error.message} {error.hint}", text) is None
    assert error.group is None or 1 <= error.group <= 8
