"""Asks cryptsetup for the volume key that a recovery password opens: its stretch takes a third of ours.

The password goes in on standard input and the key comes out on standard output, both in memory only.
`cryptsetup bitlkDump` needs no device-mapper, so this works everywhere.
"""

from __future__ import annotations

import re

from unbrick.command import Runner
from unbrick.disks.bitlocker import BitLockerMetadata
from unbrick.disks.discover import Disk
from unbrick.disks.loop_device import attach_loop
from unbrick.model import Volume
from unbrick.secret import Secret

_SECONDS = 120.0
_KEY_LENGTHS = {"aes-xts-128": 32, "aes-xts-256": 64}
_DUMP = re.compile(rb"dump:\s*((?:[0-9a-fA-F]{2}\s+)+)")


def ask_volume_key(
    disk: Disk, volume: Volume, metadata: BitLockerMetadata, password: Secret, runner: Runner
) -> Secret | None:
    """The volume key, or None where cryptsetup gives none: a wrong password, or a kind unknown to it.

    None decides nothing: whoever asks tries by itself. Only AES-XTS is asked for, whose key cryptsetup and
    the volume write alike. Raises FailedError.
    """
    length = _KEY_LENGTHS.get(metadata.method)
    if length is None or not runner.has("cryptsetup"):
        return None
    with attach_loop(disk.raw, offset=volume.offset, length=volume.length, read_only=True) as loop:
        argv = [
            "cryptsetup",
            "bitlkDump",
            "--dump-volume-key",
            "--batch-mode",
            "--key-file=-",
            str(loop.path),
        ]
        result = runner.run(argv, timeout=_SECONDS, stdin=password, ok=None)
    found = _DUMP.search(result.stdout) if result.returncode == 0 else None
    key = bytes.fromhex(found.group(1).decode("ascii")) if found else b""
    return Secret(key) if len(key) == length else None
