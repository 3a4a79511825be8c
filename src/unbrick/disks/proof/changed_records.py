"""Judges the records of the file table that a change writes: each must be one that the change names.

A file that is moved keeps all it holds; a folder changes its list of names only; what is new was free before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from unbrick.disks.ntfs.file_table import (
    ATTRIBUTE_LIST,
    BITMAP,
    FILE_NAME,
    ROOT,
    FileTable,
    Name,
    Record,
    open_stream,
    parse_name,
)
from unbrick.disks.ntfs.object_ids import (
    OBJECT_ID,
    PARTS_OF_INDEX,
    expect_only_removed,
    find_object_index,
    is_object_index,
)
from unbrick.disks.ntfs.recognise import index_block_size
from unbrick.disks.ntfs.structures import (
    DATA,
    Attribute,
    attributes,
    begins_with,
    damaged,
    joined,
    unprotect,
)
from unbrick.disks.proof.ranges import flipped_bits, merged
from unbrick.errors import NeedsHandsError
from unbrick.model import Touched

INDEX_ROOT, INDEX_ALLOCATION = 0x90, 0xA0
INDEX = "$I30"
TABLE, SECURE = 0, 9
FIRST_USERS = 24
"""Records below are the file system's own."""

_PIECE = 1 << 20
_LARGEST_LIST = 1 << 30  # of a million names; a hole in it may claim to be any size
_STANDARD_INFORMATION = 0x10
_OF_A_NAME = {_STANDARD_INFORMATION, FILE_NAME, ATTRIBUTE_LIST}
_OF_A_LIST = {(kind, INDEX) for kind in (INDEX_ROOT, INDEX_ALLOCATION, BITMAP)}
_GROWING = {
    TABLE: {(DATA, ""), (BITMAP, "")},
    SECURE: {
        (DATA, "$SDS"),
        *((kind, name) for kind in (INDEX_ROOT, INDEX_ALLOCATION, BITMAP) for name in ("$SII", "$SDH")),
    },
}


@dataclass
class Judged:
    """What was found sound. `folders` may change their lists; all of `whole` is the change's own.

    `taken` and `freed` are the numbers of records that a file begins to use and ceases to. `moved` are files
    that keep what they hold; `changed`, all whose records change. `put_outside` are attributes that lay in
    their record: its number, kind, name; `object_ids` such of the index that files deleted are taken out of.
    """

    folders: set[int] = field(default_factory=lambda: {ROOT})
    whole: set[int] = field(default_factory=set)
    moved: set[int] = field(default_factory=set)
    taken: set[int] = field(default_factory=set)
    freed: set[int] = field(default_factory=set)
    deleted: set[int] = field(default_factory=set)
    changed: set[int] = field(default_factory=set)
    put_outside: set[tuple[int, int, str]] = field(default_factory=set)
    object_ids: set[tuple[int, int, str]] = field(default_factory=set)


def judge_records(before: FileTable, after: FileTable, numbers: Collection[int], touched: Touched) -> Judged:
    """Judge the records with these numbers; raises NeedsHandsError (damaged-volume)."""
    court = _Court(before, after, touched)
    for number in numbers:
        if number >= after.count:
            court.expect_left_over(number)
    bases = sorted({base for number in numbers if number < after.count for base in court.owners(number)})
    court.judged.changed.update(bases)
    users = [number for number in bases if number >= FIRST_USERS]
    for number in users:
        if not court.is_old_folder(number) and not court.is_object_index(number):
            court.judge_file(number)
    court.judge_object_ids(users)
    for number in users:
        if court.is_old_folder(number):
            court.judge_folder(number)
    for number in bases:
        if number == ROOT:
            court.judge_folder(number)
        elif number < FIRST_USERS:
            court.judge_own(number)
    court.expect_bitmap()
    return court.judged


