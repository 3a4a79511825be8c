"""Asks cryptsetup for the key that a recovery password is stretched to, in two thirds of the time.

cryptsetup prints nothing but a volume key. Windows keeps the stretched key sealed in the same way, so
cryptsetup gets a small volume, made here in memory, that has the one protector to be tried, and that box for
its volume key. The password goes in on standard input and the key comes out on standard output.
"""

from __future__ import annotations

import os
import re
import struct
import zlib

from unbrick.disks.bitlocker.datums import KeyProtector, SealedBox
from unbrick.disks.bitlocker.metadata import SIGNATURE, VOLUME_GUID
from unbrick.processes.command import Runner
from unbrick.secret import Secret

_SECONDS = 120.0
_KEY_LENGTH = 32
_DUMP = re.compile(rb"dump:\s*((?:[0-9a-fA-F]{2}\s+)+)")
_BLOCK, _LENGTH = 0x10000, 0x50000
_PLACES = (_BLOCK, 2 * _BLOCK, 3 * _BLOCK)
_MOVED_HEADER, _MOVED_LENGTH = 4 * _BLOCK, 0x2000
_AES_XTS_128, _RECOVERY = 0x8004, 0x0800


def ask_stretched_key(protector: KeyProtector, password: Secret, runner: Runner) -> Secret | None:
    """The stretched key; None where cryptsetup gives none: a wrong password, or another cryptsetup.

    None decides nothing: the caller stretches by itself. Raises CommandTimeoutError.
    """
    if protector.salt is None or protector.sealed_key is None or protector.sealed_stretch is None:
        return None
    if not runner.has("cryptsetup"):
        return None
    volume = os.memfd_create("volume", os.MFD_CLOEXEC)
    try:
        os.write(volume, _make_volume(protector.salt, protector.sealed_key, protector.sealed_stretch))
        argv = ["cryptsetup", "bitlkDump", "--dump-volume-key", "--batch-mode", "--key-file=-"]
        path = f"/proc/self/fd/{volume}"
        result = runner.run([*argv, path], timeout=_SECONDS, stdin=password, ok=None, pass_fds=(volume,))
    finally:
        os.close(volume)
    found = _DUMP.search(result.stdout) if result.returncode == 0 else None
    key = bytes.fromhex(found.group(1).decode("ascii")) if found else b""
    return Secret(key) if len(key) == _KEY_LENGTH else None


def _make_volume(salt: bytes, master_key: SealedBox, stretched_key: SealedBox) -> bytes:
    stretch = _datum(0, 3, struct.pack("<2H", 0x1000, 0) + salt)
    protector = bytes(16) + struct.pack("<Q2H", 0, 0, _RECOVERY) + stretch + _box(0, master_key)
    entries = _datum(2, 8, protector) + _box(3, stretched_key)
    entries += _datum(15, 15, struct.pack("<2Q", _MOVED_HEADER, _MOVED_LENGTH))
    size = 48 + len(entries)
    dataset = struct.pack("<4I16sI2HQ", size, 1, 48, size, bytes(16), 1, _AES_XTS_128, 0, 0) + entries
    total = -(-(64 + size) // 16) * 16
    places = (*_PLACES, _MOVED_HEADER)
    header = struct.pack("<8s4HQ2I4Q", SIGNATURE, total // 16, 2, 4, 4, _LENGTH, 0, 16, *places)
    checked = (header + dataset).ljust(total, b"\0")
    block = checked + struct.pack("<2HI", _BLOCK - total, 2, zlib.crc32(checked))
    volume = bytearray(_LENGTH)
    volume[:13] = b"\xeb\x58\x90" + SIGNATURE + struct.pack("<H", 512)
    volume[0xA0:0xC8] = VOLUME_GUID + struct.pack("<3Q", *_PLACES)
    volume[0x1FE:0x200] = b"\x55\xaa"
    for place in _PLACES:
        volume[place : place + len(block)] = block
    return bytes(volume)


def _datum(role: int, kind: int, payload: bytes) -> bytes:
    return struct.pack("<4H", 8 + len(payload), role, kind, 1) + payload


def _box(role: int, box: SealedBox) -> bytes:
    return _datum(role, 5, box.nonce + box.tag + box.ciphertext)
