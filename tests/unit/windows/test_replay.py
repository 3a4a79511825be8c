"""Replaying transaction logs: against hives that Windows itself recovered, and against hostile ones."""

from __future__ import annotations

import functools
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.hives import base_block, log_entry, new_log, unpacked

from unbrick.windows.replay import (
    HIVE_LIMIT,
    BaseBlock,
    Replay,
    marvin32,
    plan_replay,
    read_base_block,
    xor_checksum,
)

real = functools.cache(unpacked)


def base_of(hive: bytes) -> BaseBlock:
    base = read_base_block(hive)
    assert base is not None
    return base


def plan(hive: bytes, *logs: bytes) -> Replay | None:
    (first_bin_time,) = struct.unpack_from("<Q", hive, 4096 + 20)
    return plan_replay(base_of(hive), first_bin_time, logs)


def replayed(hive: bytes, *logs: bytes) -> bytes:
    replay = plan(hive, *logs)
    assert replay is not None
    whole = bytearray(max(len(hive), replay.length))
    whole[: len(hive)] = hive
    for offset, page in replay.pages:
        whole[offset : offset + len(page)] = page
    whole[:512] = replay.base_block
    return bytes(whole)


def differences(one: bytes, other: bytes) -> set[int]:
    assert len(one) == len(other)
    return {at for at in range(4096, len(one)) if one[at] != other[at]}


def test_new_format_gives_what_windows_10_made_of_it() -> None:
    folder = "yarp_NewDirtyHive1"
    result = replayed(
        real(f"{folder}/NewDirtyHive"),
        real(f"{folder}/NewDirtyHive.LOG1"),
        real(f"{folder}/NewDirtyHive.LOG2"),
    )
    assert differences(result, real(f"{folder}/RecoveredHive_Windows10")) == set()
    assert struct.unpack_from("<II", result, 4) == (5, 5)


# Windows wrote a new time into the first bin and a new hint into one key when it recovered these two.
WRITTEN_AFTER_RECOVERY = {*range(0x1014, 0x101C), 0x6BDC8}


@pytest.mark.parametrize("hive", ["yarp_OldDirtyHive/OldDirtyHive", "yarp_BadBaseBlockHive/BadBaseBlockHive"])
def test_old_format_gives_what_windows_7_made_of_it(hive: str) -> None:
    oracle = real("yarp_OldDirtyHive/RecoveredHive_Windows7")
    assert differences(real(hive), oracle) - WRITTEN_AFTER_RECOVERY
    result = replayed(real(hive), real(f"{hive}.LOG1"), real(f"{hive}.LOG2"))
    assert differences(result, oracle) <= WRITTEN_AFTER_RECOVERY
    assert base_of(result).valid
    assert not base_of(result).dirty


def test_real_system_hive_takes_both_logs_and_grows() -> None:
    replay = plan(real("regipy_SYSTEM_B"), real("regipy_SYSTEM_B.LOG1"), real("regipy_SYSTEM_B.LOG2"))
    assert replay is not None
    assert replay.complete
    assert len(replay.pages) == 315
    assert replay.length == 4096 + 12591104
    base = base_of(replay.base_block)
    assert (base.primary_sequence, base.bins_size, base.file_type, base.dirty) == (2130, 12591104, 0, False)


def test_logs_are_put_in_order_by_their_numbers() -> None:
    logs = real("regipy_SYSTEM_B.LOG1"), real("regipy_SYSTEM_B.LOG2")
    hive = real("regipy_SYSTEM_B")
    assert plan(hive, *logs) == plan(hive, *reversed(logs))


BINS = 8192
HIVE = base_block(sequences=(5, 4), bins_size=BINS).ljust(4096, b"\0") + bytes(BINS)
PAGES = [[(0, b"a" * 4096)], [(4096, b"b" * 4096)], [(0, b"c" * 4096)]]


def test_entries_after_a_torn_one_are_left_out() -> None:
    log = bytearray(new_log(5, BINS, PAGES))
    second = 512 + len(log_entry(5, BINS, PAGES[0]))
    log[second + 600] ^= 1
    replay = plan(HIVE, bytes(log))
    assert replay is not None
    assert [bytes(page[:1]) for _, page in replay.pages] == [b"a"]
    assert base_of(replay.base_block).primary_sequence == 5


def test_an_entry_whose_header_was_changed_is_left_out() -> None:
    log = bytearray(new_log(5, BINS, PAGES[:1]))
    struct.pack_into("<I", log, 512 + 16, 2 * BINS)
    assert plan(HIVE, bytes(log)) is None


def test_entries_of_an_earlier_round_are_left_out() -> None:
    log = new_log(5, BINS, PAGES[:1]) + log_entry(3, BINS, [(0, b"old!" * 1024)])
    replay = plan(HIVE, log)
    assert replay is not None
    assert len(replay.pages) == 1


def test_a_second_log_that_does_not_follow_is_left_out_and_said() -> None:
    replay = plan(HIVE, new_log(5, BINS, PAGES[:1]), new_log(9, BINS, PAGES[1:]))
    assert replay is not None
    assert len(replay.pages) == 1
    assert not replay.complete


def test_a_log_without_one_sound_entry_is_said() -> None:
    torn = bytearray(new_log(6, BINS, PAGES[1:]))
    torn[600] ^= 1
    replay = plan(HIVE, new_log(5, BINS, PAGES[:1]), bytes(torn))
    assert replay is not None
    assert not replay.complete


