"""What is wrong with a volume after a run: what nobody may write was written, or is not there any more.

Three readers: the volume's records (`claims.py`) say whose each changed sector was, dissect reads every file,
and `ntfs_check` says whether the volume contradicts itself where it did not before.
"""

from __future__ import annotations

import mmap
import os
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from support.damage.claims import OF_A_FOLDER, OF_THE_TABLE, Claims, Owner, Record, read_claims
from support.damage.ntfs_bytes import (
    BITMAP,
    CLUSTER_BITMAP,
    DATA,
    FIRST_USER_RECORD,
    INDEX_ALLOCATION,
    LIST,
    LOG,
    MIRROR,
    ROOT,
    SECTOR,
    SECURE,
    TABLE,
    VOLUME,
)
from support.damage.reader import ReadFile, ReadVolume, read_volume
from support.ntfs_check import inconsistencies

_CHUNK = 1 << 20
_MIRRORED = 4
_RIGHTS_COPY = 0x40000
_MOST_SAID = 12
_QUARANTINE = re.compile(r"\\unbrick[^\\]*(\\|$)")
_JOURNALS = {"journal.jsonl", "journal.jsonl.gz"}
_OURS: set[tuple[int, int]] = {
    (LOG, DATA),
    (TABLE, DATA),
    (TABLE, BITMAP),
    (MIRROR, DATA),
    (CLUSTER_BITMAP, DATA),
    (SECURE, DATA),
    (SECURE, INDEX_ALLOCATION),
    (SECURE, BITMAP),
}
_CHANGING = {TABLE, MIRROR, LOG, CLUSTER_BITMAP, SECURE}
"""Metafiles whose content every change of a volume changes."""


@dataclass(frozen=True)
class Done:
    """What a run said that it did: the paths of what it moved, a hibernation discarded, a log replayed.

    `begun`: the volume was not as `truth` has it: an earlier run was done, or cut off. `purged`: what was
    moved was deleted then.
    """

    moved: tuple[str, ...]
    hibernation: bool = False
    replayed: bool = False
    begun: bool = False
    purged: bool = False


@dataclass(frozen=True)
class _Touched:
    """What may change: records, the indexes of folders, the names of files."""

    moved: frozenset[int]
    folders: frozenset[int]
    hibernation: int | None
    replayed: bool
    begun: bool
    purged: bool

    @property
    def records(self) -> frozenset[int]:
        return self.moved | self.folders | {TABLE, VOLUME, SECURE}


def judge(before: Path, after: Path, truth: Claims, done: Done, sound: ReadVolume) -> list[str]:
    """What is wrong in `after`; `truth` and `sound` are of the volume before it was damaged."""
    with ExitStack() as stack:
        old, new = (stack.enter_context(_mapped(path)) for path in (before, after))
        changed = list(differing(before, after, old, new))
        if not changed:
            return []
        claims = read_claims(old, truth.volume)
        touched = _touched(claims, truth, done)
        said = list(_judge_sectors(changed, claims, truth, touched, new))
    said += _judge_files(read_volume(before), read_volume(after), touched, sound)
    said += _judge_contradictions(before, after)
    return _shortened(said)


def differing(before: Path, after: Path, old: mmap.mmap, new: mmap.mmap) -> Iterator[int]:
    """The place of every sector that is another one; holes of both files are passed over."""
    if len(old) != len(new):
        yield 0
        return
    for chunk in sorted(_chunks(before) | _chunks(after)):
        start = chunk * _CHUNK
        one, other = old[start : start + _CHUNK], new[start : start + _CHUNK]
        if one != other:
            for at in range(0, len(one), SECTOR):
                if one[at : at + SECTOR] != other[at : at + SECTOR]:
                    yield start + at


def is_changed(before: Path, after: Path) -> bool:
    """Whether a byte of a disk is another one."""
    return any(True for _ in changed_sectors(before, after))


def changed_sectors(before: Path, after: Path) -> Iterator[int]:
    """The place of every sector of a disk that is another one."""
    with _mapped(before) as old, _mapped(after) as new:
        yield from differing(before, after, old, new)


