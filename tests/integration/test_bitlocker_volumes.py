"""BitLocker volumes that are not as a drill makes them: other labels, protectors, entries and copies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.drilled import Drilled, Drills
from support.fve_edit import TPM, Metadata, edit_metadata
from support.program import run_program

pytestmark = pytest.mark.usefixtures("leaves_nothing")


def edit(disk: Drilled, change: Callable[[Metadata], None], volume: int = 0) -> None:
    """Change the metadata of one of the disk's Windows volumes."""
    truth = disk.truth.volumes[volume]
    assert truth.protector
    edit_metadata(disk.image, truth.offset, disk.passwords()[truth.protector], change)


@pytest.mark.parametrize(
    ("label", "outcome"),
    [
        ("LAB-001-2 OSDisk 9/8/2018", ("needs-key", "key-missing")),
        ("", ("needs-key", "key-missing")),
        ("LAB-001 D: 9/8/2018", ("repaired", None)),
    ],
)
def test_a_second_volume_that_stays_locked_is_excused_only_by_a_proof(
    drills: Drills, tmp_path: Path, label: str, outcome: tuple[str, str | None]
) -> None:
    disk = drills.copy("two-locked", tmp_path / "disks")

    def without_tpm(metadata: Metadata) -> None:
        metadata.drop_protectors(TPM)
        metadata.describe(label)

    edit(disk, without_tpm, volume=1)
    first, second = disk.truth.volumes
    assert first.protector
    assert second.protector
    disk.keys.write_text(f"KeyID,RecoveryKey\n{first.protector},{disk.passwords()[first.protector]}\n")
    ended = run_program("repair", disk.image, "--keys", disk.keys, "--yes", "--json")
    document = ended.document
    assert (document["status"], document["reason"]) == outcome
    assert [one["status"] for one in document["installations"]] == ["repaired"]
    if outcome[0] == "needs-key":
        assert second.protector in document["error"]
        again = run_program("repair", disk.image, "--keys", disk.keys, "--yes")
        assert second.protector in again.said
