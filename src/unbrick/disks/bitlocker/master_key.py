"""From a recovery password or a clear key to a volume's key, and the proof that its metadata is unchanged."""

from __future__ import annotations

from dataclasses import dataclass

from unbrick.disks.bitlocker.datums import KeyProtector
from unbrick.disks.bitlocker.key_box import holds, key_length, open_box, password_key, stretch
from unbrick.disks.bitlocker.metadata import BitLockerMetadata, doubtful
from unbrick.disks.bitlocker.quick_stretch import ask_stretched_key
from unbrick.errors import NeedsHandsError, NeedsKeyError, Reason
from unbrick.model import ProtectorKind
from unbrick.processes.command import Runner
from unbrick.secret import Secret

MOST_TRIED = 16
"""Recovery protectors of one volume that a password is tried on: each takes half a second."""

_KEY_LENGTHS = {
    "aes-xts-128": 32,
    "aes-xts-256": 64,
    "aes-cbc-128": 16,
    "aes-cbc-256": 32,
    "aes-cbc-128-elephant": 64,
    "aes-cbc-256-elephant": 64,
}
_MASTER_KEY_LENGTH = 32


class KeyWrongError(NeedsKeyError):
    """A recovery password (or the clear key) does not open this volume; another one may.

    `untried` counts the recovery protectors that the password was not tried on.
    """

    def __init__(self, message: str, *, hint: str | None = None, untried: int = 0) -> None:
        super().__init__(message, hint=hint, reason=Reason.KEY_WRONG)
        self.untried = untried


@dataclass(frozen=True)
class VolumeKeys:
    """An opened volume's key, and the slot (from 0) of the first copy of its metadata that is proved."""

    volume: Secret
    slot: int


@dataclass
class KnownKey:
    """The key that opened a volume: with it, no password is stretched anew to open the volume again."""

    master: Secret | None = None


def find_keys(
    metadata: BitLockerMetadata,
    password: Secret | None,
    wanted: str | None,
    runner: Runner,
    known: KnownKey | None = None,
) -> VolumeKeys:
    """The keys that a password opens, or the clear key (`password` None); `wanted` as in `check_password`.

    A `known` key is tried first; the key that opened the volume is kept in it. Raises KeyWrongError,
    NeedsHandsError (damaged-metadata) where the metadata is not BitLocker's own.
    """
    master_key = known.master if known is not None else None
    if master_key is None or not _opens(metadata, master_key):
        if password is None:
            master_key = open_clear_key(metadata)
        else:
            master_key = check_password(metadata, password, wanted=wanted, runner=runner)
    if known is not None:
        known.master = master_key
    volume_key = open_volume_key(metadata, master_key)
    if volume_key is None or key_length(volume_key) != _KEY_LENGTHS[metadata.method]:
        raise _not_its_own("its key does not fit the encryption it names")
    return VolumeKeys(volume_key, _proved_copy(metadata, master_key))


def check_password(
    metadata: BitLockerMetadata,
    password: Secret,
    *,
    wanted: str | None = None,
    runner: Runner | None = None,
) -> Secret:
    """The volume master key that a recovery password opens; about half a second for each protector tried.

    The protector `wanted`, whose id the password is kept under, is tried first; at most 16 are. cryptsetup
    helps where there is a `runner`. Raises KeyWrongError.
    """
    try:
        key = password_key(password)
    except ValueError:
        raise KeyWrongError("this is not a BitLocker recovery password") from None
    candidates = [p for p in metadata.key_protectors if p.kind is ProtectorKind.RECOVERY_PASSWORD]
    candidates.sort(key=lambda protector: protector.id != wanted)
    for protector in candidates[:MOST_TRIED]:
        master_key = _open_protector(protector, password, key, runner)
        if master_key is not None and _opens(metadata, master_key):
            return master_key
    names = ", ".join(protector.id for protector in candidates[:MOST_TRIED]) or "none"
    raise KeyWrongError(
        "the recovery password does not open this volume",
        hint=f"the volume asks for the recovery password of key ID {names}",
        untried=len(candidates[MOST_TRIED:]),
    )


def _open_protector(
    protector: KeyProtector, password: Secret, key: Secret, runner: Runner | None
) -> Secret | None:
    if protector.salt is None or protector.sealed_key is None:
        return None
    stretched = ask_stretched_key(protector, password, runner) if runner is not None else None
    return open_box(stretched or stretch(key, protector.salt), protector.sealed_key)


def open_clear_key(metadata: BitLockerMetadata) -> Secret:
    """The volume master key of a volume whose protection is suspended; raises KeyWrongError."""
    for protector in metadata.key_protectors:
        if protector.clear_key is not None and protector.sealed_key is not None:
            master_key = open_box(protector.clear_key, protector.sealed_key)
            if master_key is not None and _opens(metadata, master_key):
                return master_key
    raise KeyWrongError("this volume is not suspended: it has no clear key that opens it")


def has_clear_key(metadata: BitLockerMetadata) -> bool:
    return any(protector.kind is ProtectorKind.CLEAR_KEY for protector in metadata.key_protectors)


def _opens(metadata: BitLockerMetadata, master_key: Secret) -> bool:
    return open_volume_key(metadata, master_key) is not None


def open_volume_key(metadata: BitLockerMetadata, master_key: Secret) -> Secret | None:
    """The key that the sectors are encrypted with; None where the master key does not open it."""
    if key_length(master_key) != _MASTER_KEY_LENGTH or metadata.sealed_volume_key is None:
        return None
    return open_box(master_key, metadata.sealed_volume_key)


def _proved_copy(metadata: BitLockerMetadata, master_key: Secret) -> int:
    """The first copy whose sealed checksum is right: the CRC proves nothing, it needs no key."""
    for seal in metadata.seals:
        if holds(master_key, seal.box, seal.digest):
            return seal.slot
    raise _not_its_own("its sealed checksum is wrong")


def _not_its_own(why: str) -> NeedsHandsError:
    return doubtful(f"BitLocker's metadata was changed by something that has no key to it: {why}")
