"""Makes the folder that machines are booted from over the network, from the image alone.

    DIR/dnsmasq.conf          a complete configuration, for a dnsmasq that is run by hand
    DIR/served/               all that machines may fetch, and nothing else
        shimx64.efi           Debian's signed shim, which loads
        grubx64.efi           Debian's signed network GRUB, which reads
        grub/grub.cfg         the medium's menu
        vmlinuz, initrd.img   the medium; the settings are packed behind the initrd
        pxelinux.0            for a legacy BIOS, if the image has it; it loads
        ldlinux.c32           its other half, and reads
        pxelinux.cfg/default  what the menu's first line starts

Firmware, shim and GRUB look for these names on the server that the first came from: shim for `grubx64.efi`
beside itself, Debian's network GRUB for `/grub/grub.cfg` (its built-in prefix), PXELINUX beside itself.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from unbrick.errors import FailedError, UsageError
from unbrick.files import atomic_write
from unbrick.media.netboot.dnsmasq_config import BIOS_LOADER, LOADER, refuse_name
from unbrick.media.system.file_tree import Entry, FileTree, write_cpio
from unbrick.processes.command import CommandError, Runner

SERVED = "served"
CONFIG = "dnsmasq.conf"
MENU = "grub/grub.cfg"
BIOS_MENU = "pxelinux.cfg/default"
INITRD = "initrd.img"

_SETTINGS = "netboot/settings"  # where a station finds them, from its root
_TIMEOUT = 300.0
_MOST_MENU_BYTES = 64 * 1024
_REQUIRED = {
    "/netboot/shimx64.efi": LOADER,
    "/netboot/grubnetx64.efi": "grubx64.efi",
    "/boot/vmlinuz": "vmlinuz",
    "/boot/initrd.img": INITRD,
    "/boot/grub/grub.cfg": MENU,
}
_OPTIONAL = {f"/netboot/{name}": name for name in (BIOS_LOADER, "ldlinux.c32")}
_KERNEL_LINE = re.compile(r"^\s*linux \$folder/vmlinuz((?: [\w.,:=/-]+)*)(?: \$stick)?$", re.MULTILINE)
# What xorriso says of a full disk; of one that takes a part of a write it names any reason.
_FULL = (b"No space left on device", b"Cannot write all bytes")
_ROOM = "make room: a folder needs as much as the image, and twice that while it is made anew"
_HINT = "give the file that `unbrick media build --out` of this version made"

_MENU = """\
# Made by `unbrick media netboot`. Secure Boot does not cover this menu, nor the initrd that it names: who
# can change what this server gives out decides what machines start. Settings act only if they are signed.
set netboot=yes
set folder=($root)
# Over HTTP where there is a server for it: quicker, and kinder to a network with many machines.
if [ -s (http,{server})/{menu} ]; then
    set folder=(http,{server})
fi
"""
# No menu and no prompt: a line of one's own would give a shell (rdinit=/bin/sh).
_BIOS_MENU = """\
# Made by `unbrick media netboot`, for a legacy BIOS; the settings act only if they are signed.
DEFAULT unbrick
PROMPT 0
NOESCAPE 1
ALLOWOPTIONS 0
IMPLICIT 0
SAY Starting. This takes a moment, on an old computer a minute or two.
LABEL unbrick
    KERNEL vmlinuz
    INITRD {initrd}
    APPEND{line}
"""
_MENU_BEGINS = "# The medium's own menu:\n"


def make_folder(
    directory: Path, image: Path, settings: Mapping[str, bytes], server: str, runner: Runner
) -> None:
    """Make `directory` (new, empty, or made by this function before) from an image.

    `settings` are relative names with slashes, signature included; `server` is HOST:PORT of the web server.
    Raises UsageError for another image, or a folder with something else in it.
    """
    directory = directory.absolute()  # the programs that are asked do not run in our folder
    _refuse_foreign(directory)
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=directory, ignore_cleanup_errors=True) as name:
        place = Path(name)  # on its way to become DIR/served
        _extract(image, place, runner)
        menu = _read_menu(place / MENU)
        line = _KERNEL_LINE.search(menu)
        if line is None:
            raise UsageError(f"{image}: its menu cannot be used over the network", hint=_HINT)
        (place / MENU).write_text(_menu(server, menu), encoding="utf-8")
        if (place / BIOS_LOADER).exists():
            (place / BIOS_MENU).parent.mkdir()
            (place / BIOS_MENU).write_text(_BIOS_MENU.format(initrd=INITRD, line=line[1]), encoding="utf-8")
        if settings:
            _append_settings(place / INITRD, settings)
        for path in (place, *place.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        # Whoever is fetching a file of the old folder gets all of it.
        served, old = directory / SERVED, place.with_name(place.name + ".old")
        if served.exists():
            served.rename(old)
        place.rename(served)
        shutil.rmtree(old, ignore_errors=True)


def name_server(directory: Path, server: str) -> None:
    """Make an old folder's menu name the web server (HOST:PORT) that serves it now; raises UsageError."""
    path = served_files(directory)[MENU]
    _, begins, menu = _read_menu(path).partition(_MENU_BEGINS)
    if not begins:
        raise UsageError(f"{path}: was not made by this command", hint="make the folder anew, with --image")
    atomic_write(path, _menu(server, menu).encode(), mode=0o644)


