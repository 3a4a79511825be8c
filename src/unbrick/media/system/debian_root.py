"""The Debian packages of the medium, unpacked into a folder, from this machine's own mirror.

None of their scripts runs, so an ordinary user can build and the outcome depends on the packages alone.
Programs of the unpacked system are run with its own loader and libraries.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from unbrick.errors import FailedError
from unbrick.media.system.definition import SystemDefinition
from unbrick.processes.command import CommandError, Result, Runner, SystemRunner

_FETCH_SECONDS = 1800.0
_UNPACK_SECONDS = 600.0
_TARGETS_SECONDS = 60.0
_LIBRARIES = "usr/lib/x86_64-linux-gnu"
_LOADER = f"{_LIBRARIES}/ld-linux-x86-64.so.2"
MERGED = ("bin", "lib", "lib64", "sbin")
"""Links into /usr since Debian 13."""
NETWORK_ENVIRONMENT = (
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    "SSL_CERT_FILE",
)
"""Environment of a computer behind a proxy, for all that fetches."""
_ENVIRONMENT = ("TMPDIR", *NETWORK_ENVIRONMENT)
# Run by mmdebstrap, $1 is the unpacked system: which packages these are, and which files each of them has.
# Kernel and firmware are large to list, and the medium always has files of them.
_WRITE_LISTS = """
mkdir "$1/contents"
for deb in "$1"/var/cache/apt/archives/*.deb; do
    name=$(dpkg-deb --field "$deb" Package)
    dpkg-deb --show --showformat='${Package}\\t${Version}\\t${Architecture}\\t' "$deb"
    dpkg-deb --show --showformat='${source:Package}\\t${source:Version}\\n' "$deb"
    case $name in
        firmware-*|linux-image-*) ;;
        *) dpkg-deb --fsys-tarfile "$deb" | tar -t >"$1/contents/$name" ;;
    esac
done >"$1/packages"
"""


@dataclass(frozen=True, order=True)
class DebianPackage:
    """One binary package, and the source package it was built from."""

    name: str
    version: str
    architecture: str
    source: str
    source_version: str


@dataclass(frozen=True)
class DebianRoot:
    """An unpacked system."""

    folder: Path
    packages: tuple[DebianPackage, ...]
    newest: int
    suites: tuple[str, ...]

    def files_of(self, package: str) -> frozenset[str] | None:
        """The files of a package, relative to the root; None for the kernel and for firmware."""
        try:
            listed = (self.folder / "contents" / package).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        return frozenset(line.removeprefix("./") for line in listed.splitlines())

    @property
    def kernel(self) -> str:
        """The version of its kernel, as `uname -r` says it."""
        found = sorted(path.name for path in (self.folder / "usr/lib/modules").iterdir())
        if len(found) != 1:
            raise FailedError(f"expected one kernel on the medium, found {len(found)}")
        return found[0]

    def run(
        self,
        runner: Runner,
        program: str,
        *arguments: str,
        timeout: float,
        called: str | None = None,
        environment: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
    ) -> Result:
        """Run one of its programs here, with its own loader and libraries, by the name `called`."""
        folder = self.folder
        libraries = f"{folder / _LIBRARIES}:{folder / _LIBRARIES / 'systemd'}"
        argv = [str(folder / _LOADER), "--library-path", libraries, "--argv0", called or program]
        settings = [f"{name}={value}" for name, value in sorted((environment or {}).items())]
        argv = ["env", *settings, *argv, str(folder / program), *arguments]
        return runner.run(argv, timeout=timeout, stdin=stdin)

    def run_python(self, runner: Runner, program: str, stdin: bytes, *, timeout: float) -> Result:
        """Run a few lines in its Python, with the same order of sets every time."""
        settings = {"PYTHONHOME": str(self.folder / "usr"), "PYTHONHASHSEED": "0"}
        found = sorted((self.folder / "usr/bin").glob("python3.[0-9]*"))
        if not found:
            raise FailedError("the package python3 is not among the packages of the medium")
        interpreter = found[0].relative_to(self.folder).as_posix()
        arguments = ("-S", "-B", "-c", program)
        return self.run(runner, interpreter, *arguments, timeout=timeout, environment=settings, stdin=stdin)


def find_mirrors(definition: SystemDefinition, runner: Runner) -> tuple[str, ...]:
    """Lines for apt's list of sources, with the mirrors that this machine itself uses.

    None on a machine that is no Debian: then mmdebstrap takes its own default.
    """
    shown = "$(REPO_URI) $(ORIGIN) $(CODENAME)"
    asked = ["apt-get", "indextargets", "--format", shown, "Created-By: Packages"]
    try:
        listed = runner.run(asked, timeout=_TARGETS_SECONDS).stdout.decode(errors="replace")
    except FailedError:
        return ()
    components = " ".join(definition.components)
    lines: dict[str, str] = {}
    for line in listed.splitlines():
        parts = line.split()
        if len(parts) != 3 or parts[1] != "Debian":
            continue
        suite = next(one for one in ("-security", "-updates", "-backports", "") if parts[2].endswith(one))
        if suite != "-backports":
            lines.setdefault(suite, f"deb {parts[0]} {definition.suite}{suite} {components}")
    return tuple(lines[suite] for suite in sorted(lines)) if "" in lines else ()


def fetch(definition: SystemDefinition, mirrors: Sequence[str], folder: Path, runner: SystemRunner) -> None:
    """Unpack the packages into a new folder; raises FailedError."""
    archive = folder.with_name(f"{folder.name}.tar")
    argv = [
        "mmdebstrap",
        "--variant=extract",
        f"--architectures={definition.architecture}",
        f"--components={','.join(definition.components)}",
        f"--include={','.join(definition.packages)}",
        f"--extract-hook={_WRITE_LISTS.strip()}",
        "--format=tar",
        definition.suite,
        str(archive),
        *mirrors,
    ]
    try:
        runner.run(argv, timeout=_FETCH_SECONDS, keep=_ENVIRONMENT, tidies_up=True)
        folder.mkdir()
        unpack = ["tar", "-xf", str(archive), "-C", str(folder), "--no-same-owner", "--no-same-permissions"]
        unpack += ["--exclude=./dev/*", "--exclude=./var/cache/*"]
        runner.run(unpack, timeout=_UNPACK_SECONDS)
    except CommandError as error:
        raise _explained(error) from error
    finally:
        archive.unlink(missing_ok=True)


def open_root(folder: Path) -> DebianRoot:
    packages = []
    for line in (folder / "packages").read_text(encoding="utf-8").splitlines():
        fields = line.split("\t")
        if len(fields) != 5:
            raise FailedError(f"not a line about a package: {line[:80]!r}")
        packages.append(DebianPackage(*fields))
    sources = (folder / "etc/apt/sources.list").read_text(encoding="utf-8")
    suites = sorted(set(re.findall(r"^deb \S+ (\S+)", sources, re.M)))
    return DebianRoot(folder, tuple(sorted(packages)), _newest_file(folder / "usr"), tuple(suites))


def merged_path(path: str) -> str:
    """Where a relative path really is; a package may name it by its old folder."""
    return f"usr/{path}" if path.split("/")[0] in MERGED else path


def _newest_file(folder: Path) -> int:
    """When the newest file was made, in seconds since 1970; packages carry their files' times."""
    files = (f"{above}/{name}" for above, _, names in os.walk(folder) for name in names)
    return max((int(os.lstat(file).st_mtime) for file in files), default=0)


_CAUSES = (
    (
        rb"Unable to locate package (\S+)",
        "the package {0} is not in this Debian",
        "correct recovery_media/system.yaml",
    ),
    (
        rb"(?:Temporary failure resolving|Could not resolve|Failed to fetch|Could not connect)",
        "the Debian mirror cannot be reached",
        "check the network, and that `apt-get update` works on this machine",
    ),
    (
        rb"(?:NO_PUBKEY|is not signed|cannot be used)",
        "the Debian mirror's signature cannot be checked",
        "bring debian-archive-keyring up to date: apt-get install debian-archive-keyring",
    ),
    (
        rb"No space left on device|enough free space",
        "no space is left on the disk",
        "make room: 2 GB in /tmp (or where TMPDIR points), 4 GB in ~/.cache",
    ),
    (
        rb"newuidmap|subuid|unshare|unable to pick chroot mode|must be root|user namespaces",
        "this user may not unpack packages",
        "run it as root, or give the user a range in /etc/subuid and /etc/subgid and install uidmap",
    ),
)


def _explained(error: CommandError) -> FailedError:
    for pattern, message, hint in _CAUSES:
        found = re.search(pattern, error.stderr)
        if found:
            return FailedError(
                message.format(*(part.decode(errors="replace") for part in found.groups())), hint=hint
            )
    said = error.stderr.decode(errors="replace").strip().splitlines()
    return FailedError(f"mmdebstrap: {said[-1][:300] if said else f'exit code {error.returncode}'}")
