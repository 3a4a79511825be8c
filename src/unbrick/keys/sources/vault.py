"""Recovery passwords by what they are found under, in a nameless file in memory that no process keeps mapped.

Its records have one length and the order of their keys: one is found without reading the passwords of others.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from unbrick.keys.password import RecoveryPassword
from unbrick.secret import Secret

_KEY = 36
_FILE = 5
_LINE = 8
_PASSWORD = 55
_RECORD = _KEY + _FILE + _LINE + _PASSWORD


class Kept(NamedTuple):
    """A password under a key of at most 36 ASCII characters, from a line of a file, by the file's number."""

    key: str
    file: int
    line: int
    password: RecoveryPassword


class Vault:
    """Made empty, filled once (in another process: it sees the same memory), then asked."""

    def __init__(self) -> None:
        self._file = os.memfd_create("keys", os.MFD_CLOEXEC)
        weakref.finalize(self, os.close, self._file)

    def fill(self, records: Sequence[Kept]) -> None:
        """Of one key they are found in the order in which they came."""
        if not records:
            return
        os.ftruncate(self._file, len(records) * _RECORD)
        with mmap.mmap(self._file, 0) as memory:  # not `write`: nobody who traces calls may see a password
            for key, file, line, password in sorted(records, key=lambda record: record.key):
                head = f"{key:<{_KEY}}{file:>{_FILE}}{line:>{_LINE}}".encode()
                record = head + password.secret.reveal()
                assert len(record) == _RECORD
                memory.write(record)

    def find(self, key: str) -> Iterator[tuple[int, int, RecoveryPassword]]:
        """The file's number, the line and the password of each record with exactly that key."""
        wanted = f"{key:<{_KEY}}".encode()
        at, end = 0, len(self)
        while at < end:
            middle = (at + end) // 2
            at, end = (middle + 1, end) if self._key(middle) < wanted else (at, middle)
        while at < len(self) and self._key(at) == wanted:
            where = os.pread(self._file, _FILE + _LINE, at * _RECORD + _KEY)
            password = os.pread(self._file, _PASSWORD, at * _RECORD + _KEY + _FILE + _LINE)
            yield int(where[:_FILE]), int(where[_FILE:]), RecoveryPassword(Secret(password))
            at += 1

    def __len__(self) -> int:
        return os.fstat(self._file).st_size // _RECORD

    def _key(self, number: int) -> bytes:
        return os.pread(self._file, _KEY, number * _RECORD)
