"""One registry hive of an offline Windows, opened as Windows would see it: its logs replayed, in memory.

hivex walks the hive. It neither replays logs nor reports that a hive is dirty, so `replay` comes first.
Nothing on the volume is written. hivex is C and the hive hostile: call this inside `bounded.run_bounded`.

Offsets of keys and values: M. Suhanov's "Windows registry file format specification".
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from unbrick.errors import FailedError, MissingLibraryError, Reason
from unbrick.files import PathError, find_entry, open_plain, read_plain
from unbrick.windows.replay import (
    BASE_BLOCK_SIZE,
    HIVE_LIMIT,
    BaseBlock,
    Replay,
    plan_replay,
    read_base_block,
)

_LOG_LIMIT = 128 * 1024 * 1024
_VALUE_LIMIT = 1024 * 1024
_SUBKEY_LIMIT = 65_000
_FIRST_BIN_TIME = BASE_BLOCK_SIZE + 20
_COPY_CHUNK = 4 * 1024 * 1024


@dataclass(frozen=True)
class _CellShape:
    """Where a kind of cell keeps its name, in bytes from the cell's size field."""

    signature: bytes
    length_at: int
    flags_at: int
    latin_flag: int
    name_at: int


_KEY_CELL = _CellShape(b"nk", length_at=76, flags_at=6, latin_flag=0x20, name_at=80)
_VALUE_CELL = _CellShape(b"vk", length_at=6, flags_at=20, latin_flag=0x01, name_at=24)
_USUAL_NAME = 512


class UnreadableHiveError(FailedError):
    """A registry hive that cannot be opened; `why` is the message's last part."""

    def __init__(self, name: str, why: str) -> None:
        self.why = why
        super().__init__(
            f"the registry hive {name} cannot be read: {why}",
            hint="start this machine's own recovery (Startup Repair), or restore the hive from a backup",
            reason=Reason.UNREADABLE_HIVE,
        )


class ValueType(IntEnum):
    """The value types that are decoded."""

    SZ = 1
    EXPAND_SZ = 2
    DWORD = 4
    MULTI_SZ = 7


class Hive:
    """Reads the keys of one open hive, behind `descriptor`.

    `warnings` are sentences about how it was opened, `damaged` counts what could not be read, `cut_off`: the
    file ends before the hive does. What is odd but sound (a name that is not valid text, a value of an
    unknown type) is not damage.
    """

    def __init__(self, reader: Any, descriptor: int, warnings: tuple[str, ...] = ()) -> None:
        self._reader = reader
        self._descriptor = descriptor
        self.warnings = warnings
        self.damaged = 0
        self.cut_off = False

    def ask(self, question: str, *arguments: int | str) -> Any:
        """Call one of hivex's methods; None where it finds nothing, or damage, which is counted."""
        try:
            return getattr(self._reader, question)(*arguments)
        except RuntimeError as error:
            if str(error) != "Success":  # that is how hivex says that a value is missing
                self.damaged += 1
        return None

    def name(self, handle: int, shape: _CellShape) -> str | None:
        """The name of a key or value; None where its cell is damaged, which is counted."""
        name = _read_name(self._descriptor, handle, shape)
        self.damaged += name is None
        return name

    def key(self, path: str) -> Key | None:
        """The key at a path below the root, parts separated by backslashes, in any case."""
        root = self.ask("root")
        key = None if root is None else Key(self, root)
        for part in path.split("\\"):
            if part and key is not None:
                key = next((child for name, child in key.children() if _same_name(name, part)), None)
        return key

    def value(self, path: str, name: str) -> str | int | tuple[str, ...] | None:
        key = self.key(path)
        return key.value(name) if key else None

    def text(self, path: str, name: str) -> str | None:
        key = self.key(path)
        return key.text(name) if key else None

    def number(self, path: str, name: str) -> int | None:
        key = self.key(path)
        return key.number(name) if key else None


