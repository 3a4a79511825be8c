"""Says what kind of disk image a file is, and how QEMU must open it: QEMU never guesses.

The extension and the first bytes must agree. A raw disk whose guest wrote a qcow2 header into its first
sector is refused, never probed: a header may name any file of the host.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from unbrick.disks.images.parts import own_part, part_beside, refuse_unsafe, view_part
from unbrick.disks.images.qcow2 import MAGIC as QCOW2_MAGIC
from unbrick.disks.images.qcow2 import read_qcow2
from unbrick.disks.images.vhdx import MAGIC as VHDX_MAGIC
from unbrick.disks.images.vhdx import read_vhdx
from unbrick.disks.images.vmdk import is_vmdk, is_whole_vmdk, read_vmdk
from unbrick.disks.raw_view import RawView
from unbrick.errors import NeedsHandsError, Reason

_CHAIN_LIMIT = 8


class ImageFormat(StrEnum):
    """The formats that are opened; the words are QEMU's driver names."""

    RAW = "raw"
    QCOW2 = "qcow2"
    VHDX = "vhdx"
    VMDK = "vmdk"


_EXTENSIONS = {
    ".img": ImageFormat.RAW,
    ".raw": ImageFormat.RAW,
    ".dd": ImageFormat.RAW,
    ".bin": ImageFormat.RAW,
    ".qcow2": ImageFormat.QCOW2,
    ".qcow": ImageFormat.QCOW2,
    ".vhdx": ImageFormat.VHDX,
    ".vmdk": ImageFormat.VMDK,
}
# Marks at the start of a file of formats that are recognised and not opened.
_UNSUPPORTED = (
    (0, b"conectix", "VHD"),
    (64, b"\x7f\x10\xda\xbe", "VDI"),
    (0, b"EVF\x09\x0d\x0a\xff\x00", "EnCase (E01)"),
    (0, b"EVF2\x0d\x0a\x81\x00", "EnCase (Ex01)"),
    (0, b"QED\0", "QED"),
    (0, b"COWD", "VMDK (ESX 2)"),
    (0, b"\xbe\xba\xfe\xca", "seSparse VMDK"),
    (0, b"WithoutFreeSpace", "Parallels"),
    (0, b"WithouFreSpacExt", "Parallels"),
    (0, b"AFF10", "AFF"),
    (0, b"MSWIM\0\0\0", "WIM"),
)
_UNSUPPORTED_TAILS = ((512, b"conectix", "VHD"), (511, b"conectix", "VHD"), (512, b"koly", "DMG"))


@dataclass(frozen=True)
class Image:
    """A checked image. `node` is how QEMU opens it, `files` what a write may reach, `bases` the images below.

    `virtual_size` is the disk's size in bytes, `sector_sizes` the order in which its table is to be tried.
    `has_log`: opening it, even only to look, writes to it what its log holds.
    """

    path: Path
    format: ImageFormat
    virtual_size: int
    sector_sizes: tuple[int, ...]
    node: dict[str, Any]
    files: tuple[Path, ...]
    bases: tuple[Path, ...] = ()
    has_log: bool = False


def examine_image(path: Path, given: ImageFormat | None = None, above: tuple[Path, ...] = ()) -> Image:
    """Check an image before anything opens it. `path` is resolved and a regular file.

    `given` is the format in a person's word, where the name says nothing; the first bytes must agree with it.
    `above` are the images that lie on this one. Raises NeedsHandsError (image-mismatch, image-unsafe,
    truncated), FailedError (unreadable-disk).
    """
    if path in above or len(above) >= _CHAIN_LIMIT:
        refuse_unsafe(path, "its chain of backing files never ends")
    with view_part(path) as view:
        match _find_format(view, path, given):
            case ImageFormat.RAW:
                node = {"driver": "raw", "file": _file_node(path)}
                return Image(path, ImageFormat.RAW, view.size, (512, 4096), node, (path,))
            case ImageFormat.QCOW2:
                return _examine_qcow2(view, path, above)
            case ImageFormat.VHDX:
                return _examine_vhdx(view, path)
            case ImageFormat.VMDK:
                return _examine_vmdk(view, path)


def refuse_container(path: Path) -> None:
    """Raise NeedsHandsError (image-mismatch) where a file is no disk but an image with one in it."""
    with view_part(path) as view:
        found = _recognise(view, path)
    if found is not ImageFormat.RAW:
        raise _mismatch(
            path,
            f"it is a {found.value} image, with a disk in it",
            "name a new file (truncate -s 1G stick.img)",
        )


