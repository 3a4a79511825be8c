"""Proves that completing a run that was cut off writes what a run of ours writes, and nothing else.

The redo record lies on the disk, and damage or a hostile hand may have made it. So it is judged as the change
was that it is the record of, by the volume as it was before and as it will be; and more strictly, for here no
driver of ours has made the change: what a folder lists besides, and who may do what with any file, stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from unbrick.disks.atomic_change import show_former
from unbrick.disks.changed_records import FIRST_USERS, INDEX, INDEX_ALLOCATION, SECURE, TABLE
from unbrick.disks.file_table import ROOT, FileTable, open_stream
from unbrick.disks.index_entries import IndexEntry, read_entries
from unbrick.disks.ntfs_stream import Stream
from unbrick.disks.ntfs_volume import DAMAGED, DATA, ByteView, Geometry, damaged, unprotect
from unbrick.disks.ownership import SECTOR, Proof, ask, prove
from unbrick.disks.patched_view import PatchedView
from unbrick.disks.recognise import index_block_size
from unbrick.disks.redo_log import Pending, is_carried_out
from unbrick.errors import NeedsHandsError, Reason
from unbrick.model import Touched

_REFERENCE = (1 << 48) - 1
_STANDARD_INFORMATION = 0x10
_PAST_ITS_TIMES = 0x20
_SECURITY_ID = slice(0x34 - _PAST_ITS_TIMES, 0x38 - _PAST_ITS_TIMES)
_IN_SECURE = ("$SII", "$SDH")


def prove_completion(
    view: ByteView,
    completed: ByteView,
    geometry: Geometry,
    pending: Pending,
    touched: Touched | None,
) -> None:
    """Judge a pending change of a volume, which leaves it as `completed`, by all that its run may touch.

    Raises NeedsHandsError (damaged-volume), OSError.
    """
    if is_carried_out(view, pending):
        return
    if touched is None:
        raise damaged("a run was cut off here that nothing on it tells of")
    before = PatchedView(view, geometry.length)
    show_former(before, pending)
    sectors = [
        change.offset + at * SECTOR for change in pending.redo.changes for at in range(len(change.former))
    ]
    try:
        proof = prove(before, completed, geometry, sectors, touched)
        _Completion(view, proof).judge()
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


class _Completion:
    """What is asked of a change besides `prove`, where nobody is known to have made it."""

    def __init__(self, view: ByteView, proof: Proof) -> None:
        self.view = view
        self.proof = proof
        self.before = proof.before
        self.after = proof.after

    def judge(self) -> None:
        """Raises NeedsHandsError (damaged-volume), OSError."""
        for number in self.proof.records:
            self._expect_no_third_record(number)
        files = {number for number in self._files() if self._is_in_both(number)}
        for number in files - self.proof.judged.whole:
            self._expect_same_information(number)
        for number in self._changed_folders(files):
            self._expect_same_list(number)
        if SECURE in files or any(owner == SECURE for owner, _, _ in self.proof.written):
            self._expect_descriptors_kept()

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
        table = self.before if number < self.before.count else self.after
        size = table.geometry.record
        self._expect_no_third(table.stream, number * size, size, b"FILE", self.after.raw(number))

    def _expect_no_third(self, stream: Stream, position: int, size: int, magic: bytes, new: bytes) -> None:
        lying = Stream(self.view, stream.runs, stream.size).read(position, size)
        if unprotect(lying, magic) is not None and lying not in (stream.read(position, size), new):
            raise damaged("what lies on the disk is neither what was there before nor what is to be")

    def _expect_same_information(self, number: int) -> None:
        """Attributes and rights; the times aside."""
        former, new = (
            table.find_attribute(number, _STANDARD_INFORMATION) for table in (self.before, self.after)
        )
        was, will_be = (
            bytearray(one.value if one and one.value else b"")[_PAST_ITS_TIMES:] for one in (former, new)
        )
        if number == TABLE and not any(will_be[_SECURITY_ID]):
            # ntfs-3g opens the table before it knows of these ids, and writes none into its own record.
            was[_SECURITY_ID] = will_be[_SECURITY_ID]
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

    def _expect_descriptors_kept(self) -> None:
        """That `$Secure` keeps each descriptor that it had, where it was, and finds it."""
        streams = [self._descriptors(table) for table in (self.before, self.after)]
        for sector in self.proof.written.get((SECURE, DATA, "$SDS"), ()):
            position = streams[0].position_of(sector)
            if position is None:
                continue
            former, new = (stream.read(position, SECTOR) for stream in streams)
            if any(one not in (0, other) for one, other in zip(former, new, strict=True)):
                raise damaged("the change would write over the rights of other files")
        for name in _IN_SECURE:
            found = [Counter(read_entries(table, SECURE, name)) for table in (self.before, self.after)]
            if found[0] - found[1]:
                raise damaged("the change would lose the rights of other files")

    @staticmethod
    def _descriptors(table: FileTable) -> Stream:
        found = table.find_attribute(SECURE, DATA, "$SDS")
        if found is None or found.value is not None:
            raise damaged("it has no list of rights ($Secure)")
        return open_stream(table.view, found)


def _is_in(table: FileTable, number: int) -> bool:
    record = table.find(number)
    return record is not None and record.in_use
