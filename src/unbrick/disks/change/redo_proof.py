"""Proves that completing a run that was cut off writes what a run of ours writes, and nothing else.

The redo record lies on the disk, and damage or a hostile hand may have made it. So it is judged as the change
was that it is the record of, by the volume as it was before and as it will be; and more strictly, for here no
driver of ours has made the change: what a folder lists besides, and who may do what with any file, stays.
A change is judged so before it is begun, too: one that could not be completed would end in a torn volume.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from unbrick.disks.change.commit import show_former
from unbrick.disks.change.patched_view import PatchedView
from unbrick.disks.change.redo_log import Pending
from unbrick.disks.ntfs.file_table import ROOT, FileTable, open_stream
from unbrick.disks.ntfs.index_entries import IndexEntry, read_entries
from unbrick.disks.ntfs.recognise import index_block_size
from unbrick.disks.ntfs.stream import Stream
from unbrick.disks.ntfs.structures import DAMAGED, ByteView, Geometry, damaged, unprotect
from unbrick.disks.proof.changed_records import FIRST_USERS, INDEX, INDEX_ALLOCATION, TABLE
from unbrick.disks.proof.ownership import SECTOR, Proof, ask, prove
from unbrick.errors import NeedsHandsError, Reason
from unbrick.model import Touched

_REFERENCE = (1 << 48) - 1
_STANDARD_INFORMATION = 0x10
_PAST_ITS_TIMES = 0x20
_OF_WINDOWS_2000 = (range(0x30, 0x34), range(0x34, 0x38), range(0x38, 0x40), range(0x40, 0x48))
"""Where in it owner, security id, quota and change number lie, which the oldest NTFS had not."""


def prove_completion(
    view: ByteView,
    completed: ByteView,
    geometry: Geometry,
    pending: Pending,
    touched: Touched | None,
) -> None:
    """Judge a pending change of a volume, which leaves it as `completed`, by all that its run may touch.

    That is None where nothing tells of the run. Raises NeedsHandsError (damaged-volume), OSError.
    """
    if touched is None:
        raise damaged("a run was cut off here that nothing on it tells of")
    before = PatchedView(view, geometry.length)
    show_former(before, pending)
    sectors = [
        change.offset + at * SECTOR for change in pending.redo.changes for at in range(len(change.former))
    ]
    try:
        proof = prove(before, completed, geometry, sectors, touched)
        expect_completable(view, proof)
        ask(proof.before, proof.questions)
    except NeedsHandsError as error:
        if error.reason != Reason.DAMAGED_VOLUME:
            raise
        raise NeedsHandsError(
            "a repair, an undo or a purge was cut off here, and what it left to be completed is not what a "
            f"run of unbrick writes: {error.message.removeprefix(DAMAGED)}",
            hint=error.hint,
            reason=Reason.DAMAGED_VOLUME,
        ) from error


def expect_completable(view: ByteView, proof: Proof) -> None:
    """What is asked of a change besides `prove`, where its record is all that is known of it.

    `view` is the volume as it lies, with the change not begun, or done in part. Raises NeedsHandsError
    (damaged-volume), OSError.
    """
    _Completion(view, proof).judge()


class _Completion:
    def __init__(self, view: ByteView, proof: Proof) -> None:
        self.view = view
        self.proof = proof
        self.before = proof.before
        self.after = proof.after

    def judge(self) -> None:
        for number in self.proof.records:
            self._expect_no_third_record(number)
        files = {number for number in self._files() if self._is_in_both(number)}
        for number in files - self.proof.judged.whole:
            self._expect_same_information(number)
        for number in self._changed_folders(files):
            self._expect_same_list(number)

    def _files(self) -> Iterator[int]:
        for number in self.proof.records:
            for table in (self.before, self.after):
                record = table.find(number)
                if record is not None and record.in_use:
                    yield number if record.base is None else record.base

    def _is_in_both(self, number: int) -> bool:
        return all(_is_in(table, number) for table in (self.before, self.after))

    def _expect_no_third_record(self, number: int) -> None:
        """A record half written is torn: one that can be read, and is neither, is a file that would go."""
        # Where the table grows, the place of a record is known afterwards only, and held anything before.
        place = (self.before if number < self.before.count else self.after).stream
        size = self.before.geometry.record
        self._expect_no_third(place, number * size, size, b"FILE", self.after.raw(number))

    def _expect_no_third(self, stream: Stream, position: int, size: int, magic: bytes, new: bytes) -> None:
        lying, former = (
            Stream(view, stream.runs, stream.size).read(position, size)
            for view in (self.view, self.before.view)
        )
        if unprotect(lying, magic) is not None and lying not in (former, new):
            raise damaged("what lies on the disk is neither what was there before nor what is to be")

    def _expect_same_information(self, number: int) -> None:
        """Attributes and rights; the times aside."""
        former, new = (
            table.find_attribute(number, _STANDARD_INFORMATION) for table in (self.before, self.after)
        )
        was, will_be = (
            bytearray(one.value if one and one.value else b"")[_PAST_ITS_TIMES:] for one in (former, new)
        )
        for places in _OF_WINDOWS_2000 if number == TABLE else ():
            # ntfs-3g opens the table before it knows of these, and writes zeros into its own record.
            there = slice(places.start - _PAST_ITS_TIMES, places.stop - _PAST_ITS_TIMES)
            if not any(will_be[there]):
                was[there] = bytes(len(was[there]))
        if was != will_be:
            raise damaged(f"the change would give a file other attributes or rights (record {number})")

    def _changed_folders(self, files: set[int]) -> set[int]:
        listed = {owner for owner, kind, _ in self.proof.written if kind == INDEX_ALLOCATION}
        changed = (files | listed) & self.proof.judged.folders
        return {number for number in changed if number >= FIRST_USERS or number == ROOT}

    def _expect_same_list(self, number: int) -> None:
        """That a folder lists what it listed, in that order, but for what the change is about."""
        self._expect_no_third_block(number)
        known = self.proof.judged
        concerned = known.moved | known.whole | known.deleted | known.folders
        rests: list[list[IndexEntry]] = []
        about: list[Counter[tuple[bytes, str]]] = []
        for table in (self.before, self.after):
            entries = read_entries(table, number, INDEX) if _is_in(table, number) else []
            rests.append([])
            about.append(Counter())
            for one in entries:
                if one.record in concerned or one.record < FIRST_USERS:
                    about[-1][one.head, one.name.text] += 1
                else:
                    rests[-1].append(one)
        if rests[0] != rests[1]:
            raise damaged(f"the change would alter how a folder lists other files (record {number})")
        lost = (self._is_named(one, number) for one in about[0] - about[1])
        gained = (self._is_named(one, number) for one in about[1] - about[0])
        if any(lost) or not all(gained):
            raise damaged(f"a folder would not list its files by their names any more (record {number})")

    def _is_named(self, listed: tuple[bytes, str], folder: int) -> bool:
        """Whether a file has the name, afterwards, under which a folder lists it."""
        reference = int.from_bytes(listed[0], "little")
        record = self.after.find(reference & _REFERENCE)
        if record is None or not record.in_use or record.sequence != reference >> 48:
            return False
        names = self.after.names(record.number)
        return any((name.parent, name.text) == (folder, listed[1]) for name in names)

    def _expect_no_third_block(self, number: int) -> None:
        key = (number, INDEX_ALLOCATION, INDEX)
        found = self.before.find_attribute(number, *key[1:]) if _is_in(self.before, number) else None
        if found is None or found.value is not None:
            return
        former = open_stream(self.before.view, found)
        later = self.after.find_attribute(number, *key[1:]) if _is_in(self.after, number) else None
        new = open_stream(self.after.view, later) if later is not None and later.value is None else None
        size = index_block_size(self.before, number, INDEX)
        positions = (former.position_of(sector) for sector in self.proof.written.get(key, ()))
        for at in {position // size * size for position in positions if position is not None}:
            self._expect_no_third(former, at, size, b"INDX", new.read(at, size) if new is not None else b"")


def _is_in(table: FileTable, number: int) -> bool:
    record = table.find(number)
    return record is not None and record.in_use
