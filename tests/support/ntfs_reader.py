"""Reads an NTFS with dissect.ntfs, which shares no code with ntfs-3g, into the words of a drill's truth."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from dissect.ntfs import NTFS
from dissect.ntfs.c_ntfs import ATTRIBUTE_TYPE_CODE

from unbrick.drill.disk.truth import FileTruth

_UNIX_EPOCH_AS_FILETIME = 116_444_736_000_000_000
_DIRECTORY = 0x10
_DOS_NAME, _WIN32_AND_DOS_NAME = 2, 3
_ROOT = 5
_SYSTEM_RECORDS = 24


class _PartitionView:
    """A stretch of a stream as a stream of its own, readable only."""

    def __init__(self, stream: BinaryIO, offset: int, length: int) -> None:
        self._stream, self._offset, self.size, self._position = stream, offset, length, 0

    def seek(self, position: int, whence: int = 0) -> int:
        self._position = (0, self._position, self.size)[whence] + position
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, count: int = -1) -> bytes:
        left = max(self.size - self._position, 0)
        self._stream.seek(self._offset + self._position)
        data = self._stream.read(left if count < 0 else min(count, left))
        self._position += len(data)
        return data


def partition_view(stream: BinaryIO, offset: int, length: int) -> BinaryIO:
    """A partition of a disk as a stream of its own."""
    return cast(BinaryIO, _PartitionView(stream, offset, length))


def read_independently(stream: Any) -> dict[str, FileTruth]:
    """Everything on the volume by Windows path, the root first; the volume's own `$` files left out."""
    volume: Any = NTFS(stream)
    root = volume.mft.get(_ROOT)
    found = {"\\": _truth(volume, root, "\\", None)}
    found.update((truth.path, truth) for truth in _walk(volume, root, ""))
    return found


def _walk(volume: Any, folder: Any, above: str) -> Iterator[FileTruth]:
    for entry in folder.iterdir():
        if entry.attribute.flags == _DOS_NAME:
            continue
        record = entry.dereference()
        if record.segment < _SYSTEM_RECORDS:
            continue
        path = f"{above}\\{entry.attribute.file_name}"
        yield _truth(volume, record, path, folder.segment)
        if record.is_dir() and not record.is_reparse_point():
            yield from _walk(volume, record, path)


def _truth(volume: Any, record: Any, path: str, parent: int | None) -> FileTruth:
    information = record.attributes.STANDARD_INFORMATION[0]
    names = record.attributes[ATTRIBUTE_TYPE_CODE.FILE_NAME]
    digest: str | None
    if record.is_reparse_point():
        kind, size = "link", 0
        reparse = record.attributes[ATTRIBUTE_TYPE_CODE.REPARSE_POINT][0].header.data()
        digest = hashlib.sha256(reparse).hexdigest()
    elif record.is_dir():
        kind, size, digest = "folder", 0, None
    else:
        content = record.open().read()
        kind, size, digest = "file", len(content), hashlib.sha256(content).hexdigest()
    streams = {
        attribute.name
        for attribute in record.attributes[ATTRIBUTE_TYPE_CODE.DATA]
        if attribute.name and attribute.name != "$DATA"
    }
    return FileTruth(
        path,
        kind,
        digest,
        size,
        _filetime(information.creation_time_ns),
        _filetime(information.last_modification_time_ns),
        _filetime(information.last_access_time_ns),
        information.file_attributes | (_DIRECTORY if record.is_dir() else 0),
        _short_name(names, parent),
        hashlib.sha256(_descriptor(volume, record, information.security_id)).hexdigest(),
        {name: hashlib.sha256(record.open(name).read()).hexdigest() for name in sorted(streams)},
        1 if kind == "folder" else sum(name.flags != _DOS_NAME for name in names),
    )


def _filetime(nanoseconds: int) -> int:
    return nanoseconds // 100 + _UNIX_EPOCH_AS_FILETIME


def _short_name(names: Any, parent: int | None) -> str | None:
    for name in names:
        if name.flags in (_DOS_NAME, _WIN32_AND_DOS_NAME) and parent == _segment_of(name):
            return str(name.file_name)
    return None


def _segment_of(name: Any) -> int:
    reference = name.attr.ParentDirectory
    return int(reference.SegmentNumberLowPart | reference.SegmentNumberHighPart << 32)


def _descriptor(volume: Any, record: Any, identity: int) -> bytes:
    """The raw security descriptor: of $Secure's $SDS stream, or the record's own attribute."""
    own = record.attributes[ATTRIBUTE_TYPE_CODE.SECURITY_DESCRIPTOR]
    if own and not identity:
        return bytes(own[0].header.data())
    found = volume.secure.sii.search(identity).data
    offset, length = struct.unpack_from("<QI", bytes(found), 8)
    volume.secure.sds.seek(offset)
    return bytes(volume.secure.sds.read(length)[20:])
