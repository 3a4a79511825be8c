"""Finding installations in a folder that stands for a volume, with real hives and made ones."""

from __future__ import annotations

import functools
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support.artefacts import artefact
from support.hives import Tree, make_dirty, unpacked, write_hive

from unbrick.errors import FailedError, Reason
from unbrick.windows import installation as installation_module
from unbrick.windows.installation import Installation, find_installations
from unbrick.windows.services import comparable_path, file_of

real = functools.cache(unpacked)

CURRENT = ("Microsoft", "Windows NT", "CurrentVersion")


def system_tree(hostname: str = "WARD-7", number: int = 1, **services: Tree) -> dict[str, Any]:
    content: dict[str, Any] = {
        "Services": {"Disk": {"Start": 0, "Type": 1}, **services},
        "Control": {
            "ComputerName": {"ComputerName": {"ComputerName": hostname}},
            "Class": {"{4d36e967-e325-11ce-bfc1-08002be10318}": {"UpperFilters": ["PartMgr", "partmgr"]}},
        },
    }
    return {"Select": {"Current": number, "Default": number}, f"ControlSet{number:03}": content}


WINDOWS_10: dict[str, str | int] = {
    "ProductName": "Windows 10 Pro",
    "EditionID": "Professional",
    "CurrentBuildNumber": "19045",
    "UBR": 4529,
    "DisplayVersion": "22H2",
    "ReleaseId": "2009",
}


def software_tree(**values: str | int) -> dict[str, Any]:
    return {"Microsoft": {"Windows NT": {"CurrentVersion": values}}}


def make_windows(
    root: Path,
    name: str = "Windows",
    system: Tree | bytes | None = None,
    software: Tree | bytes | None = None,
) -> Path:
    """A Windows folder with those two hives; returns its config folder."""
    config = root / name / "System32" / "config"
    config.mkdir(parents=True)
    for hive, given, default in (
        ("SYSTEM", system, system_tree()),
        ("SOFTWARE", software, software_tree(**WINDOWS_10)),
    ):
        if isinstance(given, bytes):
            (config / hive).write_bytes(given)
        else:
            write_hive(config / hive, default if given is None else given)
    return config


def only(root: Path) -> Installation:
    (found,) = find_installations(root)
    return found


def start_of(found: Installation, windows_path: str) -> int | None:
    """The earliest Start of the services whose file this is."""
    named = (one for one in found.services if file_of(one, found.folder) == comparable_path(windows_path))
    return min((one.start for one in named if one.start is not None), default=None)


def test_the_volumes_that_a_windows_unlocks_by_itself(tmp_path: Path) -> None:
    system = system_tree()
    guid = "{8f595209-f5b9-49a0-85d4-cb8f80258c27}"
    system["ControlSet001"]["Control"]["FVEAutoUnlock"] = {guid: {"Data": b"x"}, "{nonsense}": {}}
    make_windows(tmp_path, system=system)
    assert only(tmp_path).auto_unlocked == ("8F595209-F5B9-49A0-85D4-CB8F80258C27",)


@pytest.mark.parametrize("name", ["regipy_SYSTEM", "regipy_SYSTEM_B"])
def test_real_system_hives(tmp_path: Path, name: str) -> None:
    facts = json.loads(artefact("hives/FACTS.json").read_text())[f"{name}.xz"]
    make_windows(tmp_path, system=real(name))
    found = only(tmp_path)
    assert found.hostname == facts["computername"]
    assert found.control_set == facts["select"]["Current"]
    assert len(found.services) == facts["services_total"]
    for start in (0, 1):
        names = sorted((s.name for s in found.services if s.start == start), key=str.casefold)
        assert names == facts[f"start{start}"]
    assert {str(k): v for k, v in Counter(s.start for s in found.services).items()} == facts["start_counts"]
    for service_name, expected in facts["samples"].items():
        service = found.service(service_name.upper())
        assert service is not None
        assert (service.start, service.type, service.image_path) == (
            expected["Start"],
            expected["Type"],
            expected["ImagePath"],
        )
    assert found.readable


def test_a_dirty_system_hive_gives_what_its_logs_say(tmp_path: Path) -> None:
    config = make_windows(tmp_path, system=real("regipy_SYSTEM_B"))
    stale = only(tmp_path)
    for log in ("LOG1", "LOG2"):
        (config / f"SYSTEM.{log}").write_bytes(real(f"regipy_SYSTEM_B.{log}"))
    found = only(tmp_path)
    assert found.warnings == ()
    assert found.readable
    assert len(found.services) == len(stale.services) + 1 == 656
    assert "may be old" in stale.warnings[0]


def test_boot_files_of_a_real_system_hive(tmp_path: Path) -> None:
    make_windows(tmp_path, system=real("regipy_SYSTEM"))
    found = only(tmp_path)
    assert found.names_boot_file("\\Windows\\System32\\drivers\\DISK.sys") == "Disk"
    assert found.names_boot_file("\\windows\\system32\\drivers\\mfehidk.sys") == "mfehidk"
    assert (
        found.names_boot_file("\\Windows\\System32\\drivers\\kbdclass.sys") == "kbdclass"
    )  # Start 3, a filter
    assert found.names_boot_file("\\Windows\\System32\\drivers\\CrowdStrike\\C-00000291-1.sys") is None
    assert start_of(found, "\\Windows\\System32\\drivers\\mfenlfk.sys") == 1
    assert start_of(found, "\\Windows\\System32\\drivers\\ntfs.sys") == 3
    assert start_of(found, "\\Windows\\System32\\drivers\\none.sys") is None


