"""Proves, before the first byte is written, that everything a change would write belongs to what it names.

The whole change is in memory by then. It is checked by the volume's own records, before and after, read by
unbrick's code and not by the driver that made it. A sector is proved by the record that holds it, by its
content (`disks/ntfs/recognise.py`), and by the claims of every record of the file table (`claims.py`): what
looks like a folder's list may be shared with a user's file. What is in doubt is refused. All functions that
check raise NeedsHandsError (damaged-volume).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from unbrick.disks.ntfs.file_table import FileTable, open_stream, open_table
from unbrick.disks.ntfs.index_entries import read_entries
from unbrick.disks.ntfs.recognise import (
    index_block_size,
    is_among_descriptors,
    is_index_block,
    is_security_index_block,
    is_table_bitmap,
)
from unbrick.disks.ntfs.stream import Stream
from unbrick.disks.ntfs.structures import (
    ATTRIBUTE_LIST,
    BITMAP,
    DATA,
    INDEX_ALLOCATION,
    RECORD_LOG_FILE,
    RECORD_MIRROR,
    RECORD_VOLUME,
    ByteView,
    Geometry,
    damaged,
)
from unbrick.disks.proof.changed_records import (
    FIRST_USERS,
    INDEX,
    SECURE,
    TABLE,
    Judged,
    judge_records,
)
from unbrick.disks.proof.claims import find_claims
from unbrick.disks.proof.ranges import Range, common, flipped_bits, merged, without
from unbrick.disks.proof.rights import prove_rights
from unbrick.model import Touched

SECTOR = 512
CLUSTER_MAP = 6
"""The record of `$Bitmap`, which has a bit for each cluster in use."""
_BOOT_FILE = 8192
_MIRRORED = 4
_MOST_MORE = 4096


Claimants = frozenset[tuple[int, int]]
"""Records of files, each with the kind of the attribute that claims something."""
_NONE: Claimants = frozenset()


@dataclass(frozen=True)
class Question:
    """Whether the claimants of a stretch of the volume (bytes) are the right ones.

    `shown`: its content shows it already; a record that cannot be read is then no reason to doubt.
    """

    place: int
    length: int
    is_right: Callable[[Claimants], bool]
    otherwise: str
    shown: bool = False


def claimed_only_by(place: int, length: int, owner: int, kind: int, *, shown: bool = False) -> Question:
    """Whether one attribute of one file claims it, and no other does."""
    right = frozenset({(owner, kind)})
    wrong = f"a cluster of record {owner} of its file table belongs to another file too, or to none"
    return Question(place, length, lambda found: found == right, wrong, shown)


def claimed_by_none(place: int, length: int) -> Question:
    """Whether it is as free as the map of clusters says."""
    wrong = "a cluster that its bitmap calls free belongs to a file"
    return Question(place, length, lambda found: not found, wrong)


def holds_no_users_data(place: int, length: int, *, shown: bool = False) -> Question:
    """Whether at most one file claims it, and not as its data, unless it is the file system's own."""
    return Question(
        place,
        length,
        lambda found: len(found) < 2 and all(kind != DATA or owner < FIRST_USERS for owner, kind in found),
        "what is waiting in its journal would be written over a file",
        shown,
    )


