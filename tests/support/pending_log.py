"""An NTFS volume whose journal, of version 2.0, has records waiting: a crashed Windows 10, replayable.

Nothing here can write such records, so they are borrowed: the tree is put on a volume that Windows made and
that crashed, after its journal was replayed; then the journal is put back as it had been.

When it crashed, all that its journal tells of was on the volume. `forget` takes a part of it away again.
"""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

from support.artefacts import artefact
from support.ntfs_states import filled, log_runs

from unbrick.disks.ntfs.structures import open_view, read_geometry

_CHUNK = 1 << 20
_PAGE = 4096
_TOLD_OF = (37, 39, 48)
_LAST_READ = 0x68


def make_pending_volume(path: Path, tree: Callable[[Path], None]) -> Path:
    """A sparse volume of 1 GiB at `path` that holds what `tree` puts below the root it is given.

    `ntfs-3g.probe --readwrite` says 14; `ntfsrecover -k` plays 2 actions, after which it says 0 and every
    file is as `tree` made it.
    """
    _unpack_sparse(artefact("ntfs/dissect_ntfs-cloud.bin.gz"), path)
    _, runs = log_runs(path)
    with path.open("r+b") as stream:
        before = [(run.offset or 0, _read(stream.fileno(), run.offset or 0, run.length)) for run in runs]
        subprocess.run(["ntfsrecover", "-k", path], check=True, capture_output=True)
        root = path.with_name(path.name + ".root")
        with filled(path, root) as top:
            tree(top)
        root.rmdir()
        for offset, data in before:
            os.pwrite(stream.fileno(), data, offset)
    return path


def forget(path: Path) -> None:
    """Have the volume lack what its journal tells since the checkpoint before the last.

    Three files' records are then as before Windows wrote down when each was last read; `ntfsrecover` plays
    12 actions, and writes to these.
    """
    _, runs = log_runs(path)
    at = runs[0].offset or 0
    with open_view(path, writable=True) as view:
        geometry = read_geometry(view)
        view.write(at, view.read(at + _PAGE, _PAGE))
        for number in _TOLD_OF:  # in the table's first run
            place = geometry.mft + number * geometry.record
            view.write(place + 8, struct.pack("<Q", 0))  # the newest of the journal's entries that it has
            view.write(place + _LAST_READ, struct.pack("<Q", 0))


def _read(descriptor: int, offset: int, length: int) -> bytes:
    data = os.pread(descriptor, length, offset)
    assert len(data) == length
    return data


def _unpack_sparse(packed: Path, path: Path) -> None:
    zeros = bytes(_CHUNK)
    with gzip.open(packed) as source, path.open("wb") as target:
        while chunk := source.read(_CHUNK):
            if chunk == zeros[: len(chunk)]:
                target.seek(len(chunk), os.SEEK_CUR)
            else:
                target.write(chunk)
        target.truncate()
