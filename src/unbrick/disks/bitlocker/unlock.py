"""Opens a BitLocker volume with `cryptsetup` (where there is device-mapper) or `dislocker` (elsewhere).

What cryptsetup does not take goes to dislocker too. Both get the volume key, through a file that exists in
memory only, and no password. Neither checks the metadata as unbrick does, and each believes another part of
it: so all of it is checked before they start, and what they show is checked before anything is written.
"""

from __future__ import annotations

import os
import secrets
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from unbrick.disks.bitlocker.master_key import KnownKey, VolumeKeys, find_keys, has_clear_key
from unbrick.disks.bitlocker.metadata import METHODS, BitLockerMetadata, doubtful, read_metadata
from unbrick.disks.disk import Disk
from unbrick.disks.fuse_mount import FuseMount
from unbrick.disks.loop_device import attach_loop
from unbrick.errors import FailedError, NeedsHandsError, Reason
from unbrick.model import Volume, VolumeState
from unbrick.processes.command import Runner, wait_until
from unbrick.secret import Secret

_START_SECONDS = 60.0
_END_SECONDS = 120.0
_CHUNK = 1024 * 1024
_DISLOCKER_CIPHERS = {word: number for number, word in METHODS.items()}  # it takes the metadata's numbers
_MAPPER_FOLDER = Path("/dev/mapper")


class _NotTakenError(Exception):
    """cryptsetup does not open the volume; dislocker may."""


@contextmanager
def unlock(
    disk: Disk,
    volume: Volume,
    password: Secret | None,
    runner: Runner,
    workdir: Path,
    *,
    wanted: str | None = None,
    known: KnownKey | None = None,
) -> Iterator[Path]:
    """The decrypted volume as a path, open as the disk is, while the context lasts.

    `password` None: by its clear key. `wanted` is the id of the protector that the password is kept under,
    where that is known; `known` as in `find_keys`. Raises KeyWrongError where the key does not open it,
    NeedsHandsError (converting, damaged-metadata, unsupported-bitlocker), FailedError.
    """
    with disk.raw.open("rb") as stream:
        metadata = read_metadata(stream, volume.offset, volume.length)
    if metadata.state is VolumeState.CONVERTING:
        raise NeedsHandsError(
            "BitLocker has not finished encrypting or decrypting this volume",
            hint="let Windows finish (manage-bde -status), then try again",
            reason=Reason.CONVERTING,
        )
    if not 0 < metadata.volume_length <= volume.length:
        raise doubtful("BitLocker's metadata describes a volume larger than its partition")
    keys = find_keys(metadata, password, wanted, runner, known)
    with ExitStack() as stack:
        path = None
        # cryptsetup believes the first copy, with any checksum, and opens no volume with a clear key.
        if keys.slot == 0 and not has_clear_key(metadata) and has_device_mapper(runner):
            with suppress(_NotTakenError):
                opened = _open_with_cryptsetup(disk, volume, _key_for_cryptsetup(keys, metadata), runner)
                path = stack.enter_context(opened)
        if path is None:
            path = stack.enter_context(_open_with_dislocker(disk, volume, metadata, keys, runner, workdir))
        _check_reserved(path, metadata, volume)
        yield path


def _check_reserved(path: Path, metadata: BitLockerMetadata, volume: Volume) -> None:
    """BitLocker's own data must read as zeros: else the program sees another layout than unbrick."""
    with path.open("rb") as plain:
        if not metadata.volume_length <= plain.seek(0, os.SEEK_END) <= volume.length:
            raise _other_layout()
        for offset, length in metadata.reserved:
            # Both ends are enough; what BitLocker To Go keeps between them grows with the volume.
            part = min(length, _CHUNK)
            for at in {offset, offset + length - part}:
                plain.seek(at)
                if plain.read(part) != bytes(part):
                    raise _other_layout()


def _other_layout() -> NeedsHandsError:
    return doubtful("BitLocker's metadata does not say clearly what lies where on this volume")


