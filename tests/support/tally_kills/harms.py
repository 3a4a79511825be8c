"""What may become of a tally's files between two servers, chosen by chance."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

Harm = Callable[[Path, random.Random], bool]
"""Does harm to the files in a folder; False where there was nothing to harm."""


def nothing(_: Path, __: random.Random) -> bool:
    """Only the kill."""
    return True


def _remove(name: str) -> Harm:
    def harm(folder: Path, _: random.Random) -> bool:
        path = folder / name
        there = path.exists()
        path.unlink(missing_ok=True)
        return there

    return harm


def _cut(name: str) -> Harm:
    def harm(folder: Path, chance: random.Random) -> bool:
        path = folder / name
        size = path.stat().st_size if path.exists() else 0
        if size:
            os.truncate(path, chance.randrange(size))
        return size > 0

    return harm


def _flip(name: str, bytes_: int) -> Harm:
    def harm(folder: Path, chance: random.Random) -> bool:
        path = folder / name
        data = bytearray(path.read_bytes()) if path.exists() else bytearray()
        for _ in range(bytes_ if data else 0):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        if data:
            path.write_bytes(data)
        return bool(data)

    return harm


def _blank(name: str) -> Harm:
    def harm(folder: Path, chance: random.Random) -> bool:
        path = folder / name
        size = path.stat().st_size if path.exists() else 0
        if size:
            start = chance.randrange(size) // 512 * 512
            length = min(size - start, chance.choice((512, 4096, 65536)))
            with path.open("r+b") as stream:
                stream.seek(start)
                stream.write(bytes(length))
        return size > 0

    return harm


def _garbage(name: str) -> Harm:
    def harm(folder: Path, chance: random.Random) -> bool:
        path = folder / name
        if path.exists():
            path.write_bytes(chance.randbytes(path.stat().st_size))
        return path.exists()

    return harm


def put_older(folder: Path, _: random.Random) -> bool:
    """The database of an earlier moment, as from a copy; the mark stays."""
    older = folder.with_name("older")
    if not older.exists():
        return False
    for path in folder.glob("tally.db*"):
        path.unlink()
    for path in older.glob("tally.db*"):
        shutil.copy(path, folder)
    return True


def put_older_wal(folder: Path, _: random.Random) -> bool:
    """The -wal of an earlier moment beside today's database."""
    older = folder.with_name("older") / "tally.db-wal"
    if older.exists():
        shutil.copy(older, folder)
    return older.exists()


HARMS: dict[str, Harm] = {
    "nothing": nothing,
    "-wal removed": _remove("tally.db-wal"),
    "-wal cut": _cut("tally.db-wal"),
    "-wal flipped": _flip("tally.db-wal", 1),
    "-wal blanked": _blank("tally.db-wal"),
    "-wal is garbage": _garbage("tally.db-wal"),
    "-wal of before": put_older_wal,
    "-shm removed": _remove("tally.db-shm"),
    "-shm cut": _cut("tally.db-shm"),
    "-shm flipped": _flip("tally.db-shm", 9),
    "-shm is garbage": _garbage("tally.db-shm"),
    "database removed": _remove("tally.db"),
    "database cut": _cut("tally.db"),
    "database flipped": _flip("tally.db", 4),
    "database blanked": _blank("tally.db"),
    "database is garbage": _garbage("tally.db"),
    "database of before": put_older,
    "mark removed": _remove("tally.mark"),
    "mark cut": _cut("tally.mark"),
    "mark flipped": _flip("tally.mark", 2),
    "mark is garbage": _garbage("tally.mark"),
}
