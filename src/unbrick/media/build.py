"""Builds a medium: the system, settings, the image, its signed manifest, the files beside it."""

from __future__ import annotations

import errno
import hashlib
import json
import mmap
import os
import platform
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from unbrick import __version__
from unbrick.errors import FailedError, UsageError
from unbrick.files import atomic_write
from unbrick.media.image import manifest as image_manifest
from unbrick.media.image.manifest import ImageBytes, ImageManifest, ListedFile
from unbrick.media.system.boot_files import LANGUAGE, make_catalogue, make_efi_partition
from unbrick.media.system.cached_part import Progress, SystemPart, cache_folder, make_system
from unbrick.media.system.definition import Definition, read_definition
from unbrick.media.system.file_tree import FileTree, write_cpio
from unbrick.media.system.software import bill_of_materials
from unbrick.processes.command import CommandError, SystemRunner
from unbrick.settings.strict import parse_json
from unbrick.signing.site_key import make_site_key, public_line, sign

_MONTHS_13 = 396 * 24 * 3600
_SETTINGS = "etc/unbrick/settings"
_SUMS_NAMESPACE = "file"
_ALIGN = 512
_VOLUME_LABEL = "UNBRICK_ISO"
_XORRISO_SECONDS = 300.0
_EARLIEST, _LATEST = 1704067200, 4102444800
RESERVED = {
    image_manifest.MANIFEST_NAME: image_manifest.MANIFEST_BYTES,
    image_manifest.SIGNATURE_NAME: image_manifest.SIGNATURE_BYTES,
}
# What programs say of a full disk; the second is xorriso.
_FULL = (b"No space left on device", b"exceeds free space on media")


@dataclass(frozen=True)
class BuildRequest:
    """What is asked for; times in seconds since 1970, None for the usual."""

    out: Path
    settings: Mapping[str, bytes]
    site_key: Path
    built: int | None = None
    expires: int | None = None
    fresh: bool = False


@dataclass(frozen=True)
class Built:
    """What a build made; `beside` are the files beside the image."""

    image: Path
    beside: tuple[Path, ...]
    manifest: ImageManifest
    site_key: str
    new_site_key: bool
    suites: tuple[str, ...]
    packages: int
    system_bytes: int


def build_medium(request: BuildRequest, progress: Progress, runner: SystemRunner) -> Built:
    """Build a medium; raises UsageError and FailedError with what to do."""
    _refuse(request)
    try:
        return _build(request, progress, runner)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _no_room(request) from error
        raise FailedError(f"{error.filename or request.out}: {error.strerror}") from error
    except CommandError as error:
        if any(words in error.stderr for words in _FULL):
            raise _no_room(request) from error
        raise


def _no_room(request: BuildRequest) -> FailedError:
    # By the free space: what failed names the file that was read as often as the one written.
    folders = [folder for folder in (cache_folder(), request.out.parent) if folder.is_dir()]
    full = min(folders, key=lambda folder: shutil.disk_usage(folder).free)
    return FailedError(
        f"{full}: no space is left on the disk",
        hint=f"a build needs 4 GB of room in {cache_folder()}, and 300 MB beside the image",
    )


def _build(request: BuildRequest, progress: Progress, runner: SystemRunner) -> Built:
    definition = read_definition()
    public = request.site_key.with_name(f"{request.site_key.name}.pub")
    new_key = not request.site_key.exists() and not public.exists()
    site_key = make_site_key(request.site_key, runner) if new_key else public_line(request.site_key)
    system = make_system(definition, cache_folder(), fresh=request.fresh, progress=progress, runner=runner)
    with tempfile.TemporaryDirectory(prefix=".unbrick-", dir=request.out.parent) as folder:
        work = Path(folder)
        facts = _facts(request, system, site_key)
        with progress("making the image"):
            image = _make_image(definition, system, request.settings, facts, work, runner)
        with progress("listing and signing it"):
            manifest = complete_image(image, work / "staged", facts, request.site_key, runner)
        beside = _write_beside(request, system, image, manifest, runner)
        image.chmod(0o600 if request.settings else 0o644)  # settings hold the station's private key
        image.replace(request.out)
    return Built(
        image=request.out,
        beside=beside,
        manifest=manifest,
        site_key=site_key,
        new_site_key=new_key,
        suites=system.root.suites,
        packages=len(parse_json(system.software)),
        system_bytes=system.archive.stat().st_size,
    )