class Key:
    """One key of an open hive."""

    def __init__(self, hive: Hive, node: int) -> None:
        self._hive = hive
        self._node = node

    def children(self) -> Iterator[tuple[str, Key]]:
        """The subkeys by name; damaged ones, and those above 65,000, are left out and counted as damage."""
        nodes: list[int] = self._hive.ask("node_children", self._node) or []
        self._hive.damaged += len(nodes) > _SUBKEY_LIMIT
        for node in nodes[:_SUBKEY_LIMIT]:
            name = self._hive.name(node, _KEY_CELL)
            if name is not None:
                yield name, Key(self._hive, node)

    def value(self, name: str) -> str | int | tuple[str, ...] | None:
        """REG_SZ and REG_EXPAND_SZ as text (not expanded), REG_MULTI_SZ as texts, REG_DWORD as a number.

        None where it is missing, of another type, over 1 MiB, or damaged.
        """
        handles: list[int] = self._hive.ask("node_values", self._node) or []
        for handle in handles:
            found = self._hive.name(handle, _VALUE_CELL)
            if found is not None and _same_name(found, name):
                break
        else:
            return None
        described = self._hive.ask("value_type", handle)
        if described is None or described[1] > _VALUE_LIMIT:
            return None
        answer = self._hive.ask("value_value", handle)
        return decode_value(*answer) if answer else None

    def text(self, name: str) -> str | None:
        """A REG_SZ or REG_EXPAND_SZ value; None for anything else."""
        value = self.value(name)
        return value if isinstance(value, str) else None

    def number(self, name: str) -> int | None:
        value = self.value(name)
        return value if isinstance(value, int) else None

    def texts(self, name: str) -> tuple[str, ...]:
        """A REG_MULTI_SZ value, or a REG_SZ as its only text; empty for anything else."""
        value = self.value(name)
        if isinstance(value, str):
            return (value,)
        return value if isinstance(value, tuple) else ()


def decode_value(kind: int, data: bytes) -> str | int | tuple[str, ...] | None:
    """None for a type that is not decoded, or bytes that do not fit the type."""
    if kind == ValueType.DWORD:
        return int.from_bytes(data, "little") if len(data) == 4 else None
    if kind in (ValueType.SZ, ValueType.EXPAND_SZ):
        return _decode_text(data).split("\0", 1)[0]
    if kind == ValueType.MULTI_SZ:
        return tuple(text for text in _decode_text(data).split("\0") if text)
    return None


def _decode_text(data: bytes) -> str:
    return data[: len(data) & ~1].decode("utf-16-le", errors="replace")


# hivex converts names to UTF-8 and gives up at one that is no valid UTF-16, which Windows allows: one such
# name would hide all others of its list. So names are read from the hive's own bytes.
def _read_name(descriptor: int, offset: int, shape: _CellShape) -> str | None:
    """The name in the cell at an offset (hivex's handle), with U+FFFD for what is no text.

    None where there is no such cell, or its name reaches beyond it. Raises OSError.
    """
    cell = os.pread(descriptor, shape.name_at + _USUAL_NAME, offset)
    if len(cell) < shape.name_at or cell[4:6] != shape.signature:
        return None
    (size,) = struct.unpack_from("<i", cell)  # negative for a cell in use
    (length,) = struct.unpack_from("<H", cell, shape.length_at)
    (flags,) = struct.unpack_from("<H", cell, shape.flags_at)
    if shape.name_at + length > -size:
        return None
    name = cell[shape.name_at : shape.name_at + length]
    if len(name) < length:
        name = os.pread(descriptor, length, offset + shape.name_at)
    return name.decode("latin-1" if flags & shape.latin_flag else "utf-16-le", errors="replace")


def _same_name(one: str, other: str) -> bool:
    """Whether Windows takes two names as the same, as far as ASCII letters go."""
    if one == other:
        return True
    return one.isascii() and other.isascii() and one.lower() == other.lower()


def load_hivex() -> Any:
    """hivex's Python binding; raises MissingLibraryError. PyPI's package of that name is another library."""
    try:
        import hivex

        return hivex.Hivex
    except (ImportError, AttributeError) as error:
        install = "apt install python3-hivex (a virtual environment needs --system-site-packages to see it)"
        raise MissingLibraryError("hivex", install) from error