def test_texts_of_a_made_one(tmp_path: Path) -> None:
    agent = {
        "Start": 1,
        "Type": 2,
        "ImagePath": "\\??\\C:\\Windows\\system32\\drivers\\CrowdStrike\\csagent.sys",
    }
    make_windows(tmp_path, system=system_tree(CSAgent=agent))
    found = only(tmp_path)
    assert found.folder == "\\Windows"
    assert found.hostname == "WARD-7"
    assert found.display == "Windows 10 Pro 22H2 (19045.4529)"
    assert (found.product, found.edition, found.build, found.revision) == (
        "Windows 10 Pro",
        "Professional",
        19045,
        4529,
    )
    assert found.class_filters == ("PartMgr",)
    assert found.warnings == ()
    csagent = "\\Windows\\System32\\drivers\\CrowdStrike\\csagent.sys"
    assert found.names_boot_file(csagent) == "CSAgent"
    assert start_of(found, csagent) == 1


@pytest.mark.parametrize(
    ("values", "display"),
    [
        (WINDOWS_10 | {"CurrentBuildNumber": "22631", "UBR": 3880}, "Windows 11 Pro 22H2 (22631.3880)"),
        (
            {"ProductName": "Windows Server 2022 Datacenter", "CurrentBuildNumber": "20348"},
            "Windows Server 2022 Datacenter (20348)",
        ),
        (
            {"ProductName": "Windows 10 Enterprise", "CurrentBuild": "16299", "ReleaseId": "1709", "UBR": 15},
            "Windows 10 Enterprise 1709 (16299.15)",
        ),
        (
            {"ProductName": "Windows 7 Professional", "CurrentBuild": "7601", "CSDVersion": "Service Pack 1"},
            "Windows 7 Professional Service Pack 1 (7601)",
        ),
        ({}, "Windows"),
        ({"CurrentBuildNumber": "²²"}, "Windows"),
        ({"CurrentBuildNumber": "9" * 5000, "UBR": "4"}, "Windows"),
        ({"ProductName": "Win\x1b[31m\u202edows " + "x" * 500}, "Win[31mdows " + "x" * 88),
    ],
)
def test_how_a_version_is_said(tmp_path: Path, values: dict[str, str | int], display: str) -> None:
    make_windows(tmp_path, software=software_tree(**values))
    found = only(tmp_path)
    assert (found.display, found.readable) == (display, True)


def test_a_hostile_computer_name_is_made_harmless(tmp_path: Path) -> None:
    make_windows(tmp_path, system=system_tree(hostname="\x1b]0;owned\x07PC\u202e\n" + "x" * 1000))
    hostname = only(tmp_path).hostname
    assert hostname is not None
    assert hostname.isprintable()
    assert hostname.startswith("]0;ownedPC")
    assert len(hostname) == 63


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ({"Current": 2, "Default": 1}, 2),
        ({"Current": 9, "Default": 2}, 2),
        ({"Current": 0, "Default": 0}, 1),
        ({"Current": 0xFFFFFFFF, "Default": "two"}, 1),
        ({}, 1),
    ],
)
def test_which_control_set_counts(tmp_path: Path, select: Tree, expected: int) -> None:
    tree = system_tree("ONE", 1) | system_tree("TWO", 2) | {"Select": select}
    make_windows(tmp_path, system=tree)
    found = only(tmp_path)
    assert (found.control_set, found.hostname) == (expected, {1: "ONE", 2: "TWO"}[expected])


def test_the_host_name_of_tcpip_stands_in(tmp_path: Path) -> None:
    tree = system_tree(Tcpip={"Parameters": {"NV Hostname": "ward-7-long-name"}})
    del tree["ControlSet001"]["Control"]
    make_windows(tmp_path, system=tree)
    assert only(tmp_path).hostname == "ward-7-long-name"


@pytest.mark.parametrize(
    ("system", "said"),
    [
        (b"", "empty"),
        (bytes(8192), "damaged"),
        ({"Select": {"Current": 1}}, "no control set"),
        ({"ControlSet001": {"Control": {"A": 1}}}, "no services"),
    ],
)
def test_a_system_hive_that_tells_nothing_is_unreadable(
    tmp_path: Path, system: Tree | bytes, said: str
) -> None:
    make_windows(tmp_path, system=system)
    found = only(tmp_path)
    assert not found.readable
    assert said in found.warnings[0]
    assert found.display == "Windows 10 Pro 22H2 (19045.4529)"


def test_a_real_damaged_system_hive_is_unreadable(tmp_path: Path) -> None:
    make_windows(tmp_path, system=real("regipy_corrupted_system_hive"))
    found = only(tmp_path)
    assert not found.readable
    assert found.warnings == (
        "the registry hive SYSTEM cannot be read: its structure is damaged (Operation not supported)",
    )


