"""The state of NTFS's own journal, `$LogFile`: was it closed, are changes pending in it; and emptying it.

The restart pages are judged as ntfs-3g judges them (its `logfile.h` documents the layout), so that what is
called clean here is what it mounts. Versions: 1.1, and 2.0 which Windows 8 and later write while running.
What finds the log raises NeedsHandsError (damaged-volume).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

from unbrick.disks.ntfs.file_table import expect_whole, find_data
from unbrick.disks.ntfs.stream import Stream
from unbrick.disks.ntfs.structures import (
    RECORD_LOG_FILE,
    ByteView,
    Geometry,
    damaged,
    unprotect,
)

_PAGE = 4096
_HEAD = 512
_LARGEST_RESTART_PAGE = 65536
_LARGEST_LOG = 1 << 32
_CHUNK = 1 << 20
_NO_CLIENT = 0xFFFF
_CLEAN = 0x0002
_RESTART_PAGES = (b"RSTR", b"CHKD")
_PAGES = (*_RESTART_PAGES, b"RCRD")
FAST_START_VERSION = (2, 0)


@dataclass(frozen=True)
class LogState:
    """What the newest valid restart page says. `version` is None where there is none.

    `oldest` is the first log sequence number that is still needed, `current` the last when it was written;
    `newest` is the offset of that last one in the log, in bytes. That restart page itself is `page` bytes
    long and at `place`; there are two places, the log's beginning and right behind it. `torn`: the page at
    the beginning was torn by a power cut.
    """

    empty: bool
    clean: bool
    version: tuple[int, int] | None = None
    oldest: int = 0
    current: int = 0
    newest: int | None = None
    page: int = _PAGE
    place: int = 0
    torn: bool = False

    @property
    def other_place(self) -> int:
        """The offset in the log of the other restart page."""
        return 0 if self.place else self.page

    @property
    def needs_replay(self) -> bool:
        """Whether ntfs-3g would refuse the volume or throw the log away.

        It refuses every log of version 2.0, the clean ones too, for Windows may hold more in its cache, and
        one whose first page is torn, whatever the second says.
        """
        return not self.empty and (not self.clean or self.torn or self.version == FAST_START_VERSION)


def open_log(view: ByteView, geometry: Geometry) -> Stream:
    """The volume's log; raises NeedsHandsError (damaged-volume) where its record contradicts itself."""
    log = find_data(view, geometry, RECORD_LOG_FILE)
    if log is None or log.value is not None or not log.plain:
        raise damaged("its $LogFile is not where it should be")
    expect_whole(log, "its $LogFile")
    if log.initialized != log.size or any(run.offset is None for run in log.runs):
        raise damaged("its $LogFile has holes")
    return Stream(view, log.runs, log.size)


def read_log_state(view: ByteView, geometry: Geometry) -> LogState:
    log = open_log(view, geometry)
    states: list[LogState] = []
    empty, torn = True, False
    position = 0
    while position < min(log.size, _LARGEST_LOG):
        head = log.read(position, _HEAD)
        blank = head[:4] == b"\xff\xff\xff\xff"
        empty = empty and blank
        if head[:4] == b"RCRD" or (blank and not empty):
            break
        if head[:4] in _RESTART_PAGES and position <= _LARGEST_RESTART_PAGE:
            state = _parse_restart_page(log, position, head)
            if state is not None:
                states.append(state)
                if position:
                    break
            torn = torn or (state is None and not position)
        position = position * 2 or 512
    if empty:
        return LogState(empty=True, clean=True)
    # The first of equals, as ntfs-3g has it.
    newest = max(states, key=lambda state: state.current, default=LogState(empty=False, clean=False))
    return replace(newest, torn=torn)


