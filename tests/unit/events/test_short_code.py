"""The code on the sticker: the same for a machine, told apart by ear and hand, and a slip is noticed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from unbrick.events.short_code import ALPHABET, is_short_code, short_code
from unbrick.model import Machine

machines = st.builds(
    Machine,
    smbios_uuid=st.none() | st.uuids().map(lambda one: str(one).upper()),
    serial=st.none() | st.text(min_size=1, max_size=20),
    hostnames=st.lists(st.text(min_size=1, max_size=15), max_size=2).map(tuple),
)
_PLACES = (0, 1, 2, 3, 5, 6, 7, 8)


@given(machines, st.text(max_size=30))
def test_a_code_is_two_groups_of_four_and_right(machine: Machine, run: str) -> None:
    code = short_code(machine, run)
    assert [len(group) for group in code.split("-")] == [4, 4]
    assert is_short_code(code)
    assert is_short_code(code.lower().replace("-", " "))


def test_no_two_characters_are_taken_for_one_another() -> None:
    for alike in ("0O", "0D", "1I", "1L", "5S", "8B", "2Z", "6G", "UV"):
        assert len(set(alike) & set(ALPHABET)) <= 1, alike
    assert not set("AEIOU") & set(ALPHABET), "no words"


@given(machines, st.sampled_from(_PLACES), st.sampled_from(ALPHABET))
def test_one_wrong_character_is_noticed(machine: Machine, place: int, character: str) -> None:
    code = short_code(machine, "r")
    slipped = code[:place] + character + code[place + 1 :]
    assert is_short_code(slipped) is (slipped == code)


@given(machines, st.sampled_from(_PLACES), st.sampled_from(_PLACES))
def test_two_characters_exchanged_are_noticed(machine: Machine, one: int, other: int) -> None:
    code = list(short_code(machine, "r"))
    before = "".join(code)
    code[one], code[other] = code[other], code[one]
    assert is_short_code("".join(code)) is ("".join(code) == before)


def test_a_machine_has_the_same_code_at_every_visit_and_another_machine_another() -> None:
    first = Machine(smbios_uuid="4C4C4544-0042-3510-8052-B4C04F564432", hostnames=("PC-17",))
    renamed = Machine(smbios_uuid="4C4C4544-0042-3510-8052-B4C04F564432", hostnames=("PC-18",))
    other = Machine(smbios_uuid="4C4C4544-0042-3510-8052-B4C04F564433", hostnames=("PC-17",))
    assert short_code(first, "one") == short_code(renamed, "two")
    assert short_code(first, "one") != short_code(other, "one")
    assert short_code(Machine(), "one") != short_code(Machine(), "two"), "of nothing else is known"


def test_what_is_no_code_is_none() -> None:
    for text in ("", "K7M3", "K7M3-9XPCC", "O7M3-9XPC", "\u0660" * 8, "-" * 8):
        assert not is_short_code(text)