def _chunks(path: Path) -> set[int]:
    found: set[int] = set()
    with path.open("rb") as stream:
        size, position = path.stat().st_size, 0
        while position < size:
            try:
                start = os.lseek(stream.fileno(), position, os.SEEK_DATA)
            except OSError:  # only a hole is left
                break
            position = os.lseek(stream.fileno(), start, os.SEEK_HOLE)
            found.update(range(start // _CHUNK, (position - 1) // _CHUNK + 1))
    return found


def _mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as stream:
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


def _touched(claims: Claims, truth: Claims, done: Done) -> _Touched:
    wanted = {path.casefold() for path in done.moved}
    moved: set[int] = set()
    folders = {ROOT}
    hibernation = None
    for known in (claims, truth):
        for number, path in known.paths().items():
            name = path.casefold()
            if name in wanted:
                moved.add(number)
            if _QUARANTINE.match(name):
                folders.add(number)
            if name == "\\$extend\\$objid" and done.purged:
                folders.add(number)
            if name == "\\hiberfil.sys" and done.hibernation:
                hibernation = number
    # A folder's times are in the index of the folder above it, too.
    for numbers in (moved, folders):
        for known in (claims, truth):
            folders.update(_folders_of(known, frozenset(numbers)))
    if done.begun:  # the earlier run has made these
        used = {number for number, found in truth.records.items() if any(one.in_use for one in found)}
        folders.update(claims.records.keys() - used)
    return _Touched(frozenset(moved), frozenset(folders), hibernation, done.replayed, done.begun, done.purged)


def _folders_of(known: Claims, numbers: frozenset[int]) -> Iterator[int]:
    """Where these files are listed; a name may be in a record that goes on the file's own."""
    for number, found in known.records.items():
        for record in found:
            if number in numbers or record.base in numbers - {0}:
                yield from (above for above, _ in record.names)


def _judge_sectors(
    changed: Sequence[int], claims: Claims, truth: Claims, touched: _Touched, new: mmap.mmap
) -> Iterator[str]:
    """Each changed sector must belong to what may change, and to nothing else, or be proved to be free."""
    size = claims.volume.cluster
    clusters: dict[int, list[int]] = {}
    for place in changed:
        clusters.setdefault(place // size, []).append(place)
    for cluster, places in clusters.items():
        if cluster >= claims.volume.clusters:
            yield f"destroyed: the sectors after the last cluster were written at {places[0]:#x}"
            continue
        owners = _owners(cluster, claims, truth)
        for number, kind, name in sorted(owners):
            on_its_way = touched.begun and number in touched.moved and cluster not in truth.owners
            if not on_its_way and not _may_change((number, kind, name), claims, truth, touched):
                shown = claims.name(number) if number in claims.records else truth.name(number)
                owner = f"{shown!r} (record {number}, {kind:#x} {name})"
                yield f"destroyed: cluster {cluster} of {owner} was written"
        # What was cut off may have marked its clusters before it could say whose they are.
        marked = (truth if touched.begun else claims).is_marked(cluster)
        if not owners and marked and not _comes_back(cluster, claims, truth, touched):
            yield f"unproved: cluster {cluster} was written, which is marked used and no file's"
        if (SECURE, DATA, "$SDS") in truth.owners.get(cluster, ()):
            yield from _judge_rights(places, claims, truth, new)
        if any(owner == OF_THE_TABLE for owner in owners):
            yield from _judge_records(places, claims, truth, touched, new)


def _judge_rights(places: Iterable[int], claims: Claims, truth: Claims, new: mmap.mmap) -> Iterator[str]:
    """What was written of access rights stays as it is; new ones come behind."""
    old, volume = claims.volume.data, truth.volume
    stream = volume.find(volume.read(SECURE), DATA, "$SDS")
    ends = _ends_of_rights(volume.content(SECURE, DATA, "$SDS"))
    position = 0
    for start, count in stream.runs:
        first = (start or 0) * volume.cluster
        for place in places:
            at = position + place - first
            if start is not None and first <= place < first + count * volume.cluster:
                kept = min(SECTOR, ends[min(at // _RIGHTS_COPY, len(ends) - 1)] - at)
                if kept > 0 and old[place : place + kept] != new[place : place + kept]:
                    yield f"destroyed: access rights at {at:#x} of $SDS were written over"
        position += count * volume.cluster


def _ends_of_rights(content: bytes) -> list[int]:
    """Where in each block of `$SDS` the last entry ends."""
    ends = []
    for block in range(0, len(content), _RIGHTS_COPY):
        at, last = block, min(block + _RIGHTS_COPY, len(content))
        while at + 20 <= last and (length := struct.unpack_from("<I", content, at + 16)[0]) >= 20:
            at = at + length + 15 & ~15
        ends.append(at)
    return ends


def _comes_back(cluster: int, claims: Claims, truth: Claims, touched: _Touched) -> bool:
    """Whether it was one's that may change, who gets it again."""
    owners = truth.owners.get(cluster, set()) if touched.begun else set()
    return bool(owners) and all(_may_change(owner, claims, truth, touched) for owner in owners)


def _owners(cluster: int, claims: Claims, truth: Claims) -> set[Owner]:
    """Whose it is by the damaged volume, and whose it was, where the damaged volume does not call it free."""
    owners = set(claims.owners.get(cluster, ()))
    for owner in truth.owners.get(cluster, ()):
        now = claims.records.get(owner[0], ())
        if owner not in owners and (claims.is_marked(cluster) or not all(record.whole for record in now)):
            owners.add(owner)
    return owners


def _may_change(owner: Owner, claims: Claims, truth: Claims, touched: _Touched) -> bool:
    number, kind, _ = owner
    if (number, kind) in _OURS:
        return True
    bases = {number} | {record.base for known in (claims, truth) for record in known.records.get(number, ())}
    bases -= {0} if number else set()
    if kind == DATA and claims.name(number) in _JOURNALS and number in touched.folders:
        return True
    if kind in OF_A_FOLDER and (bases & touched.folders or touched.replayed):
        return True
    if kind == LIST and bases & touched.moved:
        return True
    return kind == DATA and number == touched.hibernation


def _judge_records(
    places: Iterable[int], claims: Claims, truth: Claims, touched: _Touched, new: mmap.mmap
) -> Iterator[str]:
    volume = claims.volume
    for table in claims.tables:
        first = 0
        for start, count in table:
            length = count * volume.cluster
            for place in places if start is not None else ():
                inside = place - (start or 0) * volume.cluster
                if 0 <= inside < length:
                    yield from _judge_record(
                        (first + inside) // volume.record, place, claims, truth, touched, new
                    )
            first += length


def _judge_record(
    number: int, place: int, claims: Claims, truth: Claims, touched: _Touched, new: mmap.mmap
) -> Iterator[str]:
    volume = claims.volume
    # A record that cannot be read any more is what it was.
    known: list[Record] = claims.records.get(number) or truth.records.get(number) or []
    bases = {number} | {record.base for record in known} - {0}
    if bases & touched.records or touched.replayed or not any(record.in_use for record in known):
        return
    if number < _MIRRORED:
        at = volume.mirror_cluster * volume.cluster + number * volume.record
        start = volume.table_cluster * volume.cluster + number * volume.record
        if new[start : start + volume.record] == volume.data[at : at + volume.record]:
            return  # put back from its mirror
    yield f"destroyed: record {number} ({truth.name(number)!r}) was written at {place:#x}"


def _judge_files(
    before: ReadVolume | None, after: ReadVolume | None, touched: _Touched, sound: ReadVolume
) -> Iterator[str]:
    """Every file that could be read, by its record: still there, with the same names and the same content."""
    if before is None:
        return
    if after is None:
        yield "destroyed: nothing can be read any more"
        return
    for number, file in before.files.items():
        now = after.files.get(number)
        if now is None or now.sequence != file.sequence:
            if number in touched.folders and file.folder and number >= FIRST_USER_RECORD:
                continue  # a run's own folder, taken away
            if number in touched.folders and not file.folder:
                continue
            if touched.purged and number in touched.moved:
                continue
            yield f"destroyed: file {number} {file.names} is not there any more"
        elif number not in _CHANGING:
            yield from _judge_file(number, file, now, touched, sound)
    used = {file.rights for file in after.files.values()}
    for identity, digest in before.rights.items():
        if touched.begun and identity not in sound.rights:
            continue  # what was cut off was writing it
        if after.rights.get(identity) != digest and (identity in used or not touched.purged):
            yield f"destroyed: the access rights {identity} are others"


def _judge_file(
    number: int, file: ReadFile, now: ReadFile, touched: _Touched, sound: ReadVolume
) -> Iterator[str]:
    ours = number in touched.folders and not _JOURNALS.isdisjoint(file.names)
    if touched.begun and number in touched.moved and number in sound.files:
        # It was cut off on its way: half of its record may have been written.
        ours = ours or now.streams == sound.files[number].streams
    if dict(file.streams) != dict(now.streams) and not ours and number not in (touched.hibernation, VOLUME):
        yield f"destroyed: file {number} {file.names} reads otherwise"
    if file.names != now.names and number not in touched.moved:
        yield f"destroyed: file {number} has the names {now.names}, not {file.names}"
    lost = {name for name in file.listed - now.listed if name[1] not in touched.moved | touched.folders}
    if lost:
        yield f"destroyed: folder {number} {file.names} does not list {sorted(lost)[:3]} any more"


def _judge_contradictions(before: Path, after: Path) -> Iterator[str]:
    try:
        with before.open("rb") as old:
            known = inconsistencies(old)
    except Exception:
        return  # a volume so damaged that it cannot be checked
    try:
        with after.open("rb") as new:
            found = inconsistencies(new) - known
    except Exception as error:
        yield f"contradicts itself: it cannot be checked any more ({type(error).__name__})"
        return
    # A folder whose index cannot be read lists nothing, what is new in it neither; a name that led nowhere
    # may now lead to a new file.
    topics = {_topic(one) for one in known}
    for one in sorted(found):
        if _topic(one) not in topics:
            yield f"contradicts itself: {one}"


def _topic(contradiction: str) -> str:
    kind, _, rest = contradiction.partition(":")
    if kind == "unlisted":
        return f"{kind} {rest.rpartition(', folder ')[2]}"
    if kind == "dangling":
        name, _, folder = rest.partition(" in folder ")
        return f"{kind} {name} {folder.split()[0]}"
    if kind == "links":  # a count that was wrong stays wrong by as much when a name comes or goes
        _, number, _, names, _, _, _, count = rest.split()
        return f"{kind} {number} {int(count) - int(names)}"
    return contradiction


def _shortened(said: list[str]) -> list[str]:
    more = len(said) - _MOST_SAID
    return said if more <= 0 else [*said[:_MOST_SAID], f"{said[-1].split(':')[0]}: and {more} more"]