class _Court:
    def __init__(self, before: FileTable, after: FileTable, touched: Touched) -> None:
        self.before = before
        self.after = after
        self.judged = Judged()
        self.new_path = {old.casefold(): new.casefold() for old, new in touched.moved}
        self.made = {path.casefold() for path in touched.made}
        self.rewritten = {path.casefold() for path in touched.rewritten}
        self.deleted = {path.casefold() for path in touched.deleted}

    def expect_left_over(self, number: int) -> None:
        """That what is written behind the last record is no file's: in clusters newly taken, or zeros.

        A driver makes as many records as it needs, and zeroes the rest of the last cluster; whether those
        newly taken were free, the cluster map is asked.
        """
        size = self.before.geometry.record
        if not any(
            self.before.stream.covers(place) for place, _ in self.after.stream.places(number * size, size)
        ):
            return
        self._expect_nothing_behind(number)
        if any(self.after.raw(number)):
            raise _doubtful(number, "the change would write behind the end of its file table")

    def owners(self, number: int) -> Iterator[int]:
        """The records of the files that a changed record is a part of; notes whether it is taken or freed."""
        former, new = self.before.find(number), self.after.find(number)
        was_used, is_used = former is not None and former.in_use, new is not None and new.in_use
        if number >= FIRST_USERS and self.before.is_marked_used(number) != was_used:
            raise _doubtful(number, "its file table and that table's bitmap disagree about a record")
        if new is None or new.own_number not in (None, number):
            raise _doubtful(number, "a record of its file table would become unreadable")
        if former is not None and former.own_number not in (None, number):
            raise _doubtful(number, "a record of its file table says it is another one")
        if number >= self.before.count:
            self._expect_nothing_behind(number)
        if is_used and not was_used:
            self.judged.taken.add(number)
            if former is not None:
                self._expect_unlisted(former)
        if was_used and not is_used:
            self.judged.freed.add(number)
        if was_used and former is not None:
            yield number if former.base is None else former.base
        if is_used:
            yield number if new.base is None else new.base

    def _expect_nothing_behind(self, number: int) -> None:
        """That the table ended where it says, and no file lies behind; raises NeedsHandsError."""
        data = unprotect(self.before.raw(number), b"FILE")
        record = None if data is None else Record(number, data)
        if record is not None and record.in_use and record.own_number in (None, number):
            raise _doubtful(number, "its file table is said to end before a file that lies in it")

    def _expect_unlisted(self, record: Record) -> None:
        """That no file still needs a record that is called free; raises NeedsHandsError (damaged-volume).

        One that was given up counts one higher than what named it, also in what is left of old lists.
        """
        reference = (record.sequence << 48 | record.number).to_bytes(8, "little")
        if record.base is not None:
            holders = {(record.base, ATTRIBUTE_LIST, "")}
        else:
            names = (
                parse_name(one.value or b"")
                for one in attributes(record.data, self.before.geometry)
                if one.kind == FILE_NAME
            )
            parents = {name.parent for name in names}
            holders = {(one, kind, INDEX) for one in parents for kind in (INDEX_ROOT, INDEX_ALLOCATION)}
        for holder in holders:
            if any(reference in piece for piece in self._pieces(*holder)):
                raise _doubtful(record.number, "a record that its file table calls free is still listed")

    def _pieces(self, number: int, kind: int, name: str) -> Iterator[bytes]:
        """What an attribute of a file held, index blocks made whole; nothing where there is no such file."""
        if self._used(self.before, number) is None:
            return
        holder = self.before.find_attribute(number, kind, name)
        if holder is None:
            return
        if holder.value is not None:
            yield holder.value
            return
        stream = open_stream(self.before.view, holder)
        if stream.size > _LARGEST_LIST:
            raise _doubtful(number, "the list of a folder is larger than any")
        size = index_block_size(self.before, number, name) if kind == INDEX_ALLOCATION else _PIECE
        for position in range(0, stream.size, size):
            piece = stream.read(position, size)
            yield unprotect(piece, b"INDX") or piece

    def is_old_folder(self, number: int) -> bool:
        """Whether a record is that of a folder before the change and after it."""
        former, new = self._used(self.before, number), self._used(self.after, number)
        return former is not None and new is not None and former.is_folder

    def is_object_index(self, number: int) -> bool:
        """Whether a record was that of the index of object ids."""
        return self._used(self.before, number) is not None and is_object_index(self.before, number)

    def judge_object_ids(self, numbers: Iterable[int]) -> None:
        """That files deleted that have an object id are taken out of the index of these, and nothing else is.

        To be asked when it is known what is deleted.
        """
        deleted = self.judged.deleted
        listed = [one for one in deleted if self.before.find_attribute(one, OBJECT_ID)]
        written = [number for number in numbers if self.is_object_index(number)]
        number = find_object_index(self.before) if listed else None
        if any(one != number for one in written):
            raise _doubtful(written[0], "the change would write to the list of object ids")
        if number is None:
            return
        if self._used(self.after, number) is None:
            raise _doubtful(number, "the change would delete the list of object ids")
        former, new = self.before.read(number), self.after.read(number)
        if former.sequence != new.sequence or self.before.names(number) != self.after.names(number):
            raise _doubtful(number, "the change would give the record of the list of object ids to a file")
        self._expect_same(number, {_STANDARD_INFORMATION, ATTRIBUTE_LIST}, PARTS_OF_INDEX)
        expect_only_removed(self.before, self.after, number, deleted)
        self.judged.object_ids = {(number, *key) for key in PARTS_OF_INDEX}

    def judge_file(self, number: int) -> None:
        """A file, or a folder that is new or goes: one of those that the change names, and as it says."""
        former, new = self._used(self.before, number), self._used(self.after, number)
        old_names = self.before.names(number) if former else []
        new_names = self.after.names(number) if new else []
        old = {self.before.path(name).casefold() for name in old_names if not name.short}
        paths = {self.after.path(name).casefold() for name in new_names if not name.short}
        if former is not None and new is not None:
            self._judge_kept(number, former, new, old, paths)
            self._expect_short_names_beside(number, new_names, paths)
        elif new is not None:
            if not paths or not paths <= self.made:
                raise _doubtful(number, "the change would make a file that it does not name")
            self.judged.whole.add(number)
        elif former is not None:
            if not old or not old <= self.deleted:
                raise _doubtful(number, "the change would delete a file that it does not name")
            self.judged.deleted.add(number)
        self._allow_folders(self.before, old_names)
        self._allow_folders(self.after, new_names)

    def _judge_kept(self, number: int, former: Record, new: Record, old: set[str], paths: set[str]) -> None:
        if former.sequence != new.sequence or former.is_folder or new.is_folder:
            raise _doubtful(number, "the change would give a file's record to another file")
        if old == paths and old & self.rewritten:
            self.judged.whole.add(number)
            self._expect_same(number, _OF_A_NAME, {(DATA, "")})
            return
        gone, come = old - paths, paths - old
        moved = {self.new_path[path] for path in gone if path in self.new_path}
        if not gone or not gone <= self.new_path.keys() | self.deleted or come != moved:
            raise _doubtful(number, "the change would write to a file that it does not name")
        self.judged.moved.add(number)
        self._expect_same(number, _OF_A_NAME, set())

    def _expect_short_names_beside(self, number: int, names: list[Name], paths: set[str]) -> None:
        """An 8.3 name lies in a folder that has a long name of the same file."""
        folders = {path.rpartition("\\")[0] for path in paths}
        for name in names:
            if name.short and self.after.path(name).casefold().rpartition("\\")[0] not in folders:
                raise _doubtful(number, "the change would list a file in a folder where it does not belong")

    def _allow_folders(self, table: FileTable, names: Iterable[Name]) -> None:
        """Folders list their files' times too, and theirs are listed in the folder above."""
        for name in names:
            while name.parent not in self.judged.folders:
                self.judged.folders.add(name.parent)
                name = table.long_name(name.parent)

    def judge_folder(self, number: int) -> None:
        """A folder that was there and stays: it has to do with the change, and only its list changes."""
        former, new = self.before.read(number), self.after.read(number)
        if number not in self.judged.folders:
            raise _doubtful(number, "the change would write to a folder that it does not name")
        if former.sequence != new.sequence or not new.is_folder:
            raise _doubtful(number, "the change would give a folder's record to another file")
        if set(self.before.names(number)) != set(self.after.names(number)):
            raise _doubtful(number, "the change would rename a folder")
        self._expect_same(number, _OF_A_NAME, _OF_A_LIST)

    def judge_own(self, number: int) -> None:
        """One of the file system's own files: only two may change, and they only grow."""
        if number not in _GROWING:
            raise _doubtful(number, "the change would write to one of the file system's own files")
        if set(self.before.names(number)) != set(self.after.names(number)):
            raise _doubtful(number, "the change would rename one of the file system's own files")
        self._expect_same(number, _OF_A_NAME, _GROWING[number])
        for key in _GROWING[number]:
            former, new = (table.find_attribute(number, *key) for table in (self.before, self.after))
            if former is None or former.value is not None or new is None:
                continue
            if new.value is not None or not begins_with(new.runs, former.runs):
                raise _doubtful(number, "the change would move one of the file system's own files")

    def _expect_same(self, number: int, kinds: set[int], keys: set[tuple[int, str]]) -> None:
        """That a file holds what it held, but for attributes of these kinds and these keys.

        A record that is full makes room by putting an attribute outside the table: its content must be the
        same.
        """
        former, new = (
            {
                (one.kind, one.name): one
                for one in table.attributes(number)
                if one.kind not in kinds and (one.kind, one.name) not in keys
            }
            for table in (self.before, self.after)
        )
        for key in former.keys() | new.keys():
            one, other = former.get(key), new.get(key)
            if one is None or other is None or not self._is_same(number, one, other):
                raise _doubtful(number, "the change would alter the content of a file that it only moves")

    def _is_same(self, number: int, former: Attribute, new: Attribute) -> bool:
        if former.value is None or new.value is not None:
            return _essence(former) == _essence(new)
        self.judged.put_outside.add((number, new.kind, new.name))
        if (former.plain, former.size) != (new.plain, new.size):
            return False
        return open_stream(self.after.view, new).read(0, new.size) == former.value

    def expect_bitmap(self) -> None:
        """That the table's bitmap changes by the records that are taken and freed, and by nothing else."""
        former, new = self.before.bitmap(), self.after.bitmap()
        changed = merged(flipped_bits(former.ljust(len(new), b"\0"), new))
        expected = merged((one, one + 1) for one in self.judged.taken | self.judged.freed)
        if len(new) < len(former) or changed != expected:
            raise damaged("the change would not mark exactly the records of the file table that it uses")

    @staticmethod
    def _used(table: FileTable, number: int) -> Record | None:
        record = table.find(number)
        return record if record is not None and record.in_use else None


def _essence(one: Attribute) -> tuple[object, ...]:
    """What of an attribute says what it holds."""
    return one.value, joined(one.runs), one.size, one.allocated, one.initialized, one.plain


def _doubtful(number: int, what: str) -> NeedsHandsError:
    return damaged(f"{what} (record {number})")
