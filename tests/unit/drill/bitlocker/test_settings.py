"""What a drill volume may be encrypted with."""

import random
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from unbrick.drill.bitlocker.settings import BitLockerSettings, make_recovery_password
from unbrick.errors import UsageError
from unbrick.keys.password import RecoveryPassword
from unbrick.secret import Secret

GOOD = BitLockerSettings(
    method="aes-xts-128",
    computer="WARD-7",
    recovery_password=Secret("235818-357951-253979-013365-241120-245575-342914-591910"),
    protector_id="64311DEA-4587-4029-924A-BA299647998E",
    seed=1,
    created=datetime(2024, 7, 4, tzinfo=UTC),
)


def test_description_is_dated_as_windows_does() -> None:
    assert GOOD.description == "WARD-7 C: 7/4/2024"
    assert replace(GOOD, drive="D:", created=datetime(2023, 12, 31, tzinfo=UTC)).description == (
        "WARD-7 D: 12/31/2023"
    )


@pytest.mark.parametrize(
    "password",
    [
        "",
        "235818-357951-253979-013365-241120-245575-342914",
        "235819-357951-253979-013365-241120-245575-342914-591910",
        "720896-357951-253979-013365-241120-245575-342914-591910",
        "235818-357951-253979-13365-241120-245575-342914-591910",
        "235818 357951 253979 013365 241120 245575 342914 591910",
        "235818-357951-253979-013365-241120-245575-342914-591910\n",
    ],
)
def test_a_password_no_windows_made_is_refused_and_not_repeated(password: str) -> None:
    with pytest.raises(UsageError) as caught:
        replace(GOOD, recovery_password=Secret(password))
    assert "357951" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"method": "aes-cbc-128"},
        {"protector_id": "64311dea-4587-4029-924a-ba299647998e"},
        {"protector_id": "{64311DEA-4587-4029-924A-BA299647998E}"},
        {"created": datetime(2024, 7, 4)},
    ],
)
def test_other_impossible_settings_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        replace(GOOD, **change)  # type: ignore[arg-type]


def test_made_passwords_are_valid_and_follow_from_the_generator() -> None:
    one, two = make_recovery_password(random.Random(5)), make_recovery_password(random.Random(5))
    assert one == two
    assert one != make_recovery_password(random.Random(6))
    generator = random.Random(1)
    for _ in range(200):
        made = make_recovery_password(generator)
        assert len(made.reveal()) == 55
        assert RecoveryPassword.parse(made.reveal().decode()).secret == made


def test_the_password_shows_nowhere() -> None:
    assert "357951" not in repr(GOOD)