def _parse_restart_page(log: Stream, position: int, head: bytes) -> LogState | None:
    page_size, _, start, minor, major = struct.unpack_from("<IIHhh", head, 16)
    if page_size & (page_size - 1) or not 512 <= page_size <= _LARGEST_RESTART_PAGE:
        return None
    if position not in (0, page_size) or (major, minor) not in ((1, 1), FAST_START_VERSION):
        return None
    raw = log.read(position, page_size)
    # chkdsk leaves its restart pages without an update sequence.
    page = raw if head[:4] == b"CHKD" and head[6:8] == b"\0\0" else unprotect(raw, head[:4])
    if page is None or start % 8 or start + 48 > len(page):
        return None
    current, clients, _, in_use, flags = struct.unpack_from("<QHHHH", page, start)
    (client_offset,) = struct.unpack_from("<H", page, start + 22)
    client = start + client_offset
    if clients != 1 or client % 8 or client + 16 > len(page) or (in_use != _NO_CLIENT and in_use >= clients):
        return None
    (oldest,) = struct.unpack_from("<Q", page, client)
    (sequence_bits,) = struct.unpack_from("<I", page, start + 16)
    return LogState(
        empty=False,
        clean=in_use == _NO_CLIENT or bool(flags & _CLEAN),
        version=(major, minor),
        oldest=oldest,
        current=current,
        # A log sequence number is a count of the log's rounds, then a place in units of 8 bytes.
        newest=(current << sequence_bits & 2**64 - 1) >> sequence_bits << 3 if sequence_bits < 64 else None,
        page=page_size,
        place=position,
    )


def mend_restart_page(view: ByteView, geometry: Geometry, state: LogState) -> None:
    """Copy the valid restart page over the other one where a power cut tore that; does not flush.

    Windows ignores a torn one, but `ntfsrecover` replays nothing then.
    """
    log = open_log(view, geometry)
    if state.version is None:
        return
    head = log.read(state.other_place, _HEAD)
    if head[:4] in _RESTART_PAGES and _parse_restart_page(log, state.other_place, head) is None:
        log.write(state.other_place, log.read(state.place, state.page))


def has_pending_records(view: ByteView, geometry: Geometry, state: LogState) -> bool:
    """Whether the log may hold changes that never reached the volume: when in doubt, it does.

    Any whole page of records counts that is as new as what the restart page still needs; without a valid
    restart page, any whole page at all.
    """
    if state.empty or state.clean:
        return False
    needed = min(state.oldest, state.current) if state.version is not None else 0
    return any(newest >= needed for newest in _newest_numbers(open_log(view, geometry)))


def _newest_numbers(log: Stream) -> Iterator[int]:
    """The newest log sequence number of each whole page of records."""
    for start in range(0, min(log.size, _LARGEST_LOG), _CHUNK):
        chunk = log.read(start, _CHUNK)
        for position in range(0, len(chunk), _PAGE):
            if chunk[position : position + 4] == b"RCRD":
                page = unprotect(chunk[position : position + _PAGE], b"RCRD")
                if page is not None:
                    (last,), (last_end,) = (struct.unpack_from("<Q", page, at) for at in (8, 32))
                    yield max(last, last_end)


def reset_log(view: ByteView, geometry: Geometry) -> None:
    """Empty the log as `chkdsk` and ntfs-3g do: all bytes 0xFF. Does not flush; what was pending is lost."""
    log = open_log(view, geometry)
    for start in range(0, log.size, _CHUNK):
        log.write(start, b"\xff" * min(_CHUNK, log.size - start))


def show_log_reset(view: ByteView, geometry: Geometry) -> None:
    """Empty the log only where `read_log_state` and ntfs-3g look whether it is empty."""
    log = open_log(view, geometry)
    position = 0
    while position < log.size:
        log.write(position, b"\xff" * min(_PAGE, log.size - position))
        position = position * 2 or 512


def find_strange_page(log: Stream) -> int | None:
    """The position of a page that does not belong in a log: not of its kinds, and not blank."""
    for start in range(0, log.size, _CHUNK):
        chunk = log.read(start, min(_CHUNK, log.size - start))
        for at in range(0, len(chunk), _PAGE):
            if not is_log_page(chunk[at : at + _PAGE]):
                return start + at
    return None


def is_log_page(page: bytes) -> bool:
    """Whether a page is one of a log: restart areas, records, or never written to."""
    return page[:4] in _PAGES or page == b"\xff" * len(page)
