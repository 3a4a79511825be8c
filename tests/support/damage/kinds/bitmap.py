"""Damage to `$Bitmap`: what is used is called free, what is free used; where it lies, how long it is."""

from __future__ import annotations

import random

from support.damage.kinds.targets import Damage, any_file, hurt_attribute, hurt_record, hurt_runs
from support.damage.ntfs_bytes import (
    CLUSTER_BITMAP,
    DATA,
    INDEX_ALLOCATION,
    ROOT,
    TABLE,
    NotHereError,
    NtfsBytes,
    Run,
    attributes,
)
from support.damage.paths import FAULTY, USERS


def mark(volume: NtfsBytes, runs: list[Run], *, used: bool) -> None:
    """Write of clusters in the bitmap that they are used, or free."""
    place = tuple(volume.runs(CLUSTER_BITMAP, DATA))
    for start, count in runs:
        for cluster in range(start or 0, (start or 0) + count if start is not None else 0):
            at = volume.place_in(place, cluster // 8)
            byte = volume.data[at : at + 1][0]
            bit = 1 << cluster % 8
            volume.data[at : at + 1] = bytes([byte | bit if used else byte & ~bit])


def free_all_files(volume: NtfsBytes, rng: random.Random) -> str:
    """Every cluster of every file is called free."""
    for number, record in list(volume.in_use()):
        if number >= 64:
            for attribute in attributes(record):
                mark(volume, list(attribute.runs), used=False)
    return "every file's clusters are called free"


def _free_a_file(volume: NtfsBytes, rng: random.Random) -> str:
    chosen = [any_file(volume, rng) for _ in range(rng.choice((1, 1, 3, 20)))]
    for number in chosen:
        mark(volume, volume.runs(number, DATA), used=False)
    return f"the clusters of files {chosen[:4]} are called free"


def _free_an_odd_one(volume: NtfsBytes, rng: random.Random) -> str:
    """The faulty file's clusters, the file table's, a folder's, all of the metafiles'."""
    what = rng.choice(("faulty", "table", "root", "metafiles", "mailbox"))
    if what == "metafiles":
        for number, record in list(volume.in_use()):
            if number < 16 and number != 8:
                for attribute in attributes(record):
                    mark(volume, list(attribute.runs), used=False)
        return "the metafiles' clusters are called free"
    if what == "root":
        runs = volume.runs(ROOT, INDEX_ALLOCATION)
    elif what == "table":
        runs = volume.runs(TABLE, DATA)
    else:
        runs = volume.runs(
            volume.find_record({"faulty": FAULTY, "mailbox": f"{USERS}\\mailbox 0.pst"}[what]), DATA
        )
    mark(volume, runs, used=False)
    return f"the clusters of the {what} are called free"


def _free_a_stretch(volume: NtfsBytes, rng: random.Random) -> str:
    start = rng.randrange(volume.clusters)
    count = min(rng.choice((1, 8, 64, 1000)), volume.clusters - start)
    mark(volume, [(start, count)], used=False)
    return f"{count} clusters from {start} on are called free"


def _use_a_stretch(volume: NtfsBytes, rng: random.Random) -> str:
    if rng.random() < 0.3:
        mark(volume, [(0, volume.clusters)], used=True)
        return "every cluster is called used"
    start = rng.randrange(volume.clusters)
    count = min(rng.choice((1, 8, 1000)), volume.clusters - start)
    mark(volume, [(start, count)], used=True)
    return f"{count} clusters from {start} on are called used"


def _few_free_ones(volume: NtfsBytes, rng: random.Random) -> str:
    """Nothing is called free but a file's clusters: whatever is allocated lands there."""
    mark(volume, [(0, volume.clusters)], used=True)
    while True:
        number = any_file(volume, rng)
        runs = volume.runs(number, DATA)
        if sum(count for _, count in runs) > 2:
            break
    mark(volume, runs, used=False)
    if rng.random() < 0.5:  # room enough that the disk is not called full
        mark(volume, volume.runs(volume.find_record(f"{USERS}\\film 0.mp4"), DATA), used=False)
    return f"nothing is called free but the clusters of file {number}"


def _noise(volume: NtfsBytes, rng: random.Random) -> str:
    (start, _), *_ = volume.runs(CLUSTER_BITMAP, DATA)
    if start is None:
        raise NotHereError("no bitmap")
    length = (volume.clusters + 7) // 8
    part = rng.randrange(length)
    count = min(rng.choice((1, 16, length)), length - part)
    at = start * volume.cluster + part
    volume.data[at : at + count] = rng.choice((bytes(count), b"\xff" * count, rng.randbytes(count)))
    return f"{count} bytes of the bitmap from {part} on are overwritten"


def _runs(volume: NtfsBytes, rng: random.Random) -> str:
    return hurt_runs(volume, CLUSTER_BITMAP, DATA, rng)


def _attribute(volume: NtfsBytes, rng: random.Random) -> str:
    return hurt_attribute(volume, CLUSTER_BITMAP, DATA, rng)


def _record(volume: NtfsBytes, rng: random.Random) -> str:
    return hurt_record(volume, CLUSTER_BITMAP, rng)


KINDS: dict[str, Damage] = {
    "all files free": free_all_files,
    "a file free": _free_a_file,
    "an odd one free": _free_an_odd_one,
    "a stretch free": _free_a_stretch,
    "a stretch used": _use_a_stretch,
    "few free": _few_free_ones,
    "noise": _noise,
    "runs": _runs,
    "attribute": _attribute,
    "record": _record,
}
