from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import Any

import hivex
import pytest
from support.artefacts import artefact
from support.registry_reader import open_hive

from unbrick.drill.disk import hives
from unbrick.drill.disk.partition import Role, plan_layout, seeded_guid
from unbrick.drill.disk.registry import RegistryTree, empty_hive, make_hive, number, several, text
from unbrick.drill.options import MachineOptions

_WRITTEN = 133_700_000_000_000_000


def _windows() -> hives.SimulatedWindows:
    layout = plan_layout(MachineOptions("WARD-001", 1))
    return hives.SimulatedWindows("WARD-001", hives.VERSIONS[0], layout.guid, layout.of(Role.WINDOWS)[0])


def _regipy(tree: RegistryTree, folder: Path) -> Any:
    path = folder / "HIVE"
    path.write_bytes(make_hive(tree, file_name="\\HIVE", written=_WRITTEN, workdir=folder))
    return open_hive(path)


def test_an_empty_hive_opens_and_is_clean(tmp_path: Path) -> None:
    raw = empty_hive("ROOT", "x" * 100, _WRITTEN)
    assert raw[:4] == b"regf"
    assert struct.unpack_from("<II", raw, 4) == (1, 1)
    checksum = 0
    for (word,) in struct.iter_unpack("<I", raw[:508]):
        checksum ^= word
    assert struct.unpack_from("<I", raw, 508) == (checksum,)
    path = tmp_path / "EMPTY"
    path.write_bytes(raw)
    hive: Any = hivex.Hivex(str(path))  # type: ignore[no-untyped-call]
    assert hive.node_name(hive.root()) == "ROOT"
    assert hive.node_children(hive.root()) == []


def test_a_hive_grows_past_one_bin_and_is_clean_and_the_same_each_time(tmp_path: Path) -> None:
    tree = {f"Key{index}": {"Value": text("x" * 300), "More": several("a", "b")} for index in range(200)}
    first = make_hive(tree, file_name="\\A", written=_WRITTEN, workdir=tmp_path)
    assert first == make_hive(tree, file_name="\\A", written=_WRITTEN, workdir=tmp_path)
    assert len(first) > 3 * 4096
    primary, secondary = struct.unpack_from("<II", first, 4)
    assert primary == secondary
    assert list(tmp_path.iterdir()) == []
    hive = _regipy(tree, tmp_path)
    assert hive.get_key("\\Key199").get_value("More") == ["a", "b"]


def test_system_says_what_windows_and_the_agent_are(tmp_path: Path) -> None:
    hive = _regipy(hives.system_tree(_windows()), tmp_path)
    name = hive.get_key("\\ControlSet001\\Control\\ComputerName\\ComputerName")
    assert name.get_value("ComputerName") == "WARD-001"
    agent = hive.get_key("\\ControlSet001\\Services\\CSAgent")
    assert (agent.get_value("Start"), agent.get_value("Type")) == (1, 2)
    assert agent.get_value("ImagePath") == "\\??\\C:\\Windows\\system32\\drivers\\CrowdStrike\\csagent.sys"
    assert hive.get_key("\\Select").get_value("Current") == 1
    for driver in ("disk", "fvevol", "storahci"):
        assert hive.get_key(f"\\ControlSet001\\Services\\{driver}").get_value("Start") == 0


@pytest.mark.parametrize("version", hives.VERSIONS)
def test_software_says_the_version(version: hives.WindowsVersion, tmp_path: Path) -> None:
    base = _windows()
    windows = hives.SimulatedWindows(base.computer, version, base.disk_guid, base.partition)
    key = _regipy(hives.software_tree(windows), tmp_path).get_key("\\Microsoft\\Windows NT\\CurrentVersion")
    assert key.get_value("ProductName") == version.product
    assert key.get_value("CurrentBuild") == str(version.build)
    assert key.get_value("UBR") == version.revision
    values = {value.name for value in key.iter_values()}
    assert ("DisplayVersion" in values) == (version.display is not None)


def test_the_small_hives_can_be_made(tmp_path: Path) -> None:
    trees = hives.small_trees(random.Random(1))
    assert set(trees) == {"SAM", "SECURITY", "DEFAULT"}
    for tree in trees.values():
        _regipy(tree, tmp_path)


def test_the_boot_store_names_a_partition_as_windows_does(tmp_path: Path) -> None:
    import lzma

    layout = plan_layout(MachineOptions("WARD-001", 1))
    windows = layout.of(Role.WINDOWS)[0]
    tree = hives.boot_store_tree(
        layout.guid, layout.of(Role.ESP)[0], (("Windows 10", seeded_guid(1, "loader"), windows),)
    )
    ours = _boot_device(_regipy(tree, tmp_path))
    real = tmp_path / "BCD"
    real.write_bytes(lzma.decompress(artefact("bcd/regipy_BCD.xz").read_bytes()))
    theirs = _boot_device(open_hive(real))
    partition, disk = slice(32, 48), slice(56, 72)
    assert ours[partition] == layout.of(Role.ESP)[0].guid.bytes_le
    assert ours[disk] == layout.guid.bytes_le
    # The two GUIDs apart, a store made by Windows has the very same bytes.
    assert ours[:32] + ours[48:56] + ours[72:] == theirs[:32] + theirs[48:56] + theirs[72:]


def _boot_device(hive: Any) -> bytes:
    path = "\\Objects\\{9dea862c-5cdd-4e70-acc1-f32b344d4795}\\Elements\\11000001"
    value = hive.get_key(path).get_value("Element")
    return bytes.fromhex(value) if isinstance(value, str) else bytes(value)


def test_a_number_is_four_bytes() -> None:
    assert number(0x12345678).data == bytes.fromhex("78563412")
