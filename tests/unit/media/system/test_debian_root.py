"""Where the Debian packages come from, and what a person is told when they do not come."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.recorded_runner import RecordedRunner

from unbrick.errors import FailedError
from unbrick.media.system.debian_root import fetch, find_mirrors, open_root
from unbrick.media.system.definition import read_definition
from unbrick.processes.command import CommandError, Result

DEFINITION = read_definition().system
ASKED = ("apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(CODENAME)", "Created-By: Packages")


def mirrors(text: str) -> tuple[str, ...]:
    return find_mirrors(DEFINITION, RecordedRunner({ASKED: Result(ASKED, 0, text.encode(), b"")}))


def test_the_mirrors_of_this_machine_are_taken_for_the_mediums_suite() -> None:
    told = (
        "http://mirror.example/debian/ Debian bookworm\n"
        "http://mirror.example/debian/ Debian bookworm-updates\n"
        "http://mirror.example/security/ Debian bookworm-security\n"
        "http://mirror.example/debian/ Debian bookworm-backports\n"
        "https://other.example/ Other stable\n"
    )
    assert mirrors(told) == (
        "deb http://mirror.example/debian/ trixie main non-free-firmware",
        "deb http://mirror.example/security/ trixie-security main non-free-firmware",
        "deb http://mirror.example/debian/ trixie-updates main non-free-firmware",
    )


@pytest.mark.parametrize("told", ["", "https://other.example/ Other stable\n", "half a line\n"])
def test_a_machine_without_debian_mirrors_leaves_it_to_mmdebstrap(told: str) -> None:
    assert mirrors(told) == ()


class Failing:
    """mmdebstrap, as it fails."""

    def __init__(self, stderr: bytes) -> None:
        self.stderr = stderr

    def run(self, argv: Sequence[str], **_: object) -> Result:
        raise CommandError(argv, 1, self.stderr)


@pytest.mark.parametrize(
    ("stderr", "message", "hint"),
    [
        (
            b"E: Unable to locate package nonesuch\n",
            "the package nonesuch is not in this Debian",
            "system.yaml",
        ),
        (b"Err: Temporary failure resolving 'x'\n", "the Debian mirror cannot be reached", "apt-get update"),
        (b"GPG error: NO_PUBKEY 0E98404D386FA1D9\n", "signature cannot be checked", "debian-archive-keyring"),
        (b"tar: write error: No space left on device\n", "no space is left", "/tmp"),
        (b"E: You don't have enough free space in /tmp/x/.\n", "no space is left", "/tmp"),
        (b"E: newuidmap: not found; must be root\n", "may not unpack packages", "as root"),
        (b"E: something else\n", "something else", ""),
    ],
)
def test_each_cause_has_its_own_line(stderr: bytes, message: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(FailedError) as caught:
        fetch(DEFINITION, (), tmp_path / "root", Failing(stderr))  # type: ignore[arg-type]
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert hint in (caught.value.hint or "")
    assert list(tmp_path.iterdir()) == []


def test_packages_and_the_time_of_the_newest_file_are_read(tmp_path: Path) -> None:
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "etc/apt").mkdir(parents=True)
    (tmp_path / "etc/apt/sources.list").write_text(
        "deb http://x/ trixie main\ndeb http://x/ trixie-security main\n"
    )
    (tmp_path / "packages").write_text("libc6\t2.41\tamd64\tglibc\t2.41\nbusybox\t1\tamd64\tbusybox\t1\n")
    (tmp_path / "contents").mkdir()
    (tmp_path / "contents/libc6").write_text("./usr/lib/libc.so.6\n")
    for name, seconds in (("a", 1000), ("b", 2000)):
        (tmp_path / "usr/lib" / name).touch()
        os.utime(tmp_path / "usr/lib" / name, (seconds, seconds))
    root = open_root(tmp_path)
    assert [package.name for package in root.packages] == ["busybox", "libc6"]
    assert root.newest == 2000
    assert root.suites == ("trixie", "trixie-security")
    assert root.files_of("libc6") == frozenset({"usr/lib/libc.so.6"})
    assert root.files_of("firmware-x") is None


def test_a_list_of_packages_that_is_broken_is_told(tmp_path: Path) -> None:
    (tmp_path / "usr").mkdir()
    (tmp_path / "packages").write_text("libc6 2.41\n")
    with pytest.raises(FailedError, match="not a line about a package"):
        open_root(tmp_path)