def refuse_given_format(device: Path, given: ImageFormat | None) -> None:
    """Raise NeedsHandsError (image-mismatch) where a block device is said to be anything but a raw disk."""
    if given not in {None, ImageFormat.RAW}:
        raise _mismatch(device, f"it is a block device, never a {given} image", "leave --format out")


def _find_format(view: RawView, path: Path, given: ImageFormat | None) -> ImageFormat:
    named = _EXTENSIONS.get(path.suffix.lower())
    found = _recognise(view, path)
    if named is None and given is None:
        raise _mismatch(
            path,
            f"the extension {path.suffix or '(none)'} says nothing about what kind of image it is",
            "say it: --format raw, qcow2, vhdx or vmdk",
        )
    for expected, who in ((named, "the name"), (given, "--format")):
        if expected not in {None, found}:
            raise _mismatch(
                path,
                f"{who} says {expected}, but the content is {found}",
                "if you trust where it comes from, give it the right name or --format; "
                "if a machine wrote it there, do not",
            )
    return found


def _recognise(view: RawView, path: Path) -> ImageFormat:
    head = view.read(0, 4096)
    marks = [name for at, mark, name in _UNSUPPORTED if head[at : at + len(mark)] == mark]
    marks += [name for at, mark, name in _UNSUPPORTED_TAILS if view.read(view.size - at, len(mark)) == mark]
    if marks:
        raise _mismatch(
            path,
            f"it is an image in {marks[0]} format, which is not supported",
            "convert a copy: qemu-img convert -O raw",
        )
    if head.startswith(QCOW2_MAGIC):
        return ImageFormat.QCOW2
    if head.startswith(VHDX_MAGIC):
        return ImageFormat.VHDX
    return ImageFormat.VMDK if is_vmdk(head) else ImageFormat.RAW


def _mismatch(path: Path, what: str, hint: str) -> NeedsHandsError:
    return NeedsHandsError(f"{path}: {what}", hint=hint, reason=Reason.IMAGE_MISMATCH)


def _refuse_image_as_part(image: Path, part: Path) -> None:
    """Refuse a part that is an image by itself: another machine's may be, and this repair would change it."""
    with view_part(part) as view:
        head = view.read(0, 4096)
        whole = head.startswith((QCOW2_MAGIC, VHDX_MAGIC)) or is_whole_vmdk(view)
    if whole or any(head[at : at + len(mark)] == mark for at, mark, _ in _UNSUPPORTED):
        refuse_unsafe(image, f"it names {part.name} as a part of it, which is a disk image by itself")


def _file_node(path: Path) -> dict[str, Any]:
    return {"driver": "file", "filename": str(path)}


def _examine_qcow2(view: RawView, path: Path, above: tuple[Path, ...]) -> Image:
    header = read_qcow2(view, path)
    node: dict[str, Any] = {"driver": "qcow2", "file": _file_node(path), "backing": None}
    files: list[Path] = [path]
    bases: tuple[Path, ...] = ()
    if header.data_file_name is not None:
        data_file = own_part(path, header.data_file_name)
        _refuse_image_as_part(path, data_file)
        node["data-file"] = _file_node(data_file)
        files.append(data_file)
    if header.backing_name is not None:
        # A base is only read, so the image above may state the format where the base's name says nothing.
        base_path = part_beside(path, header.backing_name)
        named = base_path.suffix.lower() in _EXTENSIONS
        stated = header.backing_format if header.backing_format in set(ImageFormat) else None
        given = None if named or stated is None else ImageFormat(stated)
        backing = examine_image(base_path, given, (*above, path))
        node["backing"] = {**backing.node, "read-only": True}
        bases = (*backing.files, *backing.bases)
    return Image(path, ImageFormat.QCOW2, header.virtual_size, (512, 4096), node, tuple(files), bases)


def _examine_vhdx(view: RawView, path: Path) -> Image:
    header = read_vhdx(view, path)
    node = {"driver": "vhdx", "file": _file_node(path)}
    sizes = (512, 4096) if header.sector_size == 512 else (4096, 512)
    return Image(path, ImageFormat.VHDX, header.virtual_size, sizes, node, (path,), has_log=header.has_log)


def _examine_vmdk(view: RawView, path: Path) -> Image:
    header = read_vmdk(view, path)
    for extent in header.extents:
        _refuse_image_as_part(path, extent)
    node = {"driver": "vmdk", "file": _file_node(path), "backing": None}
    return Image(path, ImageFormat.VMDK, header.virtual_size, (512, 4096), node, (path, *header.extents))