def write_config(directory: Path, text: str) -> None:
    atomic_write(directory / CONFIG, text.encode(), mode=0o644)


def served_files(directory: Path) -> dict[str, Path]:
    """What may be fetched, by name; raises UsageError where a file is missing or a link leads outside."""
    for path in sorted((directory / SERVED).rglob("*")):
        if path.is_symlink():  # dnsmasq would follow it
            raise UsageError(
                f"{path}: is a link, and machines could fetch what it leads to", hint="take it away"
            )
    names = (*_REQUIRED.values(), *_OPTIONAL.values(), BIOS_MENU)
    found = {name: path for name in names if (path := directory / SERVED / name).is_file()}
    if missing := set(_REQUIRED.values()) - set(found):
        raise UsageError(f"{directory}: {min(missing)} is missing", hint="make it with --image unbrick.iso")
    return found


def _read_menu(path: Path) -> str:
    """A menu of GRUB; empty where it is no text or longer than any of ours."""
    with path.open("rb") as stream:
        data = stream.read(_MOST_MENU_BYTES + 1)
    try:
        return data.decode() if len(data) <= _MOST_MENU_BYTES else ""
    except UnicodeDecodeError:
        return ""


def _menu(server: str, menu: str) -> str:
    return _MENU.format(server=server, menu=MENU) + _MENU_BEGINS + menu


def _refuse_foreign(directory: Path) -> None:
    refuse_name(directory.resolve())
    try:
        names = {entry.name for entry in directory.iterdir()}
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"{directory}: {error.strerror}", hint="name a new folder") from error
    if names and not names & {SERVED, CONFIG}:
        raise UsageError(f"{directory}: is not empty, and not made by this command", hint="name a new folder")


def _extract(image: Path, place: Path, runner: Runner) -> None:
    if not image.is_file():
        raise UsageError(f"{image}: is no file", hint=_HINT)
    (place / MENU).parent.mkdir()
    wanted = [word for source, name in _REQUIRED.items() for word in ("-extract", source, str(place / name))]
    try:
        runner.run(_xorriso(image, wanted), timeout=_TIMEOUT)
    except CommandError as error:
        if any(words in error.stderr for words in _FULL):
            raise FailedError(f"{place.parent}: no space is left on the disk", hint=_ROOM) from error
        raise UsageError(f"{image}: is not the image of a medium", hint=_HINT) from error
    for source, name in _OPTIONAL.items():
        runner.run(_xorriso(image, ["-extract", source, str(place / name)]), timeout=_TIMEOUT, ok=None)
    # An image may hold links; what they lead to would be served, opened to all, and written to.
    found = {path.relative_to(place).as_posix(): path.lstat().st_mode for path in place.rglob("*")}
    plain = {name for name, mode in found.items() if stat.S_ISREG(mode)}
    if not plain >= set(_REQUIRED.values()) or set(found) - plain != {str(Path(MENU).parent)}:
        raise UsageError(f"{image}: is not the image of a medium", hint=_HINT)


def _xorriso(image: Path, words: list[str]) -> list[str]:
    quiet = ["-report_about", "SORRY", "-abort_on", "SORRY"]
    return ["xorriso", *quiet, "-osirrox", "on", "-indev", f"stdio:{image.absolute()}", *words]


def _append_settings(initrd: Path, settings: Mapping[str, bytes]) -> None:
    """The kernel unpacks archives one after another; one file is one thing less that a server can mix up."""
    with initrd.open("r+b") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.write(bytes(-size % 4) + settings_archive(settings))


def settings_archive(files: Mapping[str, bytes]) -> bytes:
    """A cpio archive of settings, by relative name with slashes; only root may read what is unpacked."""
    tree = FileTree()
    for name, data in files.items():
        path = PurePosixPath(_SETTINGS, name)
        for folder in reversed(path.parents[:-1]):
            tree.add_folder(str(folder), 0o700)
        tree.entries[str(path)] = Entry(stat.S_IFREG | 0o600, data)
    archive = io.BytesIO()
    write_cpio(tree, archive, 0)
    return archive.getvalue()