def _refuse(request: BuildRequest) -> None:
    if platform.machine() != "x86_64":
        raise UsageError(
            f"a medium cannot be built on {platform.machine()}",
            hint="build it on an x86-64 computer: programs of the medium are run while it is built",
        )
    for option, moment in (("--built", request.built), ("--expires", request.expires)):
        if moment is not None and not _EARLIEST <= moment < _LATEST:
            raise UsageError(
                f"{option}: not between 2024 and 2100, so that a station would believe no clock",
                hint="correct it, or unset SOURCE_DATE_EPOCH where it comes from there",
            )
    if request.expires is not None and request.built is not None and request.expires <= request.built:
        raise UsageError("the medium would expire before it was built", hint="correct --built or --expires")
    for folder in (request.out.parent, request.site_key.parent):
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder", hint="make it, or name another")
    if request.out.is_dir():
        raise UsageError(f"{request.out}: is a folder", hint="name a file, like unbrick.iso")
    if request.out.exists() and not request.out.is_file():
        raise UsageError(
            f"{request.out}: is no file", hint="build a file, then write it to a stick: unbrick media write"
        )
    if not os.access(request.out.parent, os.W_OK | os.X_OK):
        raise UsageError(f"{request.out.parent}: nothing can be written there", hint="name another folder")


