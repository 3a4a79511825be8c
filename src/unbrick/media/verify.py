"""Checks every byte of an image or of a stick against the signed manifest that is on it.

What belongs neither to the image nor to the partition table has no signature: files on the partition UNBRICK
are listed, and what lies behind it is reported.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from unbrick.errors import FailedError, UsageError
from unbrick.media.image.iso_files import IsoError, IsoFile, find_files
from unbrick.media.image.manifest import (
    MANIFEST_BYTES,
    MANIFEST_NAME,
    NAMESPACE,
    SIGNATURE_BYTES,
    SIGNATURE_NAME,
    ImageBytes,
    ImageManifest,
    ManifestError,
    fill,
    hash_image,
    parse_manifest,
    signed_bytes,
)
from unbrick.media.stick.fat_entries import FatError, read_contents
from unbrick.media.stick.layout import StickLayout, find_differences, plan_stick
from unbrick.media.stick.volume import README, README_NAME, find_boot_files, read_boot_code, written_boot_code
from unbrick.processes.command import Runner
from unbrick.signing.signed_folder import MANIFEST_NAME as SETTINGS_LIST
from unbrick.signing.signed_folder import SIGNATURE_NAME as SETTINGS_SIGNATURE
from unbrick.signing.signed_folder import SignedFolderError
from unbrick.signing.signed_settings import check_files
from unbrick.signing.site_key import SignatureError, fingerprint, plain_form, signer_of, verify

_TIMEOUT = 300.0
_HINT = "start no machine from it; name the image, or the whole stick"
_COPY = "copy it again from where `unbrick media build` made it; nothing was written"
_MOST_READ_BEHIND = 64 * 1024 * 1024
# What stations and `unbrick outbox` write there; only reports have an effect, and each of them is signed.
_OWN = re.compile(
    r"outbox/(\.last-run|\.medium-key|((refused|damaged)/)?[^/]+\.(json|reason\.txt))|log/[^/]+\.log"
)
# What a station reads, or would if it had another ending, and the list that says who signed it.
_IS_A_SETTING = re.compile(r"unbrick\.ya?ml(\.txt)?|playbooks/.+|unbrick-signed\.json(\.sig)?")


@dataclass(frozen=True)
class Verdict:
    """What was found. `problems` make the medium bad; `unsigned` are files that nobody has signed."""

    manifest: ImageManifest
    stick: bool
    signed: bool
    problems: tuple[str, ...]
    settings: tuple[str, ...]
    unsigned: tuple[str, ...]
    notes: tuple[str, ...]


def verify_medium(
    path: Path,
    site_key: str | None,
    runner: Runner,
    progress: Callable[[str, int, int], None],
    *,
    strict: bool = False,
) -> Verdict:
    """Check an image or a stick; raises FailedError where it is neither. `site_key` is a public key line.

    With `strict`, settings or playbooks that the site has not signed are a problem.
    """
    path = path.absolute()  # the programs that are asked do not run in our folder
    with _opened(path) as (descriptor, size):

        def read(offset: int, length: int) -> bytes:
            try:
                return os.pread(descriptor, length, offset)
            except OSError as error:
                raise FailedError(f"{path}: cannot be read at byte {offset}: {error.strerror}") from error

        verdict = _verify(path, read, size, site_key, runner, progress)
    if not strict:
        return verdict
    loose = [name for name in verdict.unsigned if _IS_A_SETTING.fullmatch(name.lower())]
    problems = (f"nobody has signed {name} on the partition UNBRICK" for name in loose)
    return replace(verdict, problems=(*verdict.problems, *problems))


def check_image(image: Path, site_key: str | None, progress: Callable[[str, int, int], None]) -> int:
    """The size of an image whose every byte is as its own signed list says, without what is behind it.

    Raises UsageError for one that is damaged, cut short, no medium's or of another site.
    """
    if site_key is not None:
        _refuse_other_key(image, site_key)
    with _opened(image) as (descriptor, size):

        def read(offset: int, length: int) -> bytes:
            progress("checking", offset, size)
            return os.pread(descriptor, length, offset)

        try:
            manifest, problems = _read_manifest(image, read, size, site_key)
            if size < manifest.image.size:
                problems = [f"is cut short: {size} of {manifest.image.size} bytes are there"]
            if not problems:
                bytes_of = manifest.image
                whole, pieces = hash_image(read, bytes_of.size, bytes_of.zeros, bytes_of.piece)
                problems = _changed_pieces(bytes_of, whole, pieces)
            progress("checking", size, size)
        except FailedError as error:
            raise UsageError(error.message, hint=_COPY) from error
        except OSError as error:
            raise UsageError(f"{image}: cannot be read: {error.strerror}", hint=_COPY) from error
    if problems:
        raise UsageError(f"{image}: {problems[0]}", hint=_COPY)
    return manifest.image.size


def _refuse_other_key(image: Path, line: str) -> None:
    """Raise UsageError where an image was built with another site key than the public key `line`.

    Else settings that another key signed would be carried to forty machines, none of which they repair. An
    image without a signature of its own is judged elsewhere.
    """
    own = _key_of(image)
    if own is not None and own != line:
        raise UsageError(
            f"{image} was built with another site key and would not believe these settings",
            hint=f"sign with the key {fingerprint(own)}; the one that was named is {fingerprint(line)}",
        )


def _key_of(image: Path) -> str | None:
    """The public key line of whoever signed the image's list; it is not verified here."""
    try:
        descriptor = os.open(image, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"{image}: cannot be read: {error.strerror}") from error
    try:
        files = find_files(lambda offset, size: os.pread(descriptor, size, offset))
        place = files.get(SIGNATURE_NAME)
        if place is None or place.size > SIGNATURE_BYTES:
            return None
        text = os.pread(descriptor, place.size, place.offset).rstrip(b"\0\n ")
        return signer_of(text.decode("ascii", errors="replace"))
    except (IsoError, SignatureError):
        return None
    finally:
        os.close(descriptor)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[int, int]]:
    """A descriptor of a file or disk, and its size in bytes; raises UsageError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe would never open
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror}", hint="name the image, or the whole stick; as root, for a stick"
        ) from error
    try:
        kind = os.fstat(descriptor).st_mode
        if not stat.S_ISBLK(kind) and not stat.S_ISREG(kind):
            raise UsageError("neither a file nor a disk", hint="name the image, or the whole stick")
        yield descriptor, os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)


def _verify(
    path: Path,
    read: Callable[[int, int], bytes],
    size: int,
    site_key: str | None,
    runner: Runner,
    progress: Callable[[str, int, int], None],
) -> Verdict:
    manifest, problems = _read_manifest(path, read, size, site_key)
    if size < manifest.image.size:
        problems.append(f"it is cut short: {size} of {manifest.image.size} bytes are there")
    head, layout, notes = b"", None, []
    if size > manifest.image.size:
        head, layout, differences = _compare_table(read, manifest.image.size, size)
        problems += differences
        if layout is None:
            notes.append(f"{size - manifest.image.size} bytes behind the image do not belong to it")

    def read_image(offset: int, length: int) -> bytes:
        progress("checking", offset, manifest.image.size)
        data = read(offset, length)
        return (head + data[len(head) :] if head and offset == 0 else data).ljust(length, b"\0")

    whole, pieces = hash_image(read_image, manifest.image.size, manifest.image.zeros, manifest.image.piece)
    progress("checking", manifest.image.size, manifest.image.size)
    problems += _changed_pieces(manifest.image, whole, pieces)
    settings: tuple[str, ...] = ()
    unsigned: tuple[str, ...] = ()
    if layout is not None:
        settings, unsigned, found = _check_partition(path, read, layout, site_key, runner)
        problems += found
        notes += _behind_partition(read, layout)
        if read_boot_code(read, layout.partition_offset) != written_boot_code(layout, runner):
            notes.append("the code in UNBRICK's boot sector is not as it was written; nothing starts it")
    signed = site_key is not None
    return Verdict(manifest, layout is not None, signed, tuple(problems), settings, unsigned, tuple(notes))


def _read_manifest(
    path: Path, read: Callable[[int, int], bytes], size: int, site_key: str | None
) -> tuple[ImageManifest, list[str]]:
    try:
        files = find_files(read)
    except IsoError as error:
        raise FailedError(f"{path}: {error.message}, or a damaged one", hint=_HINT) from error
    reserved = [files.get(name, IsoFile(0, 0)) for name in (MANIFEST_NAME.lower(), SIGNATURE_NAME.lower())]
    if [file.size for file in reserved] != [MANIFEST_BYTES, SIGNATURE_BYTES]:
        raise FailedError(f"{path}: has no list of its files, or is damaged", hint=_HINT)
    if any(file.offset + file.size > size for file in reserved):
        raise FailedError(f"{path}: is cut short: it ends before the list of its files", hint=_HINT)
    listed, signature = (read(file.offset, file.size) for file in reserved)
    problems = _check_list(listed, signature, site_key)
    try:
        manifest = parse_manifest(listed)
    except ManifestError as error:
        raise FailedError(f"{path}: {error.message}", hint=_HINT) from error
    expected = tuple((file.offset, file.size) for file in reserved)
    if manifest.image.zeros != expected:
        problems.append("the list of its files does not lie where it says")
    return manifest, problems


def _check_list(listed: bytes, signature: bytes, site_key: str | None) -> list[str]:
    """What is wrong with the list and its signature, the only bytes of an image that no sum covers.

    Without a site's key, that of the signature itself shows at least whether they are damaged.
    """
    text = signature.rstrip(b"\n").decode("ascii", errors="replace") + "\n"
    try:
        verify(signed_bytes(listed), text, site_key or signer_of(text), NAMESPACE)
        plain = plain_form(text)
    except SignatureError as error:
        return [f"the list of its files is not {'the site' if site_key else 'its maker'}'s: {error.message}"]
    # Padding, and how a signature is wrapped in lines, do not change what is signed.
    exact = (fill(signed_bytes(listed), MANIFEST_BYTES), fill(plain.encode(), SIGNATURE_BYTES))
    return [] if (listed, signature) == exact else ["the list of its files is not written as it was"]


def _compare_table(
    read: Callable[[int, int], bytes], image_size: int, size: int
) -> tuple[bytes, StickLayout | None, list[str]]:
    """A stick's head differs from its image's: the image's own head, and what is wrong with the stick's."""
    try:
        head, differences = find_differences(read, image_size, size)
        return head, plan_stick(head, image_size, size), differences
    except UsageError:
        return b"", None, []  # the image was copied as it stands: its own head is the stick's


def _changed_pieces(image: ImageBytes, whole: str, pieces: tuple[str, ...]) -> list[str]:
    changed = [
        index for index, pair in enumerate(zip(pieces, image.pieces, strict=True)) if pair[0] != pair[1]
    ]
    if not changed:
        return [] if whole == image.sha256 else ["the list of its files contradicts itself"]
    places = ", ".join(f"{index * image.piece}" for index in changed[:8])
    more = f" and {len(changed) - 8} more" if len(changed) > 8 else ""
    return [f"bytes of the image were changed, in the {image.piece >> 20} MiB from byte {places}{more}"]


def _behind_partition(read: Callable[[int, int], bytes], layout: StickLayout) -> list[str]:
    """Notes on the room that belongs to nothing; it is never read, so it makes no stick bad."""
    start = layout.partition_offset + layout.partition_size
    length = layout.pieces[-1][0] - start
    if length > _MOST_READ_BEHIND:
        return [f"{length >> 20} MiB behind the partition UNBRICK belong to nothing and were not looked at"]
    if any(read(start, length)):
        return [f"{length} bytes behind the partition UNBRICK belong to nothing, and are not empty"]
    return []


def _check_partition(
    stick: Path,
    read: Callable[[int, int], bytes],
    layout: StickLayout,
    site_key: str | None,
    runner: Runner,
) -> tuple[tuple[str, ...], tuple[str, ...], list[str]]:
    """Signed names, unsigned names, and problems."""
    problems = []
    if find_boot_files(stick, layout, runner):
        problems.append("a boot loader lies on the partition UNBRICK; none belongs there")
    drive = f"{stick}@@{layout.partition_offset}"
    listed = runner.run(["mdir", "-a", "-/", "-b", "-i", drive, "::/"], timeout=_TIMEOUT, ok=None)
    if listed.returncode != 0:
        return (), (), [*problems, "the partition UNBRICK cannot be read"]
    lines = listed.stdout.decode(errors="replace").split("\n")[:-1]
    shown = [line.removeprefix("::/") for line in lines]
    names = [name for name in shown if not name.endswith("/")]
    problems += _seen_by_others(read, layout, shown)
    good: tuple[str, ...] = ()
    if site_key is not None and SETTINGS_LIST in (name.lower() for name in names):
        check = check_files(partial(_read_from, drive, runner), site_key, ())
        good = check.good
        problems += [f"on the partition UNBRICK, {problem}" for problem in check.problems]
    known = {name.lower() for name in (*good, *((SETTINGS_LIST, SETTINGS_SIGNATURE) if good else ()))}
    with suppress(SignedFolderError):
        if _read_from(drive, runner, README_NAME, len(README)) == README:
            known.add(README_NAME.lower())
    unsigned = tuple(name for name in names if name.lower() not in known and not _OWN.fullmatch(name.lower()))
    return good, unsigned, problems


def _seen_by_others(
    read: Callable[[int, int], bytes], layout: StickLayout, shown: Sequence[str]
) -> Iterator[str]:
    """What is wrong with a volume whose files may not be the same for every program that reads it."""
    try:
        found = read_contents(read, layout.partition_offset)
    except FatError as error:
        yield f"the partition UNBRICK {error.message}"
        return
    yield from (f"the partition UNBRICK {fault}" for fault in found.faults)
    if sorted(map(str.casefold, found.names)) != sorted(map(str.casefold, shown)):
        yield "the partition UNBRICK shows other files to other programs than to unbrick"


def _read_from(drive: str, runner: Runner, name: str, most: int) -> bytes:
    """A file of the partition; in memory only, for there may be recovery passwords in it."""
    done = runner.run(["mcopy", "-n", "-i", drive, f"::/{name}", "-"], timeout=_TIMEOUT, ok=None)
    if done.returncode != 0:
        raise SignedFolderError(f"{name} is missing or cannot be read")
    if len(done.stdout) > most:
        raise SignedFolderError(f"{name} is too large")
    return done.stdout