def has_device_mapper(runner: Runner) -> bool:
    # Opened, not only looked at: the node may be there with no driver behind it, and opening loads one.
    try:
        os.close(os.open(_MAPPER_FOLDER / "control", os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return runner.has("cryptsetup")


@contextmanager
def _key_file(key: Secret) -> Iterator[int]:
    """A descriptor of a nameless file in memory that holds a key; emptied at the end."""
    descriptor = os.memfd_create("key", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, key.reveal())
        yield descriptor
    finally:
        os.ftruncate(descriptor, 0)
        os.close(descriptor)


@contextmanager
def _open_with_dislocker(
    disk: Disk, volume: Volume, metadata: BitLockerMetadata, keys: VolumeKeys, runner: Runner, workdir: Path
) -> Iterator[Path]:
    folder = workdir / f"unlocked-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o700)
    with _key_file(_key_for_dislocker(keys, metadata)) as key:
        argv = ["dislocker", "-q", "-V", str(disk.raw), "-O", str(volume.offset), f"-F{keys.slot + 1}"]
        argv += [] if disk.writable else ["-r"]
        argv += ["-k", f"/proc/self/fd/{key}", "--", "-f", str(folder)]
        server = runner.start(argv, pass_fds=(key,))
        mounted = FuseMount(folder, server)
        try:
            plain = folder / "dislocker-file"
            wait_until(server, plain.exists, timeout=_START_SECONDS, what="dislocker")
        except BaseException as error:
            mounted.end(_END_SECONDS)
            if isinstance(error, FailedError) and error.reason == Reason.PROGRAM_FAILED:
                raise FailedError(
                    "dislocker does not open this BitLocker volume, although the key fits and its metadata "
                    "is sound",
                    hint="is /dev/fuse there? Else repair this disk in Windows' recovery environment",
                    reason=Reason.PROGRAM_FAILED,
                ) from error
            raise
    with ExitStack() as stack:
        stack.callback(mounted.end, _END_SECONDS)
        yield plain


def _key_for_dislocker(keys: VolumeKeys, metadata: BitLockerMetadata) -> Secret:
    """A file for `-k`: the cipher's number and the volume key, in 66 bytes for any length of key."""
    return Secret(struct.pack("<H64s", _DISLOCKER_CIPHERS[metadata.method], keys.volume.reveal()))


def _key_for_cryptsetup(keys: VolumeKeys, metadata: BitLockerMetadata) -> Secret:
    """The volume key as cryptsetup takes it: a key file with as many bytes as the cipher has."""
    raw = keys.volume.reveal()
    if metadata.method == "aes-cbc-128-elephant":
        # On the disk both halves, for the cipher and for the diffuser, are padded to 32 bytes.
        return Secret(raw[:16] + raw[32:48])
    return keys.volume


@contextmanager
def _open_with_cryptsetup(disk: Disk, volume: Volume, volume_key: Secret, runner: Runner) -> Iterator[Path]:
    name = f"unbrick-{secrets.token_hex(8)}"
    plain = _MAPPER_FOLDER / name
    with (
        attach_loop(
            disk.raw, offset=volume.offset, length=volume.length, read_only=not disk.writable
        ) as loop,
        _key_file(volume_key) as key,
    ):
        argv = ["cryptsetup", "open", "--type", "bitlk", "--volume-key-file", f"/proc/self/fd/{key}"]
        argv += [] if disk.writable else ["--readonly"]
        try:
            # It refuses what dislocker takes: an unknown entry, a cipher that the kernel does not have.
            command = [*argv, str(loop), name]
            if runner.run(command, timeout=_START_SECONDS, pass_fds=(key,), ok=None).returncode != 0:
                raise _NotTakenError
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
        raise _NotTakenError from error


def _kernel_node(descriptor: int) -> Path:
    """The kernel's own node of an open block device, such as `/dev/dm-0`."""
    device = os.fstat(descriptor).st_rdev
    return Path("/dev") / Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").readlink().name
