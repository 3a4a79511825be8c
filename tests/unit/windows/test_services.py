"""Which file of the volume a service names, in every way Windows writes it."""

from __future__ import annotations

import pytest

from unbrick.windows.services import Service, boot_files, comparable_path, file_of

DISK = "\\windows\\system32\\drivers\\disk.sys"


@pytest.mark.parametrize(
    "image_path",
    [
        None,
        "",
        "System32\\drivers\\disk.sys",
        "system32\\DRIVERS\\DISK.SYS",
        "\\SystemRoot\\System32\\drivers\\disk.sys",
        "%SystemRoot%\\System32\\drivers\\disk.sys",
        "%windir%\\System32\\drivers\\disk.sys",
        "\\??\\C:\\Windows\\System32\\drivers\\disk.sys",
        "\\??\\%SystemRoot%\\System32\\drivers\\disk.sys",
        "\\\\?\\C:\\Windows\\System32\\drivers\\disk.sys",
        "\\\\.\\C:\\Windows\\System32\\drivers\\disk.sys",
        "\\DosDevices\\C:\\Windows\\System32\\drivers\\disk.sys",
        "\\GLOBAL??\\C:\\Windows\\System32\\drivers\\disk.sys",
        "C:\\Windows\\System32\\drivers\\disk.sys",
        "c:/windows/system32/drivers/disk.sys",
        "D:\\Windows\\System32\\drivers\\disk.sys",
        "%SystemDrive%\\Windows\\System32\\drivers\\disk.sys",
        "\\Windows\\System32\\drivers\\disk.sys",
        "\\Device\\HarddiskVolume3\\Windows\\System32\\drivers\\disk.sys",
        "\\Device\\Harddisk0\\Partition2\\Windows\\System32\\drivers\\disk.sys",
        '"C:\\Windows\\System32\\drivers\\disk.sys" -a',
        "System32\\drivers\\disk.sys -switch",
        "System32\\drivers\\.\\sub\\..\\disk.sys",
        "System32\\\\drivers\\disk.sys ",
    ],
)
def test_every_way_to_write_one_path(image_path: str | None) -> None:
    assert file_of(Service("disk", 0, 1, image_path), "\\Windows") == DISK


@pytest.mark.parametrize(
    ("image_path", "path"),
    [
        ("%ProgramFiles%\\A B\\x.sys", "\\program files\\a b\\x.sys"),
        ("\\??\\C:\\Program Files\\A\\x.sys", "\\program files\\a\\x.sys"),
        ("%ProgramData%\\x.sys", "\\programdata\\x.sys"),
        ("\\SystemRootless\\x.sys", "\\systemrootless\\x.sys"),
        ("..\\..\\..\\x.sys", "\\x.sys"),
    ],
)
def test_other_places(image_path: str, path: str) -> None:
    assert file_of(Service("x", 0, 1, image_path), "\\Windows") == path


def test_a_relative_path_is_below_this_windows() -> None:
    assert file_of(Service("x", 0, 1, None), "\\WINNT") == "\\winnt\\system32\\drivers\\x.sys"
    assert file_of(Service("x", 0, 1, "\\SystemRoot\\x.sys"), "\\WINNT") == "\\winnt\\x.sys"


def test_boot_files_are_those_of_early_services_and_of_filters() -> None:
    services = [
        Service("Boot", 0, 1, None),
        Service("System", 1, 1, "system32\\drivers\\other.sys"),
        Service("Auto", 2, 1, None),
        Service("Demand", 3, 1, "system32\\drivers\\filter.sys"),
        Service("NoStart", None, None, None),
    ]
    assert boot_files(services, ["DEMAND", "Unlisted"], "\\Windows") == {
        "\\windows\\system32\\drivers\\boot.sys": "Boot",
        "\\windows\\system32\\drivers\\other.sys": "System",
        "\\windows\\system32\\drivers\\filter.sys": "Demand",
        "\\windows\\system32\\drivers\\unlisted.sys": "Unlisted",
    }


def test_paths_compare_as_windows_would() -> None:
    assert comparable_path("/Windows/x. /Y.SYS..") == "\\windows\\x\\y.sys"
