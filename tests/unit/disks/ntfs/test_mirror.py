"""The mirror of the file table's first records, as cuts of the power leave it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.ntfs_check import inconsistencies
from support.ntfs_states import make_volume

from unbrick.disks.ntfs.mirror import differing_records, mend_mirror
from unbrick.disks.ntfs.structures import FileView, Geometry, open_view, read_geometry
from unbrick.errors import NeedsHandsError


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    return make_volume(tmp_path / "volume.img", 8 << 20)


def _change(view: FileView, position: int, data: bytes) -> None:
    assert view.read(position, len(data)) != data
    view.write(position, data)


def _places(geometry: Geometry, number: int) -> tuple[int, int]:
    return geometry.mft + number * geometry.record, geometry.mirror + number * geometry.record


def _found(volume: Path) -> frozenset[str]:
    with volume.open("rb") as stream:
        return inconsistencies(stream)


def test_a_fresh_volume_has_a_true_mirror(volume: Path) -> None:
    before = volume.read_bytes()
    with open_view(volume, writable=True) as view:
        geometry = read_geometry(view)
        assert differing_records(view, geometry) == ()
        mend_mirror(view, geometry)
    assert volume.read_bytes() == before


def test_a_record_is_copied_to_a_mirror_that_has_fallen_behind(volume: Path) -> None:
    before = volume.read_bytes()
    with open_view(volume, writable=True) as view:
        geometry = read_geometry(view)
        _, mirror = _places(geometry, 0)
        _change(view, mirror + 0x08, b"another log number"[:8])
        assert differing_records(view, geometry) == (0,)
        assert any(one.startswith("mirror") for one in _found(volume))
        mend_mirror(view, geometry)
    assert volume.read_bytes() == before


def test_a_torn_record_is_taken_from_its_mirror(volume: Path) -> None:
    before = volume.read_bytes()
    with open_view(volume, writable=True) as view:
        geometry = read_geometry(view)
        record, _ = _places(geometry, 0)
        _change(view, record + 1022, b"\xee\xee")
        mend_mirror(view, geometry)
    assert volume.read_bytes() == before


@pytest.mark.parametrize("harm", ["both torn", "no record", "elsewhere"])
def test_what_cannot_be_told_is_left_alone(volume: Path, harm: str) -> None:
    with open_view(volume, writable=True) as view:
        geometry = read_geometry(view)
        record, mirror = _places(geometry, 0)
        if harm == "both torn":
            _change(view, record + 1022, b"\xee\xee")
            _change(view, mirror + 1022, b"\xdd\xdd")
        elif harm == "no record":
            _change(view, mirror, b"user")
        else:
            # A boot sector that lies: what it calls the mirror is the table's own middle.
            geometry = Geometry(
                geometry.cluster,
                geometry.record,
                geometry.mft,
                geometry.mft + 4 * geometry.record,
                geometry.length,
            )
        before = volume.read_bytes()
        with pytest.raises(NeedsHandsError) as caught:
            mend_mirror(view, geometry)
        assert caught.value.reason == "damaged-volume"
    assert volume.read_bytes() == before
