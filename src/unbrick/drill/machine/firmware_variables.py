"""Reads and sets the variables of a virtual machine's UEFI firmware, in the file that holds its flash.

Layout: the firmware volume header of the UEFI Platform Initialization specification (volume 3, chapter 3),
then EDK II's authenticated variable store (`MdeModulePkg/Include/Guid/VariableFormat.h`): a header of 28
bytes, then variables, each a header of 60 bytes, a name and a value, at a multiple of 4. Set them only while
the machine is off, and only those that need no signature.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from unbrick.errors import FailedError

GLOBAL = uuid.UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
"""The vendor of `Boot####`, `BootOrder` and `BootNext`: UEFI specification, 3.3."""
NON_VOLATILE, BOOT_SERVICE, RUNTIME = 1, 2, 4
_USUAL = NON_VOLATILE | BOOT_SERVICE | RUNTIME

_STORE_AUTHENTICATED = uuid.UUID("aaf32c78-947b-439a-a180-2e144ec37792")
_VOLUME_SIGNATURE = b"_FVH"
_STORE_HEADER = struct.Struct("<16sIBBHI")
_HEADER = struct.Struct("<HBBIQ16sIII16s")
_START = 0x55AA
_ADDED = 0x3F
_DELETED_MASK = 0xFD
_IN_TRANSITION = 0xFE


@dataclass(frozen=True)
class Variable:
    """One variable; `vendor` is the GUID that its name belongs to."""

    vendor: uuid.UUID
    name: str
    attributes: int
    value: bytes


@dataclass(frozen=True)
class _Place:
    offset: int
    end: int
    state: int
    variable: Variable


class FirmwareVariables:
    """The variables in a copy of `OVMF_VARS_4M*.fd`; raises FailedError for another file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._data = bytearray(path.read_bytes())
        self._first, self._end = self._store()

    def all(self) -> Mapping[tuple[uuid.UUID, str], Variable]:
        """Every variable that is in force."""
        found = {}
        for place in self._places():
            if place.state in (_ADDED, _ADDED & _IN_TRANSITION):
                found[place.variable.vendor, place.variable.name] = place.variable
        return found

    def get(self, name: str, vendor: uuid.UUID = GLOBAL) -> bytes | None:
        found = self.all().get((vendor, name))
        return None if found is None else found.value

    def set(self, name: str, value: bytes, vendor: uuid.UUID = GLOBAL, attributes: int = _USUAL) -> None:
        """Set a variable; raises FailedError where the store is full."""
        at = self._first
        for place in self._places():
            at = place.end
            if (place.variable.vendor, place.variable.name) == (vendor, name) and place.state & 2:
                self._data[place.offset + 2] &= _DELETED_MASK
        text = name.encode("utf-16-le") + b"\0\0"
        lengths = (len(text), len(value))
        header = _HEADER.pack(_START, _ADDED, 0, attributes, 0, bytes(16), 0, *lengths, vendor.bytes_le)
        record = header + text + value
        if at + len(record) > self._end:
            raise FailedError(f"{self._path}: the firmware has no room for the variable {name}")
        self._data[at : at + len(record)] = record

    def save(self) -> None:
        """Write the file; the virtual machine must be off."""
        self._path.write_bytes(self._data)

    def _store(self) -> tuple[int, int]:
        """Where variables begin and end in the file."""
        data = self._data
        if len(data) < 0x100 or data[0x28:0x2C] != _VOLUME_SIGNATURE:
            raise FailedError(f"{self._path} holds no firmware variables")
        begin = int.from_bytes(data[0x30:0x32], "little")
        kind, size, form, state, *_ = _STORE_HEADER.unpack_from(data, begin)
        known = kind == _STORE_AUTHENTICATED.bytes_le and (form, state) == (0x5A, 0xFE)
        if not known or not _STORE_HEADER.size < size <= len(data) - begin:
            raise FailedError(f"{self._path} holds firmware variables of another kind")
        return begin + _STORE_HEADER.size, begin + size

    def _places(self) -> Iterator[_Place]:
        at = self._first
        while at + _HEADER.size <= self._end:
            start, state, _, attributes, _, _, _, name, size, vendor = _HEADER.unpack_from(self._data, at)
            if start != _START:
                return
            text = at + _HEADER.size
            end = text + name + size
            if end > self._end:
                raise FailedError(f"{self._path}: a firmware variable leaves its store")
            variable = Variable(
                uuid.UUID(bytes_le=vendor),
                self._data[text : text + name].decode("utf-16-le", "replace").rstrip("\0"),
                attributes,
                bytes(self._data[text + name : end]),
            )
            after = (end + 3) & ~3
            yield _Place(at, after, state, variable)
            at = after
