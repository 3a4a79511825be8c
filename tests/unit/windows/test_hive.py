"""Opening hives: real ones, dirty ones with and without their logs, damaged and hostile ones."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.hives import changed_pages, make_dirty, new_log, subkeys, unpacked, write_hive

from unbrick.errors import Reason
from unbrick.processes.bounded import ReaderEndedError, run_bounded
from unbrick.windows.hive import UnreadableHiveError, decode_value, open_hive
from unbrick.windows.replay import HIVE_LIMIT

real = functools.cache(unpacked)

EPOCH = ("ControlSet001\\Services\\SharedAccess\\Epoch", "Epoch")
POWER = "ControlSet001\\Control\\Session Manager\\Power"


def placed(folder: Path, hive: bytes, **logs: bytes) -> Path:
    path = folder / "SYSTEM"
    path.write_bytes(hive)
    for suffix, log in logs.items():
        (folder / f"SYSTEM.{suffix}").write_bytes(log)
    return path


def test_a_dirty_hive_is_read_with_its_logs(tmp_path: Path) -> None:
    logs = {"LOG1": real("regipy_SYSTEM_B.LOG1"), "LOG2": real("regipy_SYSTEM_B.LOG2")}
    with open_hive(placed(tmp_path, real("regipy_SYSTEM_B"), **logs)) as hive:
        assert hive.warnings == ()
        assert hive.number(*EPOCH) == 435
        assert hive.number(POWER, "FileRuns") == 2
        assert hive.number(POWER, "POSTTime") == 8291
        assert hive.damaged == 0


def test_reading_leaves_the_hive_as_it_was(tmp_path: Path) -> None:
    logs = {"LOG1": real("regipy_SYSTEM_B.LOG1"), "LOG2": real("regipy_SYSTEM_B.LOG2")}
    path = placed(tmp_path, real("regipy_SYSTEM_B"), **logs)
    with open_hive(path):
        pass
    assert path.read_bytes() == real("regipy_SYSTEM_B")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["SYSTEM", "SYSTEM.LOG1", "SYSTEM.LOG2"]


def test_without_its_logs_it_is_read_stale_and_said(tmp_path: Path) -> None:
    with open_hive(placed(tmp_path, real("regipy_SYSTEM_B"))) as hive:
        assert hive.number(*EPOCH) == 431
        assert "may be old" in hive.warnings[0]


@pytest.mark.parametrize("name", ["OldDirtyHive", "BadBaseBlockHive"])
def test_old_logs_are_replayed_too(tmp_path: Path, name: str) -> None:
    folder = f"yarp_{name}/{name}"
    with open_hive(placed(tmp_path, real(folder), LOG1=real(f"{folder}.LOG1"), LOG2=b"")) as hive:
        assert hive.warnings == ()
        names = subkeys(hive, "key_with_many_subkeys")
    oracle = placed(tmp_path, real("yarp_OldDirtyHive/RecoveredHive_Windows7"))
    with open_hive(oracle) as hive:
        assert names == subkeys(hive, "key_with_many_subkeys") != ()


def test_a_damaged_base_block_without_a_log_is_unreadable(tmp_path: Path) -> None:
    path = placed(tmp_path, real("yarp_BadBaseBlockHive/BadBaseBlockHive"))
    with pytest.raises(UnreadableHiveError) as caught, open_hive(path):
        pass
    assert caught.value.reason == Reason.UNREADABLE_HIVE
    assert caught.value.exit_code == 1


@pytest.fixture
def pair(tmp_path: Path) -> tuple[bytes, bytes]:
    """A small hive before and after a change."""
    before = write_hive(tmp_path / "before", {"Key": {"Value": 1, "Text": "old"}}).read_bytes()
    after = write_hive(tmp_path / "after", {"Key": {"Value": 2, "Text": "new"}}).read_bytes()
    return before, after


@pytest.mark.parametrize("suffix", ["LOG1", "LOG2", "log1", "Log", "LOG"])
def test_a_log_is_found_by_any_of_its_names(tmp_path: Path, pair: tuple[bytes, bytes], suffix: str) -> None:
    before, after = pair
    log = new_log(99, len(after) - 4096, [changed_pages(before, after)])
    with open_hive(placed(tmp_path, make_dirty(before), **{suffix: log})) as hive:
        assert (hive.value("key", "VALUE"), hive.text("Key", "Text")) == (2, "new")


def test_a_clean_hive_is_not_touched_by_logs(tmp_path: Path, pair: tuple[bytes, bytes]) -> None:
    before, after = pair
    log = new_log(99, len(after) - 4096, [changed_pages(before, after)])
    with open_hive(placed(tmp_path, before, LOG1=log)) as hive:
        assert hive.value("Key", "Value") == 1
        assert hive.warnings == ()


def test_a_log_that_makes_nonsense_of_the_hive_is_set_aside(
    tmp_path: Path, pair: tuple[bytes, bytes]
) -> None:
    before, _ = pair
    log = new_log(99, len(before) - 4096, [[(0, b"garbage!" * 512)]])
    with open_hive(placed(tmp_path, make_dirty(before), LOG1=log)) as hive:
        assert hive.value("Key", "Value") == 1
        assert "may be old" in hive.warnings[0]


def test_a_torn_second_log_is_said(tmp_path: Path, pair: tuple[bytes, bytes]) -> None:
    before, after = pair
    size = len(after) - 4096
    logs = {"LOG1": new_log(99, size, [changed_pages(before, after)]), "LOG2": new_log(100, size, [])}
    with open_hive(placed(tmp_path, make_dirty(before), **logs)) as hive:
        assert hive.value("Key", "Value") == 2
        assert "torn" in hive.warnings[0]


def test_a_log_that_is_a_link_is_not_read(tmp_path: Path, pair: tuple[bytes, bytes]) -> None:
    before, after = pair
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(new_log(99, len(after) - 4096, [changed_pages(before, after)]))
    path = placed(tmp_path, make_dirty(before))
    (tmp_path / "SYSTEM.LOG1").symlink_to(elsewhere)
    with open_hive(path) as hive:
        assert hive.value("Key", "Value") == 1


def why(path: Path) -> str:
    with pytest.raises(UnreadableHiveError) as caught, open_hive(path):
        pass
    assert path.name in caught.value.message
    return caught.value.why


def test_hives_that_cannot_be_opened(tmp_path: Path, pair: tuple[bytes, bytes]) -> None:
    path = tmp_path / "SYSTEM"
    assert "No such file" in why(path)
    path.write_bytes(b"")
    assert "empty" in why(path)
    path.write_bytes(bytes(8192))
    assert "damaged" in why(path)
    path.write_bytes(pair[0][:5000])
    assert "cut off (4 of its 12 KiB" in why(path)
    path.write_bytes(real("regipy_corrupted_system_hive"))
    assert "damaged" in why(path)


def test_what_is_not_a_file_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert "not a file" in why(tmp_path / "folder")
    os.mkfifo(tmp_path / "pipe")
    assert "not a file" in why(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/etc/passwd")
    assert "it is a link" in why(tmp_path / "link")
    with (tmp_path / "huge").open("wb") as stream:
        stream.truncate(HIVE_LIMIT + 1)
    assert "larger" in why(tmp_path / "huge")


def test_values_by_their_types(tmp_path: Path) -> None:
    content = {"S": "text", "E": "%SystemRoot%\\x", "D": 7, "M": ["a", "b"], "B": b"\x01", "": "default"}
    with open_hive(write_hive(tmp_path / "H", {"A": {"B": content}})) as hive:
        assert [hive.value("a\\b", name) for name in ("s", "e", "d", "m", "b", "none")] == [
            "text",
            "%SystemRoot%\\x",
            7,
            ("a", "b"),
            None,
            None,
        ]
        assert hive.value("A\\None", "S") is None
        assert subkeys(hive, "A") == ("B",)
        assert subkeys(hive, "A\\None") == ()
        assert hive.text("A\\B", "D") is None
        assert hive.number("A\\B", "S") is None
        key = hive.key("A\\B")
        assert key is not None
        assert (key.texts("M"), key.texts("S"), key.texts("D")) == (("a", "b"), ("text",), ())
        assert hive.damaged == 0


def test_more_subkeys_than_any_windows_has_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_hive(write_hive(tmp_path / "H", {name: {} for name in "ABC"})) as hive:
        assert (subkeys(hive, ""), hive.damaged) == (("A", "B", "C"), 0)
        monkeypatch.setattr("unbrick.windows.hive._SUBKEY_LIMIT", 2)
        assert (subkeys(hive, ""), hive.damaged) == (("A", "B"), 1)


def test_a_value_too_long_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_hive(write_hive(tmp_path / "H", {"A": {"S": "four"}})) as hive:
        assert hive.text("A", "S") == "four"
        monkeypatch.setattr("unbrick.windows.hive._VALUE_LIMIT", 9)
        assert hive.text("A", "S") is None


@pytest.mark.parametrize(
    ("kind", "data", "value"),
    [
        (1, b"a\0b\0\0\0", "ab"),
        (1, b"a\0b", "a"),
        (1, b"a\0\0\0c\0", "a"),
        (1, b"\x00\xd8x\0", "\ufffdx"),
        (2, b"", ""),
        (4, b"\1\0\0\0", 1),
        (4, b"\1\0\0", None),
        (4, b"\1\0\0\0\0", None),
        (7, b"a\0\0\0\0\0b\0\0\0", ("a", "b")),
        (7, b"", ()),
        (11, b"\0" * 8, None),
    ],
)
def test_decoding(kind: int, data: bytes, value: str | int | tuple[str, ...] | None) -> None:
    assert decode_value(kind, data) == value


def walk(path: Path) -> dict[str, Any]:
    """Read everything the room would, as the installation reader does."""
    try:
        with open_hive(path) as hive:
            waiting, seen = [""], 0
            while waiting and seen < 500:
                here = waiting.pop()
                for name in subkeys(hive, here):
                    seen += 1
                    waiting.append(f"{here}\\{name}")
                    for value in ("Value", "Text", "Texts"):
                        hive.value(f"{here}\\{name}", value)
            return {"seen": seen}
    except UnreadableHiveError:
        return {}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_damage_escapes(tmp_path: Path, data: st.DataObject) -> None:
    """Whatever is flipped or cut, the answer is an answer or one of ours, and never a hang."""
    sound = tmp_path / "sound"
    if not sound.exists():
        write_hive(sound, {"K": {f"S{i}": {"Value": i, "Text": "t" * i, "Texts": ["a"]} for i in range(20)}})
    hive = bytearray(sound.read_bytes())
    for _ in range(data.draw(st.integers(0, 8))):
        hive[data.draw(st.integers(512, len(hive) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "H"
    path.write_bytes(hive[: data.draw(st.sampled_from([len(hive), len(hive) // 2, 4096, 4100]))])
    try:
        ended = run_bounded(lambda: walk(path), seconds=10).get("ended", "")
    except ReaderEndedError as error:
        ended = error.message
    assert "limits" not in ended