@contextmanager
def open_hive(path: Path) -> Iterator[Hive]:
    """Open a hive found by `files.find_inside`, with the logs beside it replayed when it is dirty.

    A clean hive is read in place; a dirty one is copied into memory first. Raises UnreadableHiveError,
    MissingLibraryError.
    """
    name = path.name
    try:
        stream = open_plain(path)
    except OSError as error:
        raise UnreadableHiveError(name, error.strerror or "it cannot be opened") from error
    with stream, ExitStack() as held:
        try:
            yield _open_descriptor(stream.fileno(), path, held)
        except OSError as error:
            raise UnreadableHiveError(name, error.strerror or "reading it fails") from error


def _open_descriptor(descriptor: int, path: Path, held: ExitStack) -> Hive:
    status = os.fstat(descriptor)
    if status.st_size > HIVE_LIMIT:
        raise UnreadableHiveError(path.name, f"it is larger than {HIVE_LIMIT >> 20} MiB")
    base = read_base_block(os.pread(descriptor, BASE_BLOCK_SIZE, 0))
    if base is None:
        raise UnreadableHiveError(path.name, "it is empty or cut off")
    length = BASE_BLOCK_SIZE + base.bins_size
    cut = f"is cut off ({status.st_size // 1024} of its {length // 1024} KiB are there)"
    cut_off = base.valid and status.st_size < length
    try:
        if base.dirty:
            hive = _open_dirty(descriptor, path, base, status.st_size, held)
        else:
            hive = Hive(_open_reader(descriptor, path.name), descriptor)
    except UnreadableHiveError as error:
        if cut_off:
            raise UnreadableHiveError(path.name, f"it {cut}") from error
        raise
    if cut_off:
        hive.cut_off = True
        hive.warnings += (f"the registry hive {path.name} {cut}: Windows may not start with it",)
    return hive


def _open_dirty(descriptor: int, path: Path, base: BaseBlock, size: int, held: ExitStack) -> Hive:
    """Replay the logs into a copy in memory; where that fails, read the hive as it is, with a warning."""
    first_bin = os.pread(descriptor, 8, _FIRST_BIN_TIME)
    time = struct.unpack("<Q", first_bin)[0] if len(first_bin) == 8 else 0
    replay = plan_replay(base, time, _read_logs(path))
    if replay is not None:
        copy = _replayed_copy(descriptor, size, replay)
        held.callback(os.close, copy)
        try:
            torn = f"a transaction log of {path.name} is torn"
            missing = f"{torn}: its last changes may be missing from what was read"
            return Hive(_open_reader(copy, path.name), copy, () if replay.complete else (missing,))
        except UnreadableHiveError:
            pass  # a replay that makes nonsense of the hive is no better than none
    unclean = f"{path.name} was not saved cleanly and its transaction logs do not fit"
    stale = f"{unclean}: some of its values may be old"
    return Hive(_open_reader(descriptor, path.name), descriptor, (stale,))


def _read_logs(path: Path) -> Sequence[bytes]:
    """The logs beside a hive that can be read: `.LOG1`, `.LOG2`, then `.LOG`."""
    logs = []
    for suffix in (".LOG1", ".LOG2", ".LOG"):
        with suppress(OSError, PathError):
            found = find_entry(path.parent, path.name + suffix)
            if found is not None:
                logs.append(read_plain(found, _LOG_LIMIT))
    return logs


def _replayed_copy(descriptor: int, size: int, replay: Replay) -> int:
    """A descriptor of a copy in memory, with the replay laid over it."""
    copy = os.memfd_create("hive")
    os.ftruncate(copy, max(size, replay.length))
    at = 0
    while chunk := os.pread(descriptor, min(_COPY_CHUNK, size - at), at):
        os.pwrite(copy, chunk, at)
        at += len(chunk)
    for offset, page in replay.pages:
        os.pwrite(copy, page, offset)
    os.pwrite(copy, replay.base_block, 0)
    return copy


def _open_reader(descriptor: int, name: str) -> Any:
    library: Any = load_hivex()

    class Reader(library):  # type: ignore[misc]
        """hivex prints a traceback when a handle that never opened is collected."""

        def __del__(self) -> None:
            if hasattr(self, "_o"):
                super().__del__()

    try:
        return Reader(f"/proc/self/fd/{descriptor}")
    except RuntimeError as error:
        raise UnreadableHiveError(name, f"its structure is damaged ({error})") from error
