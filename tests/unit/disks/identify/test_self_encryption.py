"""The kernel's word on a disk that encrypts itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from unbrick.disks.identify.self_encryption import is_locked, is_opal_locked

# linux/uapi/linux/sed-opal.h: OPAL_FL_SUPPORTED … OPAL_FL_MBR_DONE
SUPPORTED, LOCKING_SUPPORTED, LOCKING_ENABLED, LOCKED, SHADOW_ENABLED, SHADOW_DONE = (
    1 << n for n in range(6)
)


@pytest.mark.parametrize(
    ("flags", "locked"),
    [
        (0, False),
        (SUPPORTED | LOCKING_SUPPORTED, False),
        (SUPPORTED | LOCKING_ENABLED, False),
        (SUPPORTED | LOCKING_ENABLED | LOCKED, True),
        (SUPPORTED | LOCKING_ENABLED | SHADOW_ENABLED, True),
        (SUPPORTED | LOCKING_ENABLED | SHADOW_ENABLED | SHADOW_DONE, False),
        (SUPPORTED | LOCKING_ENABLED | LOCKED | SHADOW_ENABLED | SHADOW_DONE, True),
    ],
)
def test_which_flags_mean_locked(flags: int, locked: bool) -> None:
    assert is_locked(flags) is locked


def test_what_has_no_opal_is_not_locked(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        assert not is_opal_locked(descriptor)
    finally:
        os.close(descriptor)


def test_the_kernels_answer_is_what_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(descriptor: int, request: int, argument: bytes) -> bytes:
        assert (descriptor, request, len(argument)) == (7, 0x800870EC, 8)
        return (SUPPORTED | LOCKED).to_bytes(4, "little") + bytes(4)

    monkeypatch.setattr("fcntl.ioctl", answer)
    assert is_opal_locked(7)
