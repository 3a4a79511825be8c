"""How a dirty hive's transaction logs make it whole: pages to write over it, and its new base block.

Pure: takes bytes, returns bytes. From M. Suhanov's "Windows registry file format specification"; offsets and
names are that document's. Logs are hostile input: every offset and length is checked.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

BASE_BLOCK_SIZE = 4096
HIVE_LIMIT = 512 * 1024 * 1024
"""Bytes. The largest hive that is read, grown by its logs or not; a large SOFTWARE hive has 200 MiB."""

_CHECKED_SIZE = 512
_PAGE = 4096
_OLD_PAGE = 512
_ENTRY_HEADER = struct.Struct("<4sIIIIIQQ")
_REFERENCE = struct.Struct("<II")
_OLD_LOG_TYPES = frozenset({1, 2})
_NEW_LOG_TYPE = 6
_MARVIN_SEED = (0x7A4E55C5, 0x82EF4D88)
_WORD = 0xFFFFFFFF


@dataclass(frozen=True)
class BaseBlock:
    """The head of a hive or of one of its logs. `bins_size` is in bytes, `written` a FILETIME."""

    raw: bytes
    valid: bool
    primary_sequence: int
    secondary_sequence: int
    written: int
    file_type: int
    bins_size: int
    sector_size: int

    @property
    def dirty(self) -> bool:
        """Whether Windows would replay the logs before it believed this hive."""
        return not self.valid or self.primary_sequence != self.secondary_sequence


@dataclass(frozen=True)
class Replay:
    """How a dirty hive becomes whole. `pages` are (file offset, bytes), in the order of writing."""

    base_block: bytes
    length: int
    pages: tuple[tuple[int, memoryview], ...]
    complete: bool


@dataclass(frozen=True)
class _Entry:
    sequence: int
    bins_size: int
    pages: tuple[tuple[int, memoryview], ...]


def xor_checksum(block: bytes | bytearray) -> int:
    """The checksum of a base block: XOR of its first 127 words, with the two values Windows never stores."""
    total = 0
    for word in struct.unpack_from("<127I", block):
        total ^= word
    return {0: 1, _WORD: _WORD - 1}.get(total, total)


def read_base_block(raw: bytes) -> BaseBlock | None:
    """The head in the first 512 bytes of a hive or log; None where there are fewer."""
    if len(raw) < _CHECKED_SIZE:
        return None
    primary, secondary, written = struct.unpack_from("<IIQ", raw, 4)
    file_type, bins_size, clustering = (struct.unpack_from("<I", raw, at)[0] for at in (28, 40, 44))
    valid = raw[:4] == b"regf" and xor_checksum(raw) == struct.unpack_from("<I", raw, 508)[0]
    valid = valid and bins_size % _PAGE == 0 and 0 < bins_size <= HIVE_LIMIT - BASE_BLOCK_SIZE
    sector_size = _OLD_PAGE * min(max(clustering, 1), 8)
    return BaseBlock(
        bytes(raw[:_CHECKED_SIZE]), valid, primary, secondary, written, file_type, bins_size, sector_size
    )


def marvin32(data: bytes | memoryview) -> int:
    """The Marvin32 hash with the registry's seed, of whole 32-bit words (log entries hold nothing else)."""
    low, high = _MARVIN_SEED
    # 0x80 is the padding of an input of whole words; the last two rounds are the hash's own end.
    for word in chain(memoryview(data).cast("I"), (0x80, 0)):
        low = (low + word) & 0xFFFFFFFF
        high ^= low
        low = ((low << 20 | low >> 12) + high) & 0xFFFFFFFF
        high = (high << 9 & 0xFFFFFFFF | high >> 23) ^ low
        low = ((low << 27 | low >> 5) + high) & 0xFFFFFFFF
        high = high << 19 & 0xFFFFFFFF | high >> 13
    return high << 32 | low


def _read_entry(log: memoryview, start: int) -> tuple[_Entry, int] | None:
    """A log entry and the offset of the next; None where there is no sound one."""
    if start + _ENTRY_HEADER.size > len(log):
        return None
    signature, size, _, sequence, bins_size, count, hash1, hash2 = _ENTRY_HEADER.unpack_from(log, start)
    if signature != b"HvLE" or size % _OLD_PAGE or not _OLD_PAGE <= size <= len(log) - start:
        return None
    if bins_size % _PAGE or not 0 < bins_size <= HIVE_LIMIT - BASE_BLOCK_SIZE:
        return None
    data_start = start + _ENTRY_HEADER.size + count * _REFERENCE.size
    if data_start > start + size:
        return None
    if marvin32(log[start : start + 32]) != hash2:
        return None
    if marvin32(log[start + _ENTRY_HEADER.size : start + size]) != hash1:
        return None
    pages = []
    references = log[start + _ENTRY_HEADER.size : data_start]
    for offset, length in _REFERENCE.iter_unpack(references):
        if data_start + length > start + size or offset + length > bins_size:
            return None
        pages.append((BASE_BLOCK_SIZE + offset, log[data_start : data_start + length]))
        data_start += length
    return _Entry(sequence, bins_size, tuple(pages)), start + size


