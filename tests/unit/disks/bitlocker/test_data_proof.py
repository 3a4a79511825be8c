"""Which locked volumes are proved to hold data, and how little proves it."""

from __future__ import annotations

import io

import pytest
from support.fve_bytes import TPM_ID, FveVolume, protector, recovery_protector, sealed

from unbrick.disks.bitlocker.data_proof import holds_data
from unbrick.disks.bitlocker.metadata import read_metadata


def proved(
    *protectors: bytes, description: str = "PC-1 D: 7/4/2024", signature: bytes = b"-FVE-FS-"
) -> bool | None:
    raw = FveVolume(description=description, protectors=protectors, signature=signature).build()
    return holds_data(read_metadata(io.BytesIO(raw), 0, len(raw)))


@pytest.mark.parametrize(
    "label",
    [
        "DESKTOP-NPM7RCA F: 7/3/2019",
        "DESKTOP-LG39GVP E: 15/09/2020",
        "PRAXIS-3 D: 04.07.2024",
        "PC-1 Z: 2024-07-19",
        "PC-1 E: 9. 8. 2018",
        "PC-1 E: 2018. 09. 08.",
        "БУХГАЛТЕРИЯ D: 4.7.24",
    ],
)
def test_another_drive_letter_in_the_label_that_windows_writes_proves_it(label: str) -> None:
    assert proved(recovery_protector(), description=label)


@pytest.mark.parametrize(
    "label",
    [
        "PC-1 C: 7/4/2024",
        "LAB-001-2 OSDisk 9/8/2018",
        "LAB-001-2 SYSTEM 9. 8. 2018",
        "DESKTOP-LG39GVP New Volume 05/05/2020",
        "PC-1 Data D: 7/4/2024",
        "PC-1 D: data 7/4/2024",
        "PC-1 d: 7/4/2024",
        "PC-1 D: ",
        "PC-1 D:",
        "D: 7/4/2024",
        "PC-1 D 7/4/2024",
        "C: D: 7/4/2024",
        "PC-1  D: 7/4/2024",
        "PC-1 DE: 7/4/2024",
        "PC-1 D: 7/4/2024 C: 7/4/2024",
        "PC-1 D: 7/4/2024 x",
        "佃剒偕䕔DOP 7/4/2019",
        "\udc00PC \u200fD: 7/4/2019",
        "",
    ],
)
def test_no_other_label_does(label: str) -> None:
    raw = FveVolume(protectors=[recovery_protector()])
    raw.description = label.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    volume = raw.build()
    assert not holds_data(read_metadata(io.BytesIO(volume), 0, len(volume)))


@pytest.mark.parametrize("kind", [0x0100, 0x0300, 0x0500, 0x0700, 0x1100, 0x4321])
def test_what_only_a_windows_has_speaks_against_every_label(kind: int) -> None:
    assert proved(recovery_protector(), protector(TPM_ID, kind, sealed(0))) is False


@pytest.mark.parametrize("kind", [0x0200, 0x1000, 0x2000])
def test_what_a_data_volume_may_have_too_does_not(kind: int) -> None:
    assert proved(recovery_protector(), protector(TPM_ID, kind, sealed(0)))
    without = proved(recovery_protector(), protector(TPM_ID, kind, sealed(0)), description="PC-1 X 7/4/2024")
    assert without is None
    system = proved(recovery_protector(), protector(TPM_ID, kind, sealed(0)), description="PC-1 C: 7/4/2024")
    assert system is False


def test_bitlocker_to_go_is_on_fat_which_no_windows_starts_from() -> None:
    assert proved(recovery_protector(), description="PC-1 STICK 7/4/2024", signature=b"MSWIN4.1")
