"""One registry hive of an offline Windows, opened as Windows would see it: its logs replayed, in memory.

hivex walks the hive; it neither replays logs nor says that a hive is dirty, so `replay` comes first.
Nothing on the volume is written. hivex is C and the hive hostile: call this inside `bounded.run_bounded`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from enum import IntEnum
from pathlib import Path
from typing import Any

from unbrick.errors import FailedError, MissingLibraryError, Reason
from unbrick.files import PathError, find_entry, open_plain, read_plain
from unbrick.windows.hive_names import KEY_CELL, VALUE_CELL, CellShape, read_name, same_name
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


class UnreadableHiveError(FailedError):
    """A registry hive that cannot be opened at all; `why` is the message's last part."""

    def __init__(self, name: str, why: str) -> None:
        self.why = why
        super().__init__(
            f"the registry hive {name} cannot be read: {why}",
            hint="start this machine's own recovery (Startup Repair), or restore the hive from a backup",
            reason=Reason.UNREADABLE_HIVE,
        )


class ValueType(IntEnum):
    """The registry's value types that we decode."""

    SZ = 1
    EXPAND_SZ = 2
    DWORD = 4
    MULTI_SZ = 7


class Hive:
    """Reads the keys of one open hive, behind `descriptor`.

    `warnings` are what a person should know of how it was opened; `damaged` counts what could not be read;
    `cut_off` says whether the file ends before the hive does.
    What is odd and yet sound (a name that is no text, a value of an unknown type) is no damage.
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

    def name(self, handle: int, shape: CellShape) -> str | None:
        """The name of a key or value; None where its cell is damaged, which is counted."""
        name = read_name(self._descriptor, handle, shape)
        self.damaged += name is None
        return name

    def key(self, path: str) -> Key | None:
        """The key at a path below the root, parts separated by backslashes, in any case; None if missing."""
        root = self.ask("root")
        key = None if root is None else Key(self, root)
        for part in path.split("\\"):
            if part and key is not None:
                key = next((child for name, child in key.children() if same_name(name, part)), None)
        return key

    def value(self, path: str, name: str) -> str | int | tuple[str, ...] | None:
        """One value, decoded; see `Key.value`."""
        key = self.key(path)
        return key.value(name) if key else None

    def text(self, path: str, name: str) -> str | None:
        """A REG_SZ or REG_EXPAND_SZ value; None for anything else."""
        value = self.value(path, name)
        return value if isinstance(value, str) else None

    def number(self, path: str, name: str) -> int | None:
        """A REG_DWORD value; None for anything else."""
        value = self.value(path, name)
        return value if isinstance(value, int) else None


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
            name = self._hive.name(node, KEY_CELL)
            if name is not None:
                yield name, Key(self._hive, node)

    def value(self, name: str) -> str | int | tuple[str, ...] | None:
        """REG_SZ and REG_EXPAND_SZ as text (not expanded), REG_MULTI_SZ as texts, REG_DWORD as a number.

        None where it is missing, of another type, over 1 MiB, or damaged.
        """
        handle = self._find_value(name)
        if handle is None:
            return None
        described = self._hive.ask("value_type", handle)
        if described is None or described[1] > _VALUE_LIMIT:
            return None
        answer = self._hive.ask("value_value", handle)
        return decode_value(*answer) if answer else None

    def _find_value(self, name: str) -> int | None:
        handles: list[int] = self._hive.ask("node_values", self._node) or []
        for handle in handles:
            found = self._hive.name(handle, VALUE_CELL)
            if found is not None and same_name(found, name):
                return handle
        return None

    def text(self, name: str) -> str | None:
        """A REG_SZ or REG_EXPAND_SZ value; None for anything else."""
        value = self.value(name)
        return value if isinstance(value, str) else None

    def number(self, name: str) -> int | None:
        """A REG_DWORD value; None for anything else."""
        value = self.value(name)
        return value if isinstance(value, int) else None

    def texts(self, name: str) -> tuple[str, ...]:
        """A REG_MULTI_SZ value, or a REG_SZ as its only text; empty for anything else."""
        value = self.value(name)
        if isinstance(value, str):
            return (value,)
        return value if isinstance(value, tuple) else ()


def decode_value(kind: int, data: bytes) -> str | int | tuple[str, ...] | None:
    """A value's bytes as what its type says; None for a type we do not decode or bytes that do not fit."""
    if kind == ValueType.DWORD:
        return int.from_bytes(data, "little") if len(data) == 4 else None
    if kind in (ValueType.SZ, ValueType.EXPAND_SZ):
        return _decode_text(data).split("\0", 1)[0]
    if kind == ValueType.MULTI_SZ:
        return tuple(text for text in _decode_text(data).split("\0") if text)
    return None


