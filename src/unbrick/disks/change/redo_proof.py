"""Proves that completing a run that was cut off writes what a run of unbrick writes, and nothing else.

The redo record is on the disk, and damage or an attacker may have made it. So it is checked as the change was
that it records, by the volume as it was before and as it will be; and more strictly, because here no driver
of unbrick's has made the change: what a folder lists besides, and the rights of any file, stay. A change is
checked like this before it is begun, too: one that could not be completed would end in a torn volume.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from unbrick.disks.change.commit import show_former
from unbrick.disks.change.patched_view import PatchedView
from unbrick.disks.change.redo_log import Pending
from unbrick.disks.ntfs.file_table import ROOT, open_stream
from unbrick.disks.ntfs.index_entries import IndexEntry, read_entries
from unbrick.disks.ntfs.recognise import index_block_size
from unbrick.disks.ntfs.stream import Stream
from unbrick.disks.ntfs.structures import (
    DAMAGED,
    INDEX_ALLOCATION,
    REFERENCE,
    STANDARD_INFORMATION,
    ByteView,
    Geometry,
    damaged,
    unprotect,
)
from unbrick.disks.proof.changed_records import FIRST_USERS, INDEX, TABLE
from unbrick.disks.proof.ownership import SECTOR, Proof, ask, prove
from unbrick.errors import NeedsHandsError, Reason
from unbrick.model import Touched

_PAST_ITS_TIMES = 0x20
_OF_WINDOWS_2000 = (range(0x30, 0x34), range(0x34, 0x38), range(0x38, 0x40), range(0x40, 0x48))
"""Where in it owner, security id, quota and change number are, which the oldest NTFS lacks."""


def prove_completion(
    view: ByteView,
    completed: ByteView,
    geometry: Geometry,
    pending: Pending,
    touched: Touched | None,
) -> None:
    """Check a pending change of a volume, which leaves it as `completed`, by all that its run may touch.

    `touched` is None where no journal of the run is there. Raises NeedsHandsError (damaged-volume), OSError.
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
    """What a change must fulfil besides `prove`, where its record is all that is known of it.

    `view` is the volume as it is, with the change not begun, or done in part. Raises NeedsHandsError
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
        files = {one for one in self._files() if self.before.find_used(one) and self.after.find_used(one)}
        for number in files - self.proof.judged.whole:
            self._expect_same_information(number)
        for number in self._changed_folders(files):
            self._expect_same_list(number)

    def _files(self) -> Iterator[int]:
        for number in self.proof.records:
            for table in (self.before, self.after):
                record = table.find_used(number)
                if record is not None:
                    yield number if record.base is None else record.base

    def _expect_no_third_record(self, number: int) -> None:
        # A record half written is torn: one that can be read, and is neither, is a file that would be lost.
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
        """Attributes and rights stay; the times need not."""
        former, new = (
            table.find_attribute(number, STANDARD_INFORMATION) for table in (self.before, self.after)
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
        """A folder lists the same files in the same order, but for those of the change."""
        self._expect_no_third_block(number)
        known = self.proof.judged
        concerned = known.moved | known.whole | known.deleted | known.folders
        rests: list[list[IndexEntry]] = []
        about: list[Counter[tuple[bytes, str]]] = []
        for table in (self.before, self.after):
            entries = read_entries(table, number, INDEX) if table.find_used(number) else []
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
        record = self.after.find_used(reference & REFERENCE)
        if record is None or record.sequence != reference >> 48:
            return False
        names = self.after.names(record.number)
        return any((name.parent, name.text) == (folder, listed[1]) for name in names)

    def _expect_no_third_block(self, number: int) -> None:
        key = (number, INDEX_ALLOCATION, INDEX)
        found = self.before.find_attribute(number, *key[1:]) if self.before.find_used(number) else None
        if found is None or found.value is not None:
            return
        former = open_stream(self.before.view, found)
        later = self.after.find_attribute(number, *key[1:]) if self.after.find_used(number) else None
        new = open_stream(self.after.view, later) if later is not None and later.value is None else None
        size = index_block_size(self.before, number, INDEX)
        positions = (former.position_of(sector) for sector in self.proof.written.get(key, ()))
        for at in {position // size * size for position in positions if position is not None}:
            self._expect_no_third(former, at, size, b"INDX", new.read(at, size) if new is not None else b"")
