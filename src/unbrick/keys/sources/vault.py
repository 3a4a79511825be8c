"""Recovery passwords by key ID, in a nameless file in memory that no process keeps mapped.

Its records have one length and the order of their ids: one is found without reading the passwords of others.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Iterator, Sequence

from unbrick.keys.password import RecoveryPassword
from unbrick.secret import Secret

_ID = 36
_LINE = 8
_PASSWORD = 55
_RECORD = _ID + _LINE + _PASSWORD


class Vault:
    """Made empty, filled once (in another process: it sees the same memory), then asked."""

    def __init__(self) -> None:
        self._file = os.memfd_create("keys", os.MFD_CLOEXEC)
        weakref.finalize(self, os.close, self._file)

    def fill(self, records: Sequence[tuple[str, int, RecoveryPassword]]) -> None:
        """Take passwords, each with its id (or the beginning of one, or `""`) and its line in the source.

        Of one id they are found in the order in which they came.
        """
        if not records:
            return
        os.ftruncate(self._file, len(records) * _RECORD)
        with mmap.mmap(self._file, 0) as memory:  # not `write`: nobody who traces calls may see a password
            for key, line, password in sorted(records, key=lambda record: record[0]):
                record = f"{key:<{_ID}}{line:>{_LINE}}".encode() + password.secret.reveal()
                assert len(record) == _RECORD
                memory.write(record)

    def find(self, key: str) -> Iterator[tuple[int, RecoveryPassword]]:
        """The line and the password of each record with exactly that id."""
        wanted = f"{key:<{_ID}}".encode()
        at, end = 0, len(self)
        while at < end:
            middle = (at + end) // 2
            at, end = (middle + 1, end) if self._key(middle) < wanted else (at, middle)
        while at < len(self) and self._key(at) == wanted:
            line = os.pread(self._file, _LINE, at * _RECORD + _ID)
            password = os.pread(self._file, _PASSWORD, at * _RECORD + _ID + _LINE)
            yield int(line), RecoveryPassword(Secret(password))
            at += 1

    def __len__(self) -> int:
        return os.fstat(self._file).st_size // _RECORD

    def _key(self, number: int) -> bytes:
        return os.pread(self._file, _ID, number * _RECORD)
