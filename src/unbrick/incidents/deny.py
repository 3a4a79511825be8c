"""What no rule may ever move: the deny list, which no playbook overrides.

Names without which Windows does not start, or which are not ours to take (people's files, other quarantines).
It is asked when a playbook is loaded (could this pattern ever reach one?), and for each file judged faulty.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from unbrick.errors import FailedError
from unbrick.files import split_windows_path
from unbrick.incidents.pattern import PathPattern, component_matches, components_overlap, has_wildcard

_SHORT_NAME = re.compile(r"^[^.]{1,6}~[0-9]{1,6}(\..{0,3})?$")


@dataclass(frozen=True)
class _Protected:
    """Path components (wildcards allowed), from the root or anywhere, with all below or not."""

    components: tuple[str, ...]
    why: str
    from_root: bool
    whole_tree: bool


def _protected(
    table: Mapping[str, tuple[str, ...]], *, from_root: bool, whole_tree: bool
) -> Iterator[_Protected]:
    for why, paths in table.items():
        for path in paths:
            yield _Protected(tuple(path.split("\\")), why, from_root, whole_tree)


_QUARANTINE = "it lies in a quarantine"
_PEOPLE = "it lies among people's own files"
_BOOT = "the machine starts from it"
_KERNEL = "it is a part of the Windows kernel"
_LOADER = "it loads Windows"
_HIVES = "it belongs to the registry"
_INTEGRITY = "it is a code-integrity policy or a catalogue of signatures"
_SERVICING = "it belongs to Windows' own store of components"
_MEMORY = "Windows keeps the contents of memory in it"

_NAMES = {  # anywhere
    _HIVES: ("NTUSER.DAT*", "UsrClass.dat*", "*.hve"),
    _BOOT: ("BCD", "BCD.*", "BCD-Template*"),
    _LOADER: (
        *("bootmgr*", "bootmgfw*", "BOOTNXT", "bootx64.efi", "bootaa64.efi", "winload.*"),
        *("winresume.*", "tcblaunch.*", "hvloader.*"),
    ),
    _KERNEL: (
        *("ntoskrnl*", "ntkrnl*", "securekernel*", "hal*.dll", "ci.dll", "skci.dll", "kd*.dll"),
        *("pshed.dll", "bootvid.dll", "ntdll.dll", "clfs.sys", "win32k*.sys", "smss.exe"),
    ),
    _INTEGRITY: ("*.p7b", "*.cip", "SiPolicy*"),
    _MEMORY: ("pagefile.sys", "swapfile.sys", "hiberfil.sys"),
}
_ROOT_TREES = {  # at the root, with all below
    _BOOT: ("EFI", "Boot"),
    "it belongs to Windows' recovery environment": ("Recovery",),
    _PEOPLE: ("Users", "Documents and Settings", "Windows.old*\\Users"),
    _QUARANTINE: ("Unbrick", "Unbrick-*"),
    "it belongs to the file system's own records": ("System Volume Information",),
    "it belongs to the file system or to Windows' own set-up": ("$*",),
}
_TREES = {  # anywhere, with all below
    _HIVES: ("System32\\config",),
    _INTEGRITY: ("System32\\CodeIntegrity", "System32\\catroot*"),
    _LOADER: ("System32\\Boot",),
    _BOOT: ("Windows\\Boot",),
    _SERVICING: ("WinSxS", "servicing"),
}
_DENY_LIST = (
    *_protected(_NAMES, from_root=False, whole_tree=False),
    *_protected(_ROOT_TREES, from_root=True, whole_tree=True),
    *_protected(_TREES, from_root=False, whole_tree=True),
)

_HOMES_OF_NAMES = ((), ("Windows",), ("Windows", "System32"), ("Windows", "System32", "drivers"))


def why_forbidden(windows_path: str) -> str | None:
    """Why a file may not be moved by any rule, as half a sentence; None where nothing forbids it.

    `windows_path` begins at the volume's root. What is not a plain path is forbidden too, and so is a part
    that looks like a short (8.3) name, behind which a protected one may hide.
    """
    try:
        parts = split_windows_path(windows_path)
    except FailedError:
        return "it is not a plain path inside the volume"
    if not parts:
        return "it is the volume itself"
    for part in parts:
        if _SHORT_NAME.match(part):
            return f"{part} looks like a short name, which may stand for a protected one"
    for entry in _DENY_LIST:
        if _reaches(entry, parts, _same_name):
            return entry.why
    return None


def why_too_wide(pattern: PathPattern) -> str | None:
    """Why a pattern may not be a faulty rule's path: it could match a protected file; None where it cannot.

    Judged for an installation in `\\Windows`; for one elsewhere `why_forbidden` still holds.
    """
    parts = pattern.below("\\Windows")
    for part in parts:
        if _SHORT_NAME.match(part):
            return f"{part} looks like a short name, which may stand for a protected one"
    for entry in _DENY_LIST:
        if _is_at_home(entry, parts) and _reaches(entry, parts, components_overlap):
            return f"it could match {_describe(entry)}: {entry.why}"
    return None


def _is_at_home(entry: _Protected, parts: tuple[str, ...]) -> bool:
    """Whether a pattern looks where a protected name usually is; trees are protected wherever they are.

    `*.dat` in a vendor's own folder must not be refused because a registry hive could have such a name;
    should one really be there, `why_forbidden` still protects it.
    """
    if entry.from_root or entry.whole_tree or not has_wildcard(parts[-1]):
        return True
    folder = parts[:-1]
    return any(
        len(folder) == len(home) and all(map(components_overlap, folder, home)) for home in _HOMES_OF_NAMES
    )


def _same_name(denied: str, given: str) -> bool:
    # casefold() besides the exact comparison: here a doubtful likeness must count as a likeness.
    return component_matches(denied, given) or component_matches(denied.casefold(), given.casefold())


def _reaches(entry: _Protected, parts: tuple[str, ...], same: Callable[[str, str], bool]) -> bool:
    """Whether a path is under an entry; `same` compares one component with another."""
    depth = len(entry.components)
    last = len(parts) - depth
    if last < 0:
        return False
    if entry.from_root:
        starts = range(1)
    elif entry.whole_tree:
        starts = range(last + 1)
    else:
        starts = range(last, last + 1)
    return any(
        all(same(denied, given) for denied, given in zip(entry.components, parts[start:], strict=False))
        for start in starts
    )


def _describe(entry: _Protected) -> str:
    lead = "\\" if entry.from_root else "…\\"
    return lead + "\\".join(entry.components) + ("\\…" if entry.whole_tree else "")
