"""The key that signs reports where no tally has enrolled us: made once, kept in the outbox.

A tally takes reports signed with it only where its administrator names its fingerprint. On FAT any PC can
read it: it proves that two reports came from the same stick, or computer, and no more.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from unbrick.errors import UnbrickError
from unbrick.files import atomic_write
from unbrick.signing.event_signer import Signer

KEY_NAME = ".medium-key"  # a name that no outbox takes for a report


def own_signer(folder: Path) -> Signer:
    """The signer whose key is in an outbox, made there where it is missing or torn."""
    path = folder / KEY_NAME
    with suppress(UnbrickError):
        return Signer.load(path)
    signer, key_file = Signer.generate()
    with suppress(OSError):  # the folder takes no file: nothing that this key signs stays there either
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic_write(path, key_file, mode=0o600)
    return signer
