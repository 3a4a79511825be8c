"""The archive that the kernel unpacks, read back by the program cpio."""

from __future__ import annotations

import io
import stat
import subprocess
from pathlib import Path

import pytest

from unbrick.errors import FailedError
from unbrick.media.system.file_tree import FileTree, write_cpio


def archive(tree: FileTree, seconds: int = 1_700_000_000) -> bytes:
    out = io.BytesIO()
    write_cpio(tree, out, seconds)
    assert len(out.getvalue()) % 512 == 0
    return out.getvalue()


def tree_of(*paths: str) -> FileTree:
    tree = FileTree()
    for path in paths:
        tree.add_file(path, path.encode())
    return tree


def test_cpio_unpacks_files_links_and_folders_as_they_were_put_in(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * 70_001)
    tree = tree_of("a/b/c", "a/d")
    tree.add_file("program", source, executable=True)
    tree.add_link("link", "a/d")
    tree.add_folder("tmp", 0o1777)
    place = tmp_path / "place"
    place.mkdir()
    subprocess.run(["cpio", "-idm", "--quiet"], input=archive(tree), cwd=place, check=True)
    assert (place / "a/b/c").read_bytes() == b"a/b/c"
    assert (place / "program").read_bytes() == source.read_bytes()
    assert (place / "program").stat().st_mode & 0o777 == 0o755
    assert (place / "a/d").stat().st_mode & 0o777 == 0o644
    assert (place / "a/d").stat().st_mtime == 1_700_000_000
    assert (place / "link").readlink() == Path("a/d")
    assert stat.S_IMODE((place / "tmp").stat().st_mode) == 0o1777


def test_an_archive_may_follow_another() -> None:
    both = archive(tree_of("one")) + archive(tree_of("two"))
    assert len(archive(tree_of("one"))) % 512 == 0
    listed = subprocess.run(
        ["cpio", "-it", "--quiet"], input=archive(tree_of("one")), capture_output=True, check=True
    ).stdout
    assert listed.split() == [b"one"]
    assert both.count(b"TRAILER!!!") == 2


def test_the_order_in_which_things_come_makes_no_difference() -> None:
    assert archive(tree_of("a/1", "b", "a/2")) == archive(tree_of("b", "a/2", "a/1"))


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../b", "", "a//b", "./a"])
def test_a_path_that_leaves_the_tree_is_refused(path: str) -> None:
    with pytest.raises(FailedError):
        FileTree().add_file(path, b"")


def test_a_file_below_a_link_is_refused() -> None:
    tree = FileTree()
    tree.add_link("bin", "usr/bin")
    with pytest.raises(FailedError, match="no folder"):
        tree.add_file("bin/sh", b"")
