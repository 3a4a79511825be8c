"""What is found where a run was stopped halfway, or somebody has been at what it left: it needs a person.

Our own cut leaves none of it, for a run reaches the disk in one piece (`test_power_cuts.py`). It can come of
a Windows that was started, and has checked the volume, before the cut run was completed; of somebody who put
a file back by hand; or of a journal that was planted.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.bricked_volume import (
    FAULTY,
    FOLDERS,
    ZEROED,
    copy_volume,
    findings,
    make_volume,
    mounted,
    place,
    playbooks,
)
from support.repair_journal import version1, version1_header

from unbrick.drill.disk.truth import sha256_of
from unbrick.errors import NeedsHandsError
from unbrick.repair.journal.file import parse
from unbrick.repair.repair import apply_plan, make_plan
from unbrick.repair.security import FILE_DESCRIPTOR, FOLDER_DESCRIPTOR
from unbrick.repair.undo import find_runs, plan_undo
from unbrick.windows.ntfs_file import write_acl

RUN = "20240719T061203Z-8f3a1c"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Repaired once. Enough neighbours for the folder's index to lie outside its record, as on a machine."""
    folder = tmp_path_factory.mktemp("template")
    make_volume(folder / "volume.img", folder / "mount", neighbours=60)
    with mounted(folder / "volume.img", folder / "mount") as root:
        plan = make_plan(RUN, findings(root))
        apply_plan(root, plan, volume_was_dirty=False, playbooks=playbooks())
    return folder / "volume.img"


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Iterator[Path]:
    with mounted(copy_volume(template, tmp_path / "volume.img"), tmp_path / "mount") as root:
        yield root


def files(root: Path) -> dict[str, str | None]:
    return {str(path): sha256_of(path) if path.is_file() else None for path in sorted(root.rglob("*"))}


def write_journal(root: Path, change: Callable[[bytes], bytes]) -> None:
    journal = root / "Unbrick" / RUN / "journal.jsonl.gz"
    journal.write_bytes(gzip.compress(change(gzip.decompress(journal.read_bytes()))))


def without_an_end(root: Path) -> None:
    """As version 1 wrote one before its run was done."""

    def cut(data: bytes) -> bytes:
        journal = parse(data)
        assert journal is not None
        return version1(header=version1_header(journal))

    write_journal(root, cut)


def torn(root: Path) -> None:
    write_journal(root, lambda data: data[:512])


def torn_of_version_1(root: Path) -> None:
    without_an_end(root)
    torn(root)


def with_the_files_back(root: Path) -> None:
    for number, source in enumerate((FAULTY, ZEROED), start=1):
        (root / "Unbrick" / RUN / f"{number:04}.bin").rename(place(root, source))


@pytest.mark.parametrize("journal", [without_an_end, torn, torn_of_version_1])
def test_a_run_without_an_end_is_not_gone_on_with(root: Path, journal: Callable[[Path], None]) -> None:
    journal(root)
    before = files(root)
    for look in (lambda: find_runs(root), lambda: plan_undo(root, playbooks(), FOLDERS)):
        with pytest.raises(NeedsHandsError) as caught:
            look()
        assert caught.value.reason == "bad-journal"
    assert files(root) == before


def test_one_without_an_end_is_not_passed_by_although_no_file_lies_beside_it(root: Path) -> None:
    with_the_files_back(root)
    without_an_end(root)
    with pytest.raises(NeedsHandsError) as caught:
        find_runs(root)
    assert caught.value.reason == "bad-journal"


def test_a_file_that_somebody_put_back_is_in_the_way(root: Path) -> None:
    with_the_files_back(root)
    refused(root, "something-in-the-way")


def test_a_file_under_both_names_is_in_the_way(root: Path) -> None:
    os.link(root / "Unbrick" / RUN / "0001.bin", place(root, FAULTY))
    refused(root, "something-in-the-way")


def test_a_file_that_is_nowhere_is_said(root: Path) -> None:
    (root / "Unbrick" / RUN / "0001.bin").rename(root / "found.000")
    refused(root, "bad-journal")


def test_a_file_under_its_8_3_name_alone_is_not_taken(root: Path) -> None:
    """As ntfs-3g would leave it, stopped while it gives a name back."""
    (root / "Unbrick" / RUN / "0001.bin").rename(place(root, FAULTY).with_name("C-0000~1.SYS"))
    refused(root, "bad-journal")


def refused(root: Path, reason: str) -> None:
    before = files(root)
    with pytest.raises(NeedsHandsError) as caught:
        plan_undo(root, playbooks(), FOLDERS)
    assert caught.value.reason == reason
    assert files(root) == before


def test_one_run_under_two_names_is_not_believed(root: Path) -> None:
    copy = root / "Unbrick" / "20300719T061203Z-000001"
    copy.mkdir()
    write_acl(copy, FOLDER_DESCRIPTOR)
    (copy / "journal.jsonl.gz").write_bytes((root / "Unbrick" / RUN / "journal.jsonl.gz").read_bytes())
    write_acl(copy / "journal.jsonl.gz", FILE_DESCRIPTOR)
    with pytest.raises(NeedsHandsError) as caught:
        find_runs(root)
    assert caught.value.reason == "bad-journal"


@pytest.mark.parametrize("journal", [None, b"", b'{"journal": 1'])
def test_a_folder_that_tells_of_no_file_is_passed_by(root: Path, journal: bytes | None) -> None:
    before = find_runs(root)
    assert len(before) == 1
    folder = root / "Unbrick" / "20300719T061203Z-000001"
    folder.mkdir()
    write_acl(folder, FOLDER_DESCRIPTOR)
    if journal is not None:
        (folder / "journal.jsonl.gz").write_bytes(journal)
        write_acl(folder / "journal.jsonl.gz", FOLDER_DESCRIPTOR)
    assert find_runs(root) == before
    if journal is None:
        return
    (folder / "0001.bin").write_bytes(b"a file, and no journal that tells of it")
    with pytest.raises(NeedsHandsError) as caught:
        find_runs(root)
    assert caught.value.reason in ("bad-journal", "foreign-quarantine")
