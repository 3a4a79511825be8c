"""Path patterns: `*` and `?`, compared without case as NTFS does, and never across a backslash.

A pattern begins at the Windows folder (`%SystemRoot%\\…`) or at the root of the volume (`\\…`).
"""

from __future__ import annotations

from dataclasses import dataclass

from unbrick.settings.strict import ExpectedError

SYSTEM_ROOT = "%SystemRoot%"
_FORBIDDEN = frozenset('<>:"|/')
_MAX_COMPONENTS = 32
_MAX_COMPONENT_LENGTH = 255  # NTFS's limit for one name
_MAX_WILD_FOLDERS = 2


class PatternError(ExpectedError):
    """A path pattern that is not one; the message says what was expected."""


def fold(name: str) -> str:
    """A name as NTFS compares it: each character upper case, lengths kept.

    A letter outside ASCII never becomes one inside it (Python's `ſ` and `ı` would): what Windows takes
    for two names must stay two.
    """
    return "".join(_fold_character(character) for character in name)


def _fold_character(character: str) -> str:
    upper = character.upper()
    if len(upper) != 1 or upper.isascii() != character.isascii():
        return character
    return upper


def has_wildcard(component: str) -> bool:
    return "*" in component or "?" in component


def component_matches(pattern: str, name: str) -> bool:
    """Whether one name fits one component of a pattern: `*` is any run of characters, `?` exactly one.

    Linear in practice and never worse than len(pattern) * len(name): only the last `*` is tried again.
    """
    wanted, given = fold(pattern), fold(name)
    at, read = 0, 0
    star, retry = -1, 0
    while read < len(given):
        if at < len(wanted) and wanted[at] == "*":
            star, retry = at, read
            at += 1
        elif at < len(wanted) and wanted[at] in ("?", given[read]):
            at, read = at + 1, read + 1
        elif star >= 0:
            retry += 1
            at, read = star + 1, retry
        else:
            return False
    return all(character == "*" for character in wanted[at:])


def components_overlap(one: str, other: str) -> bool:
    """Whether some name fits both components, each of which may hold wildcards."""
    left, right = fold(one), fold(other)
    # reach[j]: left[i:] and right[j:] have a name in common; filled from the ends backwards.
    below = [False] * (len(right) + 1)
    for i in range(len(left), -1, -1):
        reach = [False] * (len(right) + 1)
        for j in range(len(right), -1, -1):
            ended_left, ended_right = i == len(left), j == len(right)
            if ended_left and ended_right:
                reach[j] = True
            elif not ended_left and left[i] == "*":
                reach[j] = below[j] or (not ended_right and reach[j + 1])
            elif not ended_right and right[j] == "*":
                reach[j] = reach[j + 1] or (not ended_left and below[j])
            elif not ended_left and not ended_right:
                same = left[i] == right[j] or "?" in (left[i], right[j])
                reach[j] = same and below[j + 1]
        below = reach
    return below[0]


@dataclass(frozen=True)
class PathPattern:
    """A parsed pattern: `in_windows` says whether `components` begin at the Windows folder or the root."""

    text: str
    in_windows: bool
    components: tuple[str, ...]

    def below(self, windows_folder: str) -> tuple[str, ...]:
        """All components from the volume's root, for the installation in `windows_folder`."""
        if not self.in_windows:
            return self.components
        return tuple(part for part in windows_folder.split("\\") if part) + self.components

    def folder_below(self, windows_folder: str) -> str:
        """The folder that holds what it names, from the volume's root; it may have wildcards."""
        return "\\" + "\\".join(self.below(windows_folder)[:-1])

    def matches(self, windows_path: str, windows_folder: str) -> bool:
        """Whether a Windows path from the volume's root fits, for the installation in `windows_folder`."""
        wanted = self.below(windows_folder)
        given = tuple(part for part in windows_path.split("\\") if part)
        if len(wanted) != len(given):
            return False
        return all(component_matches(one, name) for one, name in zip(wanted, given, strict=True))


def parse_pattern(text: str) -> PathPattern:
    """Read a pattern; raises PatternError where it could leave the volume or name something unclear."""
    in_windows = text[: len(SYSTEM_ROOT)].upper() == SYSTEM_ROOT.upper()
    rest = text[len(SYSTEM_ROOT) :] if in_windows else text
    if not rest.startswith("\\"):
        raise PatternError(
            f"a path that begins with {SYSTEM_ROOT}\\ or with \\ (the volume's root), without a drive letter"
        )
    components = tuple(rest[1:].split("\\"))
    if len(components) > _MAX_COMPONENTS:
        raise PatternError(f"a path of at most {_MAX_COMPONENTS} parts")
    for component in components:
        _check_component(component)
    if sum(has_wildcard(component) for component in components[:-1]) > _MAX_WILD_FOLDERS:
        raise PatternError(f"wildcards in at most {_MAX_WILD_FOLDERS} folders of a path")
    return PathPattern(text, in_windows, components)


def _check_component(component: str) -> None:
    if not component:
        raise PatternError("a path without empty parts (no \\\\, nothing after the last \\)")
    if component != component.rstrip(". "):
        raise PatternError("a path inside the volume: no '.' or '..', no part that ends in a dot or a space")
    bad = sorted({c for c in component if c in _FORBIDDEN or ord(c) < 32 or 0xD800 <= ord(c) <= 0xDFFF})
    if bad:
        raise PatternError(f"a path without {' '.join(map(repr, bad))} (no drive letter, no stream)")
    if "%" in component:
        raise PatternError(f"a path without variables besides {SYSTEM_ROOT} at its beginning")
    if "**" in component:
        raise PatternError("single wildcards: '**' means nothing here, '*' never crosses a \\")
    if len(component) > _MAX_COMPONENT_LENGTH:
        raise PatternError(f"names of at most {_MAX_COMPONENT_LENGTH} characters")
