"""Checks the records of the file table that a change writes: each must be one that the change names.

A file that is moved keeps all its content; a folder changes its list of names only; what is new was free
before.

A file that is deleted is taken out of the index of the volume's object ids, `$Extend\\$ObjId:$O`. A program
(or Windows, for a shortcut) may give any file such an id: it is then an attribute of the file, and an entry
there. The layout is that of the Linux-NTFS project's documentation (`$ObjId`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from unbrick.disks.ntfs.file_table import ROOT, FileTable, Name, Record, open_stream, parse_name
from unbrick.disks.ntfs.index_entries import IndexEntry, read_entries
from unbrick.disks.ntfs.recognise import index_block_size
from unbrick.disks.ntfs.structures import (
    ATTRIBUTE_LIST,
    BITMAP,
    DATA,
    FILE_NAME,
    INDEX_ALLOCATION,
    INDEX_ROOT,
    OBJECT_ID,
    STANDARD_INFORMATION,
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

INDEX = "$I30"
TABLE, SECURE = 0, 9
FIRST_USERS = 24
"""Records below are the file system's own."""

_PIECE = 1 << 20
_LARGEST_LIST = 1 << 30  # of a million names; a hole in it may claim to be any size
_EXTEND, _OBJECT_INDEX_FILE, _OBJECT_INDEX = 11, "$ObjId", "$O"
_OF_A_NAME = {STANDARD_INFORMATION, FILE_NAME, ATTRIBUTE_LIST}


def _parts_of(index: str) -> set[tuple[int, str]]:
    return {(kind, index) for kind in (INDEX_ROOT, INDEX_ALLOCATION, BITMAP)}


_GROWING = {
    TABLE: {(DATA, ""), (BITMAP, "")},
    SECURE: {(DATA, "$SDS"), *_parts_of("$SII"), *_parts_of("$SDH")},
}


