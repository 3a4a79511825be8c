"""Opens a BitLocker volume: one call over `cryptsetup` (where device-mapper is) and `dislocker` (elsewhere).

The password is checked and stretched once, by cryptsetup where it can and else here; the programs get the
key it leads to, through a file that exists in memory only. A volume that is still converting is refused
before any program is started.
"""

from __future__ import annotations

import os
import secrets
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from unbrick.command import Runner, wait_until
from unbrick.disks.bitlocker import BitLockerMetadata, read_metadata
from unbrick.disks.discover import Disk
from unbrick.disks.fuse_mount import FuseMount
from unbrick.disks.key_box import open_box, password_key, stretch
from unbrick.disks.loop_device import attach_loop
from unbrick.disks.quick_stretch import ask_volume_key
from unbrick.errors import FailedError, NeedsHandsError, NeedsKeyError, Reason
from unbrick.model import ProtectorKind, Volume, VolumeState
from unbrick.secret import Secret

_START_SECONDS = 60.0
_END_SECONDS = 120.0
_MASTER_KEY_LENGTH = 32
_DISLOCKER_CIPHERS = {"aes-xts-128": 0x8004, "aes-xts-256": 0x8005}
_MAPPER_FOLDER = Path("/dev/mapper")


class KeyWrongError(NeedsKeyError):
    """A recovery password (or the clear key) does not open this volume; another one may."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint, reason=Reason.KEY_WRONG)


def check_password(metadata: BitLockerMetadata, password: Secret) -> Secret:
    """The volume master key that a recovery password opens; about 0.4 s for each protector tried.

    Raises KeyWrongError.
    """
    try:
        key = password_key(password)
    except ValueError:
        raise KeyWrongError("this is not a BitLocker recovery password") from None
    candidates = [p for p in metadata.key_protectors if p.kind is ProtectorKind.RECOVERY_PASSWORD]
    for protector in candidates:
        if protector.salt is None or protector.sealed_key is None:
            continue
        master_key = open_box(stretch(key, protector.salt), protector.sealed_key)
        if _opens(metadata, master_key):
            assert master_key is not None
            return master_key
    names = ", ".join(protector.id for protector in candidates) or "none"
    raise KeyWrongError(
        "the recovery password does not open this volume",
        hint=f"the volume asks for the recovery password of key ID {names}",
    )


def open_clear_key(metadata: BitLockerMetadata) -> Secret:
    """The volume master key of a volume whose protection is suspended; raises KeyWrongError."""
    for protector in metadata.key_protectors:
        if protector.clear_key is not None and protector.sealed_key is not None:
            master_key = open_box(protector.clear_key, protector.sealed_key)
            if _opens(metadata, master_key):
                assert master_key is not None
                return master_key
    raise KeyWrongError("this volume is not suspended: it has no clear key that opens it")


def has_clear_key(metadata: BitLockerMetadata) -> bool:
    """Whether the volume says that it opens without a password."""
    return any(protector.kind is ProtectorKind.CLEAR_KEY for protector in metadata.key_protectors)


def _opens(metadata: BitLockerMetadata, master_key: Secret | None) -> bool:
    return master_key is not None and open_volume_key(metadata, master_key) is not None


def open_volume_key(metadata: BitLockerMetadata, master_key: Secret) -> Secret | None:
    """The key that the sectors are encrypted with; None where the master key does not open it."""
    if len(master_key.reveal()) != _MASTER_KEY_LENGTH or metadata.sealed_volume_key is None:
        return None
    return open_box(master_key, metadata.sealed_volume_key)


@contextmanager
def unlock(
    disk: Disk,
    volume: Volume,
    password: Secret | None,
    runner: Runner,
    workdir: Path,
) -> Iterator[Path]:
    """The decrypted volume as a path, writable, while the context lasts; `password` None: by its clear key.

    Raises KeyWrongError where the key does not open it, NeedsHandsError (converting, damaged-metadata),
    FailedError.
    """
    with disk.raw.open("rb") as stream:
        metadata = read_metadata(stream, volume.offset, volume.length)
    if metadata.state is VolumeState.CONVERTING:
        raise NeedsHandsError(
            "BitLocker is still encrypting or decrypting this volume",
            hint="let Windows finish (manage-bde -status), then try again",
            reason=Reason.CONVERTING,
        )
    if not 0 < metadata.volume_length <= volume.length:
        raise NeedsHandsError(
            "BitLocker's metadata speaks of a volume larger than its partition",
            reason=Reason.DAMAGED_METADATA,
        )
    quick = ask_volume_key(disk, volume, metadata, password, runner) if password is not None else None
    keys = _Keys(None, quick) if quick is not None else _find_keys(metadata, password)
    # cryptsetup takes a volume with a clear key for one that is being decrypted, and refuses it.
    if has_device_mapper(runner) and not has_clear_key(metadata):
        kernel_key = _key_for_cryptsetup(keys.volume, metadata.method)
        with _open_with_cryptsetup(disk, volume, kernel_key, runner) as path:
            yield path
    else:
        with _open_with_dislocker(disk, volume, _key_for_dislocker(keys, metadata), runner, workdir) as path:
            yield path


@dataclass(frozen=True)
class _Keys:
    """The keys of an opened volume; `master` is None where only the key it leads to is known."""

    master: Secret | None
    volume: Secret


def _find_keys(metadata: BitLockerMetadata, password: Secret | None) -> _Keys:
    master_key = open_clear_key(metadata) if password is None else check_password(metadata, password)
    volume_key = open_volume_key(metadata, master_key)
    assert volume_key is not None
    return _Keys(master_key, volume_key)


def has_device_mapper(runner: Runner) -> bool:
    """Whether the kernel can decrypt for us."""
    # Opened, not only looked at: the node may be there with no driver behind it, and opening loads one.
    try:
        os.close(os.open(_MAPPER_FOLDER / "control", os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return runner.has("cryptsetup")


@contextmanager
def _key_file(key: Secret) -> Iterator[int]:
    """A descriptor of a nameless file in memory that holds a key; emptied when the program has read it."""
    descriptor = os.memfd_create("key", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, key.reveal())
        yield descriptor
    finally:
        os.ftruncate(descriptor, 0)
        os.close(descriptor)


@contextmanager
def _open_with_dislocker(
    disk: Disk, volume: Volume, given: tuple[str, Secret], runner: Runner, workdir: Path
) -> Iterator[Path]:
    option, secret = given
    folder = workdir / f"unlocked-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o700)
    with _key_file(secret) as key:
        argv = ["dislocker", "-q", "-V", str(disk.raw), "-O", str(volume.offset)]
        argv += [option, f"/proc/self/fd/{key}", "--", "-f", str(folder)]
        server = runner.start(argv, pass_fds=(key,))
        mounted = FuseMount(folder, server)
        try:
            plain = folder / "dislocker-file"
            wait_until(server, plain.exists, timeout=_START_SECONDS, what="dislocker")
        except BaseException:
            mounted.end(_END_SECONDS)
            raise
    with ExitStack() as stack:
        stack.callback(mounted.end, _END_SECONDS)
        if plain.stat().st_size > volume.length:
            raise FailedError("dislocker shows more than the partition holds")
        yield plain


def _key_for_dislocker(keys: _Keys, metadata: BitLockerMetadata) -> tuple[str, Secret]:
    """The option and the key file's content: the master key, or the cipher's number and the volume key."""
    if keys.master is not None:
        return "-K", keys.master
    # Debian's dislocker takes no shorter file, however long the cipher's key is.
    return "-k", Secret(struct.pack("<H64s", _DISLOCKER_CIPHERS[metadata.method], keys.volume.reveal()))


def _key_for_cryptsetup(volume_key: Secret, method: str) -> Secret:
    """The volume key as cryptsetup takes it: a key file with as many bytes as the cipher has."""
    raw = volume_key.reveal()
    if method == "aes-cbc-128-elephant":
        # On the disk both halves, for the cipher and for the diffuser, are padded to 32 bytes.
        return Secret(raw[:16] + raw[32:48])
    return volume_key


@contextmanager
def _open_with_cryptsetup(disk: Disk, volume: Volume, volume_key: Secret, runner: Runner) -> Iterator[Path]:
    name = f"unbrick-{secrets.token_hex(8)}"
    plain = _MAPPER_FOLDER / name
    with (
        attach_loop(disk.raw, offset=volume.offset, length=volume.length) as loop,
        _key_file(volume_key) as key,
    ):
        argv = ["cryptsetup", "open", "--type", "bitlk", "--volume-key-file", f"/proc/self/fd/{key}"]
        try:
            runner.run([*argv, str(loop.path), name], timeout=_START_SECONDS, pass_fds=(key,))
            descriptor = _hold(plain)
        except BaseException:
            # A Ctrl-C or a time limit may strike when the mapping is made already: it must not stay open.
            runner.run(["cryptsetup", "close", name], timeout=_END_SECONDS, ok=None)
            raise
        try:
            # From now on the kernel removes the mapping with its last user, also when that is killed. Its
            # name may be gone at once; the kernel's own node stays.
            runner.run(["cryptsetup", "close", "--deferred", name], timeout=_END_SECONDS)
            yield _kernel_node(descriptor)
        finally:
            os.close(descriptor)


def _hold(plain: Path) -> int:
    try:
        return os.open(plain, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise FailedError(f"cryptsetup made no {plain}: {error.strerror}") from error


def _kernel_node(descriptor: int) -> Path:
    """The node that the kernel itself keeps for an open block device, such as `/dev/dm-0`."""
    device = os.fstat(descriptor).st_rdev
    return Path("/dev") / Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").readlink().name
