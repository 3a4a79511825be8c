"""Which files claim given clusters: one pass over every record of the file table, made only where needed.

Half a million records in some seconds, so the loop keeps to plain integers. A record that cannot be read may
claim anything: such records are counted, and a caller must not rely on the others then.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from unbrick.disks.ntfs.file_table import FileTable
from unbrick.disks.ntfs.structures import damaged
from unbrick.disks.proof.ranges import merged

_CHUNK = 1 << 20
_END = b"\xff\xff\xff\xff"
_IN_USE = 1
_MOST_MORE = 4096


@dataclass(frozen=True)
class Claim:
    """Clusters from `start` up to `end` that a record says are its own, in an attribute of a kind.

    `owner` is the record of the file, which may be another one than the one that lists the clusters.
    """

    owner: int
    kind: int
    start: int
    end: int


@dataclass
class Claims:
    """The claims on the clusters in question; `unreadable` are records that may claim any."""

    found: list[Claim] = field(default_factory=list)
    unreadable: list[int] = field(default_factory=list)


def find_claims(table: FileTable, zones: Iterable[tuple[int, int]]) -> Claims:
    """Every claim on the zones (offset and length on the volume, in bytes).

    Raises NeedsHandsError (damaged-volume) where there are far more than clusters; OSError.
    """
    size = table.geometry.cluster
    wanted = merged((offset // size, -(-(offset + length) // size)) for offset, length in zones)
    claims = Claims()
    if not wanted:
        return claims
    starts, ends = [one[0] for one in wanted], [one[1] for one in wanted]
    first, last = starts[0], ends[-1]
    most = _MOST_MORE + 2 * sum(ends) - 2 * sum(starts)  # on a sound volume, one for each cluster
    found, unreadable = claims.found, claims.unreadable
    for number, record in _records(table, unreadable):
        position = record[0x14] | record[0x15] << 8
        size = len(record)
        try:
            while (head := record[position : position + 4]) != _END:
                length = int.from_bytes(record[position + 4 : position + 8], "little")
                if length < 16 or position + length > size:
                    raise IndexError
                if record[position + 8]:
                    at = position + (record[position + 32] | record[position + 33] << 8)
                    stop = position + length
                    cluster = 0
                    while at < stop and (widths := record[at]):
                        low, high = widths & 15, widths >> 4
                        split = at + 1 + low
                        at = split + high
                        if high and at <= stop:
                            cluster += int.from_bytes(record[split:at], "little", signed=True)
                            end = cluster + int.from_bytes(record[split - low : split], "little")
                            if cluster < last and end > first:
                                index = bisect_right(starts, end - 1) - 1
                                if index >= 0 and ends[index] > cluster:
                                    kind = int.from_bytes(head, "little")
                                    owner = int.from_bytes(record[0x20:0x26], "little") or number
                                    found.append(Claim(owner, kind, cluster, end))
                                    if len(found) > most:
                                        raise damaged("many files claim the same clusters")
                        elif at > stop:
                            raise IndexError
                    if at >= stop:
                        raise IndexError
                position += length
        except IndexError:
            unreadable.append(number)
    return claims


def _records(table: FileTable, unreadable: list[int]) -> Iterator[tuple[int, bytearray]]:
    """Number and unprotected bytes of every record in use, by its own flag or by the table's bitmap."""
    size = table.geometry.record
    tails = [(at - 2, 2 * index) for index, at in enumerate(range(512, size + 1, 512), 1)]
    per_chunk = max(_CHUNK // size, 1)
    for first in range(0, table.count, per_chunk):
        chunk = table.stream.read(first * size, min(per_chunk, table.count - first) * size)
        for at in range(0, len(chunk), size):
            number = first + at // size
            if chunk[at : at + 4] != b"FILE":
                if table.is_marked_used(number):
                    unreadable.append(number)
                continue
            if not chunk[at + 0x16] & _IN_USE and not table.is_marked_used(number):
                continue
            record = bytearray(chunk[at : at + size])
            numbers = record[4] | record[5] << 8
            mark = record[numbers : numbers + 2]
            if numbers + 2 * len(tails) + 2 > 510 or len(record) < size:
                unreadable.append(number)
                continue
            for tail, index in tails:
                if record[tail : tail + 2] != mark:
                    unreadable.append(number)
                    break
                record[tail : tail + 2] = record[numbers + index : numbers + index + 2]
            else:
                yield number, record
