"""How Windows left a volume, before it was damaged: its dirty flag and its log."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

from support.damage.ntfs_bytes import DATA, LOG, VOLUME, VOLUME_INFORMATION, NtfsBytes
from support.ntfs_states import record_page, restart_page

_PAGE = 4096


def _clean(volume: NtfsBytes, rng: random.Random) -> None:
    """As ntfs-3g leaves it."""


def _dirty(volume: NtfsBytes, rng: random.Random) -> None:
    record = volume.read(VOLUME)
    flags = volume.find(record, VOLUME_INFORMATION).value_at + 10
    struct.pack_into("<H", record, flags, 1)
    volume.write(VOLUME, record)
    at, mirror = volume.place(VOLUME), volume.mirror_cluster * volume.cluster + VOLUME * volume.record
    volume.data[mirror : mirror + volume.record] = bytes(volume.data[at : at + volume.record])


def _write_log(volume: NtfsBytes, *pages: bytes) -> None:
    runs = tuple(volume.runs(LOG, DATA))
    for index, page in enumerate(pages):
        at = volume.place_in(runs, index * _PAGE)
        volume.data[at : at + _PAGE] = page


def _crashed(volume: NtfsBytes, rng: random.Random) -> None:
    restart = restart_page(current=0x4000, oldest=0x3000, size=_size(volume))
    _write_log(volume, restart, restart)


def _pending(volume: NtfsBytes, rng: random.Random) -> None:
    restart = restart_page(current=0x4000, oldest=0x3000, size=_size(volume))
    _write_log(volume, restart, restart, record_page(0x5000), record_page(0x4800))


def _fast_start(volume: NtfsBytes, rng: random.Random) -> None:
    """Version 2.0, and clean: Windows 10 may hold more in its cache."""
    page = restart_page(
        current=0x4000, oldest=0x3000, clean=rng.random() < 0.5, version=(2, 0), size=_size(volume)
    )
    _write_log(volume, page, page)


def _size(volume: NtfsBytes) -> int:
    return sum(count for _, count in volume.runs(LOG, DATA)) * volume.cluster


STATES: dict[str, tuple[int, Callable[[NtfsBytes, random.Random], None]]] = {
    "clean": (8, _clean),
    "dirty": (3, _dirty),
    "crashed": (5, _crashed),
    "pending": (2, _pending),
    "fast start": (2, _fast_start),
}
"""By name: how often, and what."""