def test_a_damaged_software_hive_leaves_the_names(tmp_path: Path) -> None:
    make_windows(tmp_path, software=b"")
    found = only(tmp_path)
    assert (found.hostname, found.display, found.readable) == ("WARD-7", "Windows", False)


def test_a_hive_that_takes_too_long_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_windows(tmp_path)
    monkeypatch.setattr(installation_module, "HIVE_SECONDS", 0.0)
    found = only(tmp_path)
    assert not found.readable
    assert "limits" in found.warnings[0]


def test_damaged_entries_are_said(tmp_path: Path) -> None:
    config = make_windows(tmp_path)
    hive = bytearray((config / "SYSTEM").read_bytes())
    key = hive.index(b"Disk") - 76  # a key's name lies 76 bytes behind its signature
    assert hive[key : key + 2] == b"nk"
    hive[key + 40 : key + 44] = b"\xf0\xff\xff\x7f"  # where its list of values lies
    (config / "SYSTEM").write_bytes(hive)
    found = only(tmp_path)
    assert "SYSTEM: 3 damaged" in found.warnings[0]
    assert not found.readable
    assert found.hostname == "WARD-7"


def test_every_installation_of_a_volume_by_name(tmp_path: Path) -> None:
    make_windows(tmp_path, "Windows", system=system_tree("ONE"))
    make_windows(tmp_path, "WinNT2", system=system_tree("TWO"))
    make_windows(tmp_path, "Windows.old")
    make_windows(tmp_path, "WINDOWS.OLD.000")
    (tmp_path / "Users" / "System32").mkdir(parents=True)
    (tmp_path / "pagefile.sys").write_bytes(b"")
    assert [(found.folder, found.hostname) for found in find_installations(tmp_path)] == [
        ("\\Windows", "ONE"),
        ("\\WinNT2", "TWO"),
    ]


def test_names_are_compared_without_case(tmp_path: Path) -> None:
    config = make_windows(tmp_path, "WINDOWS")
    for name in ("SYSTEM", "SOFTWARE"):
        (config / name).rename(config / name.lower())
    (tmp_path / "WINDOWS" / "System32").rename(tmp_path / "WINDOWS" / "system32")
    assert only(tmp_path).hostname == "WARD-7"


def test_links_are_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    make_windows(elsewhere)
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "Windows").symlink_to(elsewhere / "Windows")
    assert find_installations(volume) == ()
    (volume / "Win2" / "System32").mkdir(parents=True)
    (volume / "Win2" / "System32" / "config").symlink_to(elsewhere / "Windows" / "System32" / "config")
    assert find_installations(volume) == ()


def test_a_windows_behind_a_link_is_there_but_unreadable(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    make_windows(elsewhere)
    (tmp_path / "Windows").mkdir()
    (tmp_path / "Windows" / "System32").symlink_to(elsewhere / "Windows" / "System32")
    found = only(tmp_path)
    assert not found.readable
    assert "link" in found.warnings[0]


def test_what_is_no_installation(tmp_path: Path) -> None:
    config = make_windows(tmp_path)
    (config.parent / "winpeshl.exe").write_bytes(b"MZ")
    assert find_installations(tmp_path) == ()
    (config.parent / "winpeshl.exe").unlink()
    assert len(find_installations(tmp_path)) == 1
    (config / "SOFTWARE").unlink()
    assert find_installations(tmp_path) == ()


def test_a_hive_that_is_a_pipe_does_not_hold_us_up(tmp_path: Path) -> None:
    config = make_windows(tmp_path)
    (config / "SYSTEM").unlink()
    os.mkfifo(config / "SYSTEM")
    assert "not a file" in only(tmp_path).warnings[0]


def test_dirty_without_logs_is_said_of_both_hives(tmp_path: Path) -> None:
    config = make_windows(tmp_path)
    for name in ("SYSTEM", "SOFTWARE"):
        (config / name).write_bytes(make_dirty((config / name).read_bytes()))
    found = only(tmp_path)
    assert found.readable
    assert [warning.split()[0] for warning in found.warnings] == ["SYSTEM", "SOFTWARE"]


def test_a_root_that_cannot_be_listed_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FailedError) as caught:
        find_installations(tmp_path / "none")
    assert caught.value.reason == Reason.DAMAGED_VOLUME


@pytest.mark.parametrize("gone", ["SYSTEM", "SOFTWARE"])
def test_a_windows_without_a_hive_is_one_that_cannot_be_read(tmp_path: Path, gone: str) -> None:
    config = tmp_path / "Windows" / "System32" / "config"
    config.mkdir(parents=True)
    (config.parent / "ntoskrnl.exe").write_bytes(b"MZ")
    for name in {"SYSTEM", "SOFTWARE"} - {gone}:
        (config / name).write_bytes(b"regf")
    (installation,) = find_installations(tmp_path)
    assert not installation.readable
    assert installation.warnings == (f"its registry hive {gone} is missing",)
