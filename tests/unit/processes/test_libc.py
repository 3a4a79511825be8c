"""What the kernel refuses comes back as an OSError that names what it is about."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from unbrick.processes import libc


def test_a_refusal_has_its_number_and_its_path(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        libc.read_xattr(tmp_path / "absent", "user.x")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOENT, str(tmp_path / "absent"))
    with pytest.raises(OSError, match="Invalid argument"):
        libc.unmount(tmp_path)


def test_an_attribute_is_read_whole_and_that_of_a_link_is_not_its_targets(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.setxattr(tmp_path / "file", "user.x", b"a\0" * 900)
    (tmp_path / "link").symlink_to("file")
    assert libc.read_xattr(tmp_path / "file", "user.x") == b"a\0" * 900
    with pytest.raises(OSError, match=r".") as caught:
        libc.read_xattr(tmp_path / "link", "user.x")
    assert caught.value.errno == errno.ENODATA