def prove(
    before: ByteView, after: ByteView, geometry: Geometry, sectors: Sequence[int], touched: Touched
) -> Proof:
    """Check that a change of these sectors (places on the volume) touches what it names, and nothing else.

    Its questions are left, for `ask`. Raises NeedsHandsError (damaged-volume), OSError.
    """
    tables = open_table(before, geometry), open_table(after, geometry)
    expect_apart(tables[0])
    expect_apart(tables[1])
    in_table: set[int] = set()
    elsewhere: list[int] = []
    for sector in sectors:
        position = tables[1].stream.position_of(sector)
        if position is not None:
            in_table.add(position // geometry.record)
        elif not expect_mirrored(tables[1], sector):
            elsewhere.append(sector)
    judged = judge_records(*tables, in_table, touched)
    written = frozenset(number for number in in_table if number < tables[1].count)
    proof = Proof(*tables, judged, written)
    proof.questions += questions_about_slots(tables[0], in_table)
    for sector in elsewhere:
        proof.judge(sector)
    proof.expect_cluster_map(elsewhere)
    proof.expect_lists()
    proof.expect_rights()
    return proof


def ask(table: FileTable, questions: Iterable[Question]) -> None:
    """Check questions in one pass over the whole file table; raises NeedsHandsError (damaged-volume)."""
    asked = list(questions)
    if not asked:
        return
    claims = find_claims(table, [(one.place, one.length) for one in asked])
    if claims.unreadable and not all(one.shown for one in asked):
        raise damaged(f"record {claims.unreadable[0]} of its file table cannot be read")
    cluster = table.geometry.cluster
    borders = {at for one in asked for at in _clusters(one, cluster)}
    borders.update(at for claim in claims.found for at in (claim.start, claim.end))
    pieces = sorted(borders)  # between one and the next, all clusters have the same claimants
    holders: list[Claimants] = [_NONE] * len(pieces)
    entries = 0
    for claim in claims.found:
        first, end = bisect_left(pieces, claim.start), bisect_left(pieces, claim.end)
        entries += end - first
        if entries > _MOST_MORE + 2 * len(pieces):  # on a sound volume, none for two
            raise damaged("many files claim the same clusters")
        holder = (claim.owner, claim.kind)
        holders[first:end] = [one | {holder} for one in holders[first:end]]
    for one in asked:
        first, end = (bisect_left(pieces, at) for at in _clusters(one, cluster))
        if not all(one.is_right(claimants) for claimants in holders[first:end]):
            raise damaged(one.otherwise)


def _clusters(question: Question, cluster: int) -> Range:
    return question.place // cluster, -(-(question.place + question.length) // cluster)


def expect_apart(table: FileTable) -> None:
    """The file system's own files are apart from one another."""
    zones = [(0, _BOOT_FILE), *table.stream.extents(), mirror_zone(table)]
    for number, kind, name in (
        (RECORD_LOG_FILE, DATA, ""),
        (TABLE, BITMAP, ""),
        (CLUSTER_MAP, DATA, ""),
        (SECURE, DATA, "$SDS"),
    ):
        stream = stream_of(table, number, kind, name)
        zones += stream.extents() if stream is not None else []
    end = 0
    for start, length in sorted(zones):
        if start < end:
            raise damaged("two of the file system's own files claim the same clusters")
        end = start + length


def mirror_zone(table: FileTable) -> tuple[int, int]:
    """Offset and length of the mirror of the table's first records; raises where it is in doubt."""
    geometry = table.geometry
    mirror = table.find_attribute(RECORD_MIRROR, DATA)
    if mirror is None or not mirror.runs or mirror.runs[0].offset != geometry.mirror:
        raise damaged("the mirror of its file table is not where it should be")
    # All of a cluster that is larger than those is a mirror, to every driver.
    return geometry.mirror, min(max(_MIRRORED * geometry.record, geometry.cluster), mirror.length)


def expect_mirrored(table: FileTable, sector: int) -> bool:
    """Whether a sector is of the mirror, which must then be as the table."""
    start, length = mirror_zone(table)
    if not start <= sector < start + length:
        return False
    if table.view.read(sector, SECTOR) != table.stream.read(sector - start, SECTOR):
        raise damaged("the change would make the mirror of the file table differ from the table")
    return True


def questions_about_slots(table: FileTable, numbers: Iterable[int]) -> Iterator[Question]:
    """Questions about the places of records whose content does not state that record's number."""
    geometry = table.geometry
    for number in numbers:
        record = table.find(number) if number < table.count else None
        # A record in several clusters says nothing about whose all of them are.
        whole = geometry.record <= geometry.cluster
        shown = whole and record is not None and record.own_number == number
        for place, length in table.stream.places(number * geometry.record, geometry.record):
            yield claimed_only_by(place, length, TABLE, DATA, shown=shown)


def questions_about_commit(table: FileTable, in_log: Iterable[tuple[int, int]]) -> Iterator[Question]:
    """About what a commit writes besides: the dirty flag, and a record in the journal (places)."""
    yield from questions_about_log(in_log)
    yield from questions_about_slots(table, [RECORD_VOLUME])
    yield claimed_only_by(*mirror_zone(table), RECORD_MIRROR, DATA, shown=True)


def questions_about_log(places: Iterable[tuple[int, int]]) -> Iterator[Question]:
    """About places of the journal at which a record is, or will be written."""
    for place, length in places:
        yield claimed_only_by(place, length, RECORD_LOG_FILE, DATA, shown=True)


@dataclass(frozen=True)
class _Owned:
    """An attribute of an allowed file that is outside the table, before the change and after it."""

    owner: int
    kind: int
    name: str
    before: Stream | None
    after: Stream | None

    def was_at(self, sector: int) -> bool:
        return self.before is not None and self.before.covers(sector)

    def is_at(self, sector: int) -> bool:
        return self.after is not None and self.after.covers(sector)


class Proof:
    """What a change writes and whose it is; `questions` are not answered yet.

    `records` are the numbers of those it writes. `written` are the sectors outside the table, by the
    attribute that they are a part of: its record, kind and name.
    """

    def __init__(self, before: FileTable, after: FileTable, judged: Judged, records: frozenset[int]) -> None:
        self.before = before
        self.after = after
        self.judged = judged
        self.records = records
        self.written: dict[tuple[int, int, str], list[int]] = {}
        self.questions: list[Question] = []
        self._owned = list(self._find_owned())

    def _find_owned(self) -> Iterator[_Owned]:
        keys = [(TABLE, BITMAP, ""), (CLUSTER_MAP, DATA, ""), (SECURE, DATA, "$SDS")]
        keys += [(SECURE, kind, name) for kind in (INDEX_ALLOCATION, BITMAP) for name in ("$SII", "$SDH")]
        keys += [(one, kind, INDEX) for one in self.judged.folders for kind in (INDEX_ALLOCATION, BITMAP)]
        keys += [(one, ATTRIBUTE_LIST, "") for one in self.judged.moved]
        keys += self.judged.put_outside | self.judged.object_ids
        for number in self.judged.whole | self.judged.deleted:
            for table in (self.before, self.after):
                if table.find_used(number) is not None:
                    keys += [(number, one.kind, one.name) for one in table.attributes(number)]
        for number, kind, name in dict.fromkeys(keys):
            streams = [
                stream_of(table, number, kind, name) if table.find_used(number) is not None else None
                for table in (self.before, self.after)
            ]
            if streams != [None, None]:
                yield _Owned(number, kind, name, *streams)

    def judge(self, sector: int) -> None:
        """Check one sector that changes; raises NeedsHandsError, or leaves a question."""
        former = [one for one in self._owned if one.was_at(sector)]
        new = [one for one in self._owned if one.is_at(sector)]
        # One may give a cluster back that a driver may have written to before, and another may then take it.
        if len(former) > 1 or len(new) > 1 or not former + new:
            raise damaged("the change would write where none of the files it names lies")
        for owner in dict.fromkeys(former + new):
            self.written.setdefault((owner.owner, owner.kind, owner.name), []).append(sector)
        for owner in former:  # `expect_cluster_map` leaves the questions about newly taken clusters
            stream = owner.before
            position = None if stream is None else stream.position_of(sector)
            shown = (
                stream is not None and position is not None and self._is_recognised(owner, stream, position)
            )
            self.questions.append(claimed_only_by(sector, SECTOR, owner.owner, owner.kind, shown=shown))

    def _is_recognised(self, owned: _Owned, stream: Stream, position: int) -> bool:
        """Whether the content before the change shows whose it is."""
        table, cluster = self.before, self.before.geometry.cluster
        if owned.kind == INDEX_ALLOCATION:
            size = index_block_size(table, owned.owner, owned.name)
            if owned.owner == SECURE:
                descriptors = stream_of(table, SECURE, DATA, "$SDS")
                return descriptors is not None and is_security_index_block(
                    stream, position, size, cluster, descriptors
                )
            return is_index_block(stream, position, size, cluster, owned.owner)
        if (owned.owner, owned.kind) == (TABLE, BITMAP):
            return is_table_bitmap(table, stream, position)
        if (owned.owner, owned.name) == (SECURE, "$SDS"):
            return is_among_descriptors(stream, position, cluster)
        return False

    def expect_cluster_map(self, sectors: Iterable[int]) -> None:
        """`$Bitmap` changes by the clusters that are taken and freed; leaves questions about both."""
        cluster = self.before.geometry.cluster
        maps = [stream_of(table, CLUSTER_MAP, DATA, "") for table in (self.before, self.after)]
        if maps[0] is None or maps[1] is None:
            raise damaged("it has no list of which clusters are in use ($Bitmap)")
        changed: list[Range] = []
        for sector in sectors:
            position = maps[1].position_of(sector)
            if position is not None:
                former, new = maps[0].read(position, SECTOR), maps[1].read(position, SECTOR)
                changed += merged((position * 8 + a, position * 8 + b) for a, b in flipped_bits(former, new))
        # An attribute that stays where it was is not concerned, and may be large.
        moving = [one for one in self._all_owned() if _extents(one.before) != _extents(one.after)]
        used_before = merged(one for owned in moving for one in _ranges(owned.before, cluster))
        used_after = merged(one for owned in moving for one in _ranges(owned.after, cluster))
        taken, freed = without(used_after, used_before), without(used_before, used_after)
        if merged(changed) != merged(taken + freed) or not all(
            are_marked(maps[0], *one, used=False) for one in taken
        ):
            raise damaged("the change would not mark exactly the clusters that it uses")
        self.questions += [claimed_by_none(a * cluster, (b - a) * cluster) for a, b in taken]
        # A cluster that is marked free is overwritten by the next file that needs one: no other may claim it.
        self.questions += [
            claimed_only_by(a * cluster, (b - a) * cluster, one.owner, one.kind)
            for one in moving
            for a, b in common(freed, merged(_ranges(one.before, cluster)))
        ]

    def expect_lists(self) -> None:
        """Folders list what they did, but for the files that the change names."""
        # A block of a list that its bitmap calls free is overwritten by the next that needs one.
        judged = self.judged
        named = judged.moved | judged.whole | judged.deleted
        changed = judged.changed | {number for number, _, _ in self.written}
        for number in sorted((judged.folders | judged.deleted) & changed):
            former, new = (
                {(one.record, one.head, one.name) for one in read_entries(table, number, INDEX)}
                if table.find_used(number) is not None
                else set()
                for table in (self.before, self.after)
            )
            if any(record not in named for record, _, _ in former ^ new):
                raise damaged(f"the change would alter how a folder lists other files (record {number})")

    def expect_rights(self) -> None:
        """Access rights are only added; checked where anything of `$Secure` changes."""
        if SECURE in self.judged.changed or any(owner == SECURE for owner, _, _ in self.written):
            prove_rights(self.before, self.after, self.written.get((SECURE, DATA, "$SDS"), ()))

    def _all_owned(self) -> Iterator[_Owned]:
        yield from self._owned
        tables = [Stream(one.view, one.stream.runs, one.stream.size) for one in (self.before, self.after)]
        yield _Owned(TABLE, DATA, "", *tables)


def stream_of(table: FileTable, number: int, kind: int, name: str) -> Stream | None:
    """The bytes of a file's attribute, if it is outside the table."""
    found = table.find_attribute(number, kind, name)
    return None if found is None or found.value is not None else open_stream(table.view, found)


def _extents(stream: Stream | None) -> list[tuple[int, int]]:
    return stream.extents() if stream is not None else []


def _ranges(stream: Stream | None, cluster: int) -> Iterator[Range]:
    for offset, length in _extents(stream):
        yield offset // cluster, (offset + length) // cluster


def are_marked(bitmap: Stream, first: int, end: int, *, used: bool) -> bool:
    """Whether `$Bitmap` marks all clusters from `first` up to `end` as used, or all as free."""
    length = -(-end // 8) - first // 8
    data = bitmap.read(first // 8, length)
    every = (1 << end - first) - 1
    bits = int.from_bytes(data, "little") >> first % 8 & every
    return len(data) == length and bits == (every if used else 0)