@dataclass
class Judged:
    """What was found sound. `folders` may change their lists; all of `whole` is the change's own.

    `taken` and `freed` are the numbers of records that a file begins and ceases to use. `moved` are files
    that keep their content; `changed`, all whose records change. `put_outside` are attributes that were in
    their record: its number, kind, name; `object_ids` those of the index that deleted files are taken out of.
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
    """Check the records with these numbers; raises NeedsHandsError (damaged-volume)."""
    changed = _ChangedRecords(before, after, touched)
    for number in numbers:
        if number >= after.count:
            changed.expect_left_over(number)
    bases = sorted({base for number in numbers if number < after.count for base in changed.owners(number)})
    changed.judged.changed.update(bases)
    users = [number for number in bases if number >= FIRST_USERS]
    for number in users:
        if not changed.is_old_folder(number) and not changed.is_object_index(number):
            changed.judge_file(number)
    changed.judge_object_ids(users)
    for number in users:
        if changed.is_old_folder(number):
            changed.judge_folder(number)
    for number in bases:
        if number == ROOT:
            changed.judge_folder(number)
        elif number < FIRST_USERS:
            changed.judge_own(number)
    changed.expect_bitmap()
    return changed.judged


class _ChangedRecords:
    def __init__(self, before: FileTable, after: FileTable, touched: Touched) -> None:
        self.before = before
        self.after = after
        self.judged = Judged()
        self.new_path = {old.casefold(): new.casefold() for old, new in touched.moved}
        self.made = {path.casefold() for path in touched.made}
        self.rewritten = {path.casefold() for path in touched.rewritten}
        self.deleted = {path.casefold() for path in touched.deleted}

    def expect_left_over(self, number: int) -> None:
        # A driver makes as many records as it needs, and zeroes the rest of the last cluster. Where that is
        # newly taken, the cluster map shows whether it was free; elsewhere there must be zeros, and no file.
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
        """Raise NeedsHandsError where a file is behind the stated end of the table."""
        data = unprotect(self.before.raw(number), b"FILE")
        record = None if data is None else Record(number, data)
        if record is not None and record.in_use and record.own_number in (None, number):
            raise _doubtful(number, "its file table is said to end before a file that lies in it")

    def _expect_unlisted(self, record: Record) -> None:
        """Raise NeedsHandsError (damaged-volume) where a file still needs a record that is called free."""
        # A record that was given up has a sequence number one higher than any reference to it in an old list.
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
        """What an attribute of a file held, index blocks unprotected; nothing where there is no such file."""
        used = self.before.find_used(number)
        holder = self.before.find_attribute(number, kind, name) if used is not None else None
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
        former, new = self.before.find_used(number), self.after.find_used(number)
        return former is not None and new is not None and former.is_folder

    def is_object_index(self, number: int) -> bool:
        if self.before.find_used(number) is None:
            return False
        names = self.before.names(number)
        return [(name.parent, name.text) for name in names] == [(_EXTEND, _OBJECT_INDEX_FILE)]

    def judge_object_ids(self, numbers: Iterable[int]) -> None:
        """Deleted files go from the index of object ids, and no others. Call it after `judge_file`."""
        deleted = self.judged.deleted
        listed = [one for one in deleted if self.before.find_attribute(one, OBJECT_ID)]
        written = [number for number in numbers if self.is_object_index(number)]
        number = self._find_object_index() if listed else None
        if any(one != number for one in written):
            raise _doubtful(written[0], "the change would write to the list of object ids")
        if number is None:
            return
        if self.after.find_used(number) is None:
            raise _doubtful(number, "the change would delete the list of object ids")
        former, new = self.before.read(number), self.after.read(number)
        if former.sequence != new.sequence or self.before.names(number) != self.after.names(number):
            raise _doubtful(number, "the change would give the record of the list of object ids to a file")
        self._expect_same(number, {STANDARD_INFORMATION, ATTRIBUTE_LIST}, _parts_of(_OBJECT_INDEX))
        gone = {self.before.read(one).sequence << 48 | one for one in deleted}
        listed_before, listed_after = (
            read_entries(table, number, _OBJECT_INDEX) for table in (self.before, self.after)
        )
        # Their order is a part of it.
        if [one for one in listed_before if _owner_of_id(one) not in gone] != listed_after:
            raise damaged("the change would not take exactly what it deletes out of the list of object ids")
        self.judged.object_ids = {(number, *key) for key in _parts_of(_OBJECT_INDEX)}

    def _find_object_index(self) -> int | None:
        """The record of the index of object ids, which `$Extend` lists."""
        for entry in read_entries(self.before, _EXTEND, INDEX):
            if entry.name.text == _OBJECT_INDEX_FILE:
                return entry.record
        return None

    def judge_file(self, number: int) -> None:
        """A file, or a folder that is new or goes: the change must name it, with what becomes of it."""
        former, new = self.before.find_used(number), self.after.find_used(number)
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
        """An 8.3 name is in a folder that has a long name of the same file."""
        folders = {path.rpartition("\\")[0] for path in paths}
        for name in names:
            if name.short and self.after.path(name).casefold().rpartition("\\")[0] not in folders:
                raise _doubtful(number, "the change would list a file in a folder where it does not belong")

    def _allow_folders(self, table: FileTable, names: Iterable[Name]) -> None:
        # Folders list their files' times too, and a folder's own times are listed in the folder above.
        for name in names:
            while name.parent not in self.judged.folders:
                self.judged.folders.add(name.parent)
                name = table.long_name(name.parent)

    def judge_folder(self, number: int) -> None:
        """A folder that was there and stays: it is one of the change's, and only its list changes."""
        former, new = self.before.read(number), self.after.read(number)
        if number not in self.judged.folders:
            raise _doubtful(number, "the change would write to a folder that it does not name")
        if former.sequence != new.sequence or not new.is_folder:
            raise _doubtful(number, "the change would give a folder's record to another file")
        if set(self.before.names(number)) != set(self.after.names(number)):
            raise _doubtful(number, "the change would rename a folder")
        self._expect_same(number, _OF_A_NAME, _parts_of(INDEX))

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
        """Raise where a file's content changes, but for attributes of these kinds and these keys."""
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
        # A full record makes room by putting an attribute outside the table: its content must be the same.
        if former.value is None or new.value is not None:
            return _essence(former) == _essence(new)
        self.judged.put_outside.add((number, new.kind, new.name))
        if (former.plain, former.size) != (new.plain, new.size):
            return False
        return open_stream(self.after.view, new).read(0, new.size) == former.value

    def expect_bitmap(self) -> None:
        """The table's bitmap changes by the records that are taken and freed, and by nothing else."""
        former, new = self.before.bitmap(), self.after.bitmap()
        changed = merged(flipped_bits(former.ljust(len(new), b"\0"), new))
        expected = merged((one, one + 1) for one in self.judged.taken | self.judged.freed)
        if len(new) < len(former) or changed != expected:
            raise damaged("the change would not mark exactly the records of the file table that it uses")


def _owner_of_id(entry: IndexEntry) -> int:
    return int.from_bytes(entry.rest[16:24], "little")  # a file reference, behind the key


def _essence(one: Attribute) -> tuple[object, ...]:
    return one.value, joined(one.runs), one.size, one.allocated, one.initialized, one.plain


def _doubtful(number: int, what: str) -> NeedsHandsError:
    return damaged(f"{what} (record {number})")