def _entries(log: memoryview, expected: int) -> Iterator[_Entry]:
    """The entries of a new-format log with consecutive numbers; what follows is old or torn."""
    start = _CHECKED_SIZE
    while found := _read_entry(log, start):
        entry, start = found
        if entry.sequence != expected:
            return
        yield entry
        expected += 1


def _rebuilt(base: BaseBlock, sequence: int, bins_size: int) -> bytes:
    """A clean base block of a primary file, made from the hive's own or the log's copy."""
    block = bytearray(base.raw)
    struct.pack_into("<II", block, 4, sequence, sequence)
    struct.pack_into("<I", block, 28, 0)
    struct.pack_into("<I", block, 40, bins_size)
    struct.pack_into("<I", block, 508, xor_checksum(block))
    return bytes(block)


def _replay_new(base: BaseBlock, logs: Sequence[tuple[BaseBlock, memoryview]]) -> Replay | None:
    """Lay the entries of both logs over the hive, the log with the earlier ones first."""
    if base.valid:
        usable = [log for log in logs if log[0].primary_sequence >= base.secondary_sequence]
        usable.sort(key=lambda log: log[0].primary_sequence)
    else:
        usable = [max(logs, key=lambda log: log[0].primary_sequence)]
        base = usable[0][0]
    pages: list[tuple[int, memoryview]] = []
    last: _Entry | None = None
    complete = True
    for log_base, log in usable:
        if last and log_base.primary_sequence != last.sequence + 1:
            complete = False
            break
        before = last
        for last in _entries(log, log_base.primary_sequence):
            pages.extend(last.pages)
        if last is before:
            complete = False
            break
    if last is None:
        return None
    block = _rebuilt(base, last.sequence, last.bins_size)
    return Replay(block, BASE_BLOCK_SIZE + last.bins_size, tuple(pages), complete)


def _replay_old(base: BaseBlock, first_bin_time: int, log_base: BaseBlock, log: memoryview) -> Replay | None:
    """Lay the dirty pages of an old-format log over the hive; None where its time does not match."""
    moments = {base.written} if base.valid else {base.written, first_bin_time}
    if log_base.primary_sequence != log_base.secondary_sequence or log_base.written not in moments:
        return None
    vector_start = log_base.sector_size
    vector = log[vector_start + 4 : vector_start + 4 + log_base.bins_size // _OLD_PAGE // 8]
    if (
        bytes(log[vector_start : vector_start + 4]) != b"DIRT"
        or len(vector) * 8 * _OLD_PAGE != log_base.bins_size
    ):
        return None
    at = -(-(vector_start + 4 + len(vector)) // log_base.sector_size) * log_base.sector_size
    pages = []
    for index, byte in enumerate(vector):
        for bit in range(8) if byte else ():
            if byte >> bit & 1:
                if at + _OLD_PAGE > len(log):
                    return None
                offset = BASE_BLOCK_SIZE + (index * 8 + bit) * _OLD_PAGE
                pages.append((offset, log[at : at + _OLD_PAGE]))
                at += _OLD_PAGE
    source = base if base.valid else log_base
    block = _rebuilt(source, log_base.primary_sequence, log_base.bins_size)
    return Replay(block, BASE_BLOCK_SIZE + log_base.bins_size, tuple(pages), complete=True)


def plan_replay(base: BaseBlock, first_bin_time: int, logs: Sequence[bytes]) -> Replay | None:
    """How the logs (`.LOG1`, `.LOG2`, `.LOG`, in this order) make a dirty hive whole; None where none fits.

    `first_bin_time` is the FILETIME in the first hive bin, which stands in for that of a damaged base block.
    A replay is not `complete` where a log that should follow is torn or does not continue.
    """
    read = [(read_base_block(log), memoryview(log)) for log in logs]
    sound = [(head, log) for head, log in read if head is not None and head.valid]
    new = [pair for pair in sound if pair[0].file_type == _NEW_LOG_TYPE]
    if new and (replay := _replay_new(base, new)):
        return replay
    for head, log in sound:
        if head.file_type in _OLD_LOG_TYPES and (replay := _replay_old(base, first_bin_time, head, log)):
            return replay
    return None