def _facts(request: BuildRequest, system: SystemPart, site_key: str) -> dict[str, str]:
    """What the medium says of itself; its id is a hash of all that went into it."""
    built = request.built if request.built is not None else system.root.newest
    expires = request.expires if request.expires is not None else built + _MONTHS_13
    if expires <= built:
        raise UsageError("the medium would expire before it was built", hint="correct --expires")
    facts = {
        "version": __version__,
        "built": _moment(built),
        "expires": _moment(expires),
        "site_key": " ".join(site_key.split()[:2]),
    }
    digest = hashlib.sha256(json.dumps([system.digest, sorted(facts.items())]).encode())
    for name, data in sorted(request.settings.items()):
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    return {"id": digest.hexdigest()[:16], **facts}


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds(moment: str) -> int:
    return int(datetime.strptime(moment, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp())


def _make_image(
    definition: Definition,
    system: SystemPart,
    settings: Mapping[str, bytes],
    facts: Mapping[str, str],
    work: Path,
    runner: SystemRunner,
) -> Path:
    staged = work / "staged"
    seconds = _seconds(facts["built"])
    for folder in (".unbrick", "boot/grub/locale", "netboot", "EFI/BOOT"):
        (staged / folder).mkdir(parents=True)
    (staged / ".unbrick" / facts["id"]).touch()
    for name, source in (
        ("boot/vmlinuz", "vmlinuz"),
        ("boot/grub/eltorito.img", "eltorito.img"),
        ("EFI/BOOT/BOOTX64.EFI", "shimx64.efi"),
        ("EFI/BOOT/grubx64.efi", "grubx64.efi"),
        ("netboot/shimx64.efi", "shimx64.efi"),
        ("netboot/grubnetx64.efi", "grubnetx64.efi"),
        ("netboot/pxelinux.0", "pxelinux.0"),
        ("netboot/ldlinux.c32", "ldlinux.c32"),
    ):
        shutil.copyfile(system.boot / source, staged / name)
    (staged / "boot/grub/grub.cfg").write_text(definition.boot_menu, encoding="utf-8")
    words = staged / f"boot/grub/locale/{LANGUAGE}.mo"
    words.write_bytes(make_catalogue(definition.boot_words))
    shutil.copyfile(system.licences, staged / "licences.tar.xz")
    for name, length in RESERVED.items():
        (staged / name).write_bytes(image_manifest.reserved(facts["id"], length, name))
    _write_initrd(staged / "boot/initrd.img", system, settings, facts)
    find = definition.boot_find.replace("@ID@", facts["id"]).encode()
    make_efi_partition(system.root, system.boot, find, work / "efi.img", seconds, runner)
    image = work / "image.iso"
    _write_image(system, staged, work / "efi.img", image, seconds, runner)
    return image


def _write_image(
    system: SystemPart, staged: Path, efi_partition: Path, out: Path, seconds: int, runner: SystemRunner
) -> None:
    """The hybrid image `out`: CD and USB stick, UEFI and legacy BIOS; every date in it is `seconds`."""
    arguments = [
        *("-as", "mkisofs", "-quiet", "-iso-level", "3", "-r", "-V", _VOLUME_LABEL),
        *("-b", "boot/grub/eltorito.img", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"),
        *("--grub2-boot-info", "--grub2-mbr", str(system.boot / "boot_hybrid.img")),
        *("-append_partition", "2", "0xef", str(efi_partition), "-appended_part_as_gpt"),
        *("-eltorito-alt-boot", "-e", "--interval:appended_partition_2:all::", "-no-emul-boot"),
        *("--set_all_file_dates", f"={seconds}", "-o", str(out), str(staged)),
    ]
    settings = {"SOURCE_DATE_EPOCH": str(seconds)}
    system.root.run(runner, "usr/bin/xorriso", *arguments, timeout=_XORRISO_SECONDS, environment=settings)


def _write_initrd(
    path: Path, system: SystemPart, settings: Mapping[str, bytes], facts: Mapping[str, str]
) -> None:
    """The system's archive, and behind it a small one with the facts and settings of this build."""
    tree = FileTree()
    tree.add_file("etc/unbrick/medium.json", json.dumps(facts, indent=1).encode() + b"\n")
    tree.add_folder(_SETTINGS)
    for name, data in settings.items():
        tree.add_file(f"{_SETTINGS}/{name}", data)
    shutil.copyfile(system.archive, path)
    with path.open("ab") as stream:
        stream.write(bytes(-stream.tell() % _ALIGN))
        write_cpio(tree, stream, _seconds(facts["built"]))


def complete_image(
    image: Path, staged: Path, facts: Mapping[str, str], key: Path, runner: SystemRunner
) -> ImageManifest:
    """Hash the image, sign the list, and write both into their reserved places; `staged` holds its files."""
    size = image.stat().st_size
    with image.open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as data:
        zeros = []
        for name, length in RESERVED.items():
            at = data.find(image_manifest.reserved(facts["id"], length, name))
            if at < 0:
                raise image_manifest.ManifestError("the reserved place of the manifest is not in the image")
            zeros.append((at, length))
        whole, pieces = image_manifest.hash_image(lambda at, length: data[at : at + length], size, zeros)
        manifest = ImageManifest(
            image_manifest.SCHEMA,
            id=facts["id"],
            version=facts["version"],
            built=facts["built"],
            expires=facts["expires"],
            image=ImageBytes(size, whole, image_manifest.PIECE, pieces, tuple(zeros)),
            files=_listed_files(staged),
        )
        listed = image_manifest.manifest_bytes(manifest)
        signature = sign(listed, key, image_manifest.NAMESPACE, runner).encode()
        for (at, length), content in zip(zeros, (listed, signature), strict=True):
            data[at : at + length] = image_manifest.fill(content, length)
    return manifest


def _listed_files(staged: Path) -> dict[str, ListedFile]:
    # The loader for BIOS is patched by xorriso.
    patched = {*RESERVED, "boot/grub/eltorito.img"}
    return {
        name: ListedFile(path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(staged.rglob("*"))
        if path.is_file() and (name := path.relative_to(staged).as_posix()) not in patched
    }


def _write_beside(
    request: BuildRequest, system: SystemPart, image: Path, manifest: ImageManifest, runner: SystemRunner
) -> tuple[Path, ...]:
    out = request.out
    components = parse_json(system.software)
    contents = {
        out.with_name(f"{out.name}.cdx.json"): bill_of_materials(
            components, manifest.id, _seconds(manifest.built)
        ),
        out.with_name(f"{out.name}.manifest.json"): image_manifest.manifest_bytes(manifest),
        out.with_name(f"{out.name}.hardware.txt"): system.hardware,
    }
    with image.open("rb") as stream:
        sums = [f"{hashlib.file_digest(stream, 'sha256').hexdigest()}  {out.name}\n"]
    for path, data in contents.items():
        atomic_write(path, data, mode=0o644)
        sums.append(f"{hashlib.sha256(data).hexdigest()}  {path.name}\n")
    listed = "".join(sums).encode()
    signature = sign(listed, request.site_key, _SUMS_NAMESPACE, runner)
    sums_file, signature_file = out.with_name("SHA256SUMS"), out.with_name("SHA256SUMS.sig")
    atomic_write(sums_file, listed, mode=0o644)
    atomic_write(signature_file, signature.encode(), mode=0o644)
    return (*contents, sums_file, signature_file)
