"""How an NTFS volume was left, by its own bytes; and replaying its journal, as Windows does after a crash."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unbrick.disks.change.redo_log import Pending, find_pending, is_halfway
from unbrick.disks.ntfs.log import FAST_START_VERSION, LogState, mend_restart_page, open_log, read_log_state
from unbrick.disks.ntfs.mirror import differing_records
from unbrick.disks.ntfs.structures import ByteView, Geometry, damaged, open_view, read_dirty, read_geometry
from unbrick.model import FilesystemState
from unbrick.processes.command import Runner

_REPLAY_SECONDS = 600.0
_PROBE_SECONDS = 60.0


@dataclass(frozen=True)
class VolumeFacts:
    """How an NTFS volume was left, by its own bytes.

    `unmirrored` are the first records of the file table that differ from their mirror. `pending` is a change
    of unbrick's that a power cut has stopped: the volume may contradict itself until it is completed.
    `halfway`: it was not completed before another system opened the volume, and contradicts itself for good.
    """

    geometry: Geometry
    dirty: bool
    log: LogState
    unmirrored: tuple[int, ...] = ()
    pending: Pending | None = None
    halfway: bool = False

    @property
    def state(self) -> FilesystemState:
        """The contract's word, where no Windows is hibernated on the volume."""
        if self.log.needs_replay:
            return FilesystemState.UNCLEAN_LOG
        return FilesystemState.DIRTY if self.dirty else FilesystemState.CLEAN


def read_facts(path: Path, length: int) -> VolumeFacts:
    """Raises NeedsHandsError (damaged-volume), FailedError."""
    with open_view(path) as view:
        return facts_of(view, length)


def facts_of(view: ByteView, length: int) -> VolumeFacts:
    """The same from a view of the volume; raises OSError instead of FailedError."""
    geometry = read_geometry(view)
    if geometry.length > length:
        raise damaged("it is larger than its partition")
    log, area = read_log_state(view, geometry), open_log(view, geometry)
    dirty = read_dirty(view, geometry)
    pending = None if log.needs_replay else find_pending(view, geometry, area)
    # The flag was on the disk before the change; a check of the volume since then has cleared it.
    halfway = dirty and pending is None and is_halfway(view, geometry, area)
    return VolumeFacts(geometry, dirty, log, differing_records(view, geometry), pending, halfway)


def replay_log(path: Path, length: int, log: LogState, runner: Runner) -> bool:
    """Replay the journal of the volume at `path`, a copy; whether it may be mounted for writing now."""
    with open_view(path, writable=True) as view:
        mend_restart_page(view, read_geometry(view), log)
    fast_start = ["-k"] if log.version == FAST_START_VERSION else []
    # Its exit code is not used: it fails on volumes that are fine.
    runner.run(["ntfsrecover", *fast_start, str(path)], timeout=_REPLAY_SECONDS, ok=None)
    if read_facts(path, length).log.needs_replay:
        return False
    probe = runner.run(["ntfs-3g.probe", "--readwrite", str(path)], timeout=_PROBE_SECONDS, ok=None)
    return probe.returncode == 0