def _decode_text(data: bytes) -> str:
    return data[: len(data) & ~1].decode("utf-16-le", errors="replace")


def load_hivex() -> Any:
    """hivex's Python binding; raises MissingLibraryError. What PyPI has under its name is another library."""
    try:
        import hivex

        return hivex.Hivex
    except (ImportError, AttributeError) as error:
        install = "apt install python3-hivex (a virtual environment needs --system-site-packages to see it)"
        raise MissingLibraryError("hivex", install) from error


@contextmanager
def open_hive(path: Path) -> Iterator[Hive]:
    """Open a hive found by `files.find_inside`, with its logs beside it replayed when it is dirty.

    A clean hive is read where it lies; a dirty one is copied into memory first. Raises UnreadableHiveError,
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
    """Replay the logs into a copy in memory; where that fails, read the hive as it is and say so."""
    first_bin = os.pread(descriptor, 8, _FIRST_BIN_TIME)
    time = struct.unpack("<Q", first_bin)[0] if len(first_bin) == 8 else 0
    replay = plan_replay(base, time, _read_logs(path))
    if replay is not None:
        copy = _replayed_copy(descriptor, size, replay)
        held.callback(os.close, copy)
        try:
            warnings = () if replay.complete else (_torn_log_warning(path.name),)
            return Hive(_open_reader(copy, path.name), copy, warnings)
        except UnreadableHiveError:
            pass  # a replay that makes nonsense of the hive is no better than none
    return Hive(_open_reader(descriptor, path.name), descriptor, (_stale_warning(path.name),))


def _torn_log_warning(name: str) -> str:
    return f"a transaction log of {name} is torn: its last changes may be missing from what was read"


def _stale_warning(name: str) -> str:
    return f"{name} was not saved cleanly and its transaction logs do not fit: some of its values may be old"


def _read_logs(path: Path) -> Sequence[bytes]:
    """The transaction logs beside a hive, those that can be read: `.LOG1`, `.LOG2`, then `.LOG`."""
    logs = []
    for suffix in (".LOG1", ".LOG2", ".LOG"):
        with suppress(OSError, PathError):
            found = find_entry(path.parent, path.name + suffix)
            if found is not None:
                logs.append(read_plain(found, _LOG_LIMIT))
    return logs


def _replayed_copy(descriptor: int, size: int, replay: Replay) -> int:
    """A copy of the hive in memory with the replay laid over it, as an open descriptor."""
    copy = os.memfd_create("hive")
    os.ftruncate(copy, max(size, replay.length))
    at = 0
    while at < size:
        chunk = os.pread(descriptor, min(_COPY_CHUNK, size - at), at)
        if not chunk:
            break
        os.pwrite(copy, chunk, at)
        at += len(chunk)
    for offset, page in replay.pages:
        os.pwrite(copy, page, offset)
    os.pwrite(copy, replay.base_block, 0)
    return copy


def _open_reader(descriptor: int, name: str) -> Any:
    """Let hivex map the file behind a descriptor; raises UnreadableHiveError, MissingLibraryError."""
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