def test_a_log_from_before_the_last_save_is_not_used() -> None:
    assert plan(HIVE, new_log(2, BINS, PAGES)) is None


def test_a_damaged_base_block_comes_from_the_latest_log() -> None:
    damaged = bytearray(HIVE)
    damaged[100] ^= 1
    replay = plan(bytes(damaged), new_log(5, BINS, PAGES[:1]), new_log(7, BINS, PAGES[1:2]))
    assert replay is not None
    assert [bytes(page[:1]) for _, page in replay.pages] == [b"b"]
    assert base_of(replay.base_block).primary_sequence == 7


@pytest.mark.parametrize("damage", [0, 4, 28, 40, 508])
def test_a_log_with_a_damaged_head_is_not_used(damage: int) -> None:
    log = bytearray(new_log(5, BINS, PAGES))
    log[damage] ^= 0xFF
    assert plan(HIVE, bytes(log)) is None


def hostile_entry(size: int, bins_size: int, count: int, references: bytes) -> bytes:
    """An entry whose hashes are right and whose numbers are not."""
    body = references.ljust(max(size, 512) - 40, b"\0")
    head = struct.pack(
        "<4sIIIIIQ", b"HvLE", size, 0, 5, bins_size, count, marvin32(body[: max(size - 40, 0)])
    )
    return new_log(5, BINS, []) + head + struct.pack("<Q", marvin32(head)) + body


@pytest.mark.parametrize(
    "log",
    [
        pytest.param(hostile_entry(0, BINS, 0, b""), id="no size: an endless loop"),
        pytest.param(hostile_entry(40, BINS, 0, b""), id="a size no entry has"),
        pytest.param(hostile_entry(512, BINS, 0xFFFFFFFF, b""), id="more references than bytes"),
        pytest.param(hostile_entry(512, BINS, 1, struct.pack("<II", 0, 4096)), id="a page past its entry"),
        pytest.param(hostile_entry(1024, BINS, 1, struct.pack("<II", BINS, 512)), id="a page past the hive"),
        pytest.param(hostile_entry(1024, BINS, 1, struct.pack("<II", 0xFFFFF000, 512)), id="a page far away"),
        pytest.param(hostile_entry(512, 0xFFFFF000, 0, b""), id="a hive of 4 GiB"),
        pytest.param(hostile_entry(512, BINS + 1, 0, b""), id="a hive of odd size"),
        pytest.param(new_log(5, BINS, PAGES)[:900], id="cut off"),
        pytest.param(new_log(5, BINS, []), id="nothing in it"),
        pytest.param(b"", id="empty"),
    ],
)
def test_hostile_entries_are_not_used(log: bytes) -> None:
    assert plan(HIVE, log) is None


def old_log(*, bits: bytes, pages: bytes, sequences: tuple[int, int] = (5, 5), written: int = 0) -> bytes:
    head = base_block(sequences=sequences, file_type=1, bins_size=BINS, written=written)
    return head + (b"DIRT" + bits).ljust(512, b"\0") + pages


def test_old_pages_go_where_the_bitmap_says() -> None:
    replay = plan(HIVE, old_log(bits=b"\x02\x80", pages=b"x" * 512 + b"y" * 512))
    assert replay is not None
    assert [(offset, bytes(page)) for offset, page in replay.pages] == [
        (4096 + 512, b"x" * 512),
        (4096 + 15 * 512, b"y" * 512),
    ]


@pytest.mark.parametrize(
    "log",
    [
        pytest.param(old_log(bits=b"\xff\xff", pages=b"x" * 512), id="pages missing"),
        pytest.param(old_log(bits=b"\x01", pages=b"x" * 512, written=7), id="of another moment"),
        pytest.param(old_log(bits=b"\x01", pages=b"x" * 512, sequences=(6, 5)), id="half written"),
        pytest.param(old_log(bits=b"", pages=b"")[:515], id="cut off in the signature"),
        pytest.param(old_log(bits=b"", pages=b"")[:517], id="cut off in the bitmap"),
    ],
)
def test_old_logs_that_do_not_fit_are_not_used(log: bytes) -> None:
    assert plan(HIVE, log) is None


def test_checksum_avoids_the_two_values_windows_never_stores() -> None:
    assert xor_checksum(bytes(508)) == 1
    assert xor_checksum(b"\xff" * 4 + bytes(504)) == 0xFFFFFFFE


def test_a_short_base_block_is_none() -> None:
    assert read_base_block(bytes(511)) is None


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_log_makes_it_crash_or_write_outside(data: st.DataObject) -> None:
    log = bytearray(
        data.draw(st.sampled_from([new_log(5, BINS, PAGES), old_log(bits=b"\x0f", pages=b"x" * 2048)]))
    )
    for _ in range(data.draw(st.integers(0, 6))):
        log[data.draw(st.integers(0, len(log) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):  # let the head look sound, or nothing behind it is ever read
        struct.pack_into("<I", log, 508, xor_checksum(log))
    replay = plan(HIVE, bytes(log[: data.draw(st.integers(0, len(log)))]))
    if replay is not None:
        assert replay.length <= HIVE_LIMIT
        assert all(offset >= 4096 and offset + len(page) <= replay.length for offset, page in replay.pages)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=3000), st.lists(st.binary(max_size=3000), max_size=3))
def test_random_bytes_never_crash(head: bytes, logs: list[bytes]) -> None:
    base = read_base_block(head)
    if base is not None:
        plan_replay(base, 0, logs)
