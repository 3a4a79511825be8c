"""The parts of netboot that need no network: archive, list, address, configuration."""

from __future__ import annotations

import ipaddress
import json
import subprocess
from pathlib import Path

import pytest
from support.recorded_runner import RecordedRunner

from unbrick.errors import UsageError
from unbrick.media.netboot.address import ServedNetwork, find_network
from unbrick.media.netboot.dnsmasq_config import dhcp_config, tftp_config, whole_config
from unbrick.media.netboot.folder import _append_settings, name_server, settings_archive
from unbrick.media.netboot.repaired import Repaired, read_repaired, repaired_uuids, wire_forms
from unbrick.processes.command import Result

UUID = "4C4C4544-0042-3510-8052-B4C04F4E5332"
NETWORK = ServedNetwork("eth0", ipaddress.IPv4Interface("10.1.2.3/22"))


def unpack(archive: bytes, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    subprocess.run(["cpio", "-idm", "--quiet"], input=archive, cwd=folder, check=True)
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_cpio_unpacks_the_settings_where_the_station_looks_for_them(tmp_path: Path) -> None:
    files = {"unbrick.yaml": b"x", "playbooks/a.yaml": b"abcd", "empty": b"", "Ürümqi.csv": b"12345"}
    archive = settings_archive(files)
    assert unpack(archive, tmp_path / "a") == {
        f"netboot/settings/{name}": data for name, data in files.items()
    }
    assert (tmp_path / "a/netboot/settings").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "a/netboot/settings/empty").stat().st_mode & 0o777 == 0o600
    assert archive == settings_archive(dict(reversed(files.items())))
    assert len(archive) % 4 == 0


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 10_001])
def test_an_archive_begins_at_a_multiple_of_four(size: int, tmp_path: Path) -> None:
    path = tmp_path / "initrd"
    path.write_bytes(b"x" * size)
    _append_settings(path, {"unbrick.yaml": b"x"})
    archive = settings_archive({"unbrick.yaml": b"x"})
    start = path.stat().st_size - len(archive)
    assert start % 4 == 0
    assert start - size < 4
    assert path.read_bytes() == (b"x" * size).ljust(start, b"\0") + archive


def test_the_list_takes_uuids_and_mac_addresses_as_people_write_them(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text(
        f"\ufeff# done\n\n{UUID.lower()}\n{{{UUID}}} # twice\n52-54-00-12-34-AB\n52:54:00:12:34:ab\n"
    )
    assert read_repaired(path) == Repaired(frozenset({UUID}), frozenset({"52:54:00:12:34:ab"}))


@pytest.mark.parametrize("word", ["x", "52:54:00:12:34", "00000000-0000-0000-0000-000000000000", UUID + "0"])
def test_a_line_that_is_neither_is_refused_with_its_number(word: str, tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text(f"{UUID}\n{word}\n")
    with pytest.raises(UsageError, match="line 2"):
        read_repaired(path)


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError):
        read_repaired(path)
    with pytest.raises(UsageError):
        read_repaired(tmp_path)


def test_a_filler_of_a_vendor_silences_nobody() -> None:
    """Hundreds of machines may share such a UUID: one that is repaired must not hide the others."""
    fillers = ["03000200-0400-0500-0006-000700080009", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"]
    assert repaired_uuids([UUID, *fillers]) == Repaired(frozenset({UUID}))


def test_a_uuid_has_the_byte_order_of_smbios_on_the_wire() -> None:
    """SMBIOS 7.2.1: 00112233-4455-6677-8899-AABBCCDDEEFF stands there as 33 22 11 00 55 44 77 66 88 99 …"""
    little, big = wire_forms("00112233-4455-6677-8899-AABBCCDDEEFF")
    assert little.hex() == "33221100554477668899aabbccddeeff"
    assert big.hex() == "00112233445566778899aabbccddeeff"


def test_the_configuration_says_the_network_and_ignores_who_is_repaired() -> None:
    text = dhcp_config(NETWORK, "http://10.1.2.3:80", bios=False, repaired=repaired_uuids([UUID]))
    lines = text.splitlines()
    assert "dhcp-range=10.1.0.0,proxy,255.255.252.0" in lines
    assert "interface=eth0" in lines
    assert "dhcp-match=set:repaired,97,00:44:45:4c:4c:42:00:10:35:80:52:b4:c0:4f:4e:53:32" in lines
    assert "enable-tftp" not in text
    assert "pxelinux.0" not in text
    assert "pxelinux.0" in dhcp_config(NETWORK, "http://x", bios=True, repaired=Repaired())
    assert "dhcp-range" not in tftp_config(NETWORK, Path("/srv"))


def test_dnsmasq_takes_every_configuration(tmp_path: Path) -> None:
    done = Repaired(frozenset({UUID}), frozenset({"52:54:00:12:34:ab"}))
    for text in (
        dhcp_config(NETWORK, "http://10.1.2.3:80", bios=True, repaired=done),
        tftp_config(NETWORK, tmp_path),
        whole_config(NETWORK, "http://10.1.2.3:80", tmp_path, bios=True, repaired=done),
    ):
        path = tmp_path / "conf"
        path.write_text(text)
        checked = subprocess.run(["dnsmasq", "--test", f"--conf-file={path}"], capture_output=True, text=True)
        assert "syntax check OK" in checked.stderr, checked.stderr


ADDRESSES = ("ip", "-json", "-4", "address", "show", "up")
ROUTES = ("ip", "-json", "-4", "route", "show", "default")


def links(*names: str) -> list[dict[str, object]]:
    lo: dict[str, object] = {
        "ifname": "lo",
        "addr_info": [{"family": "inet", "local": "127.0.0.1", "prefixlen": 8, "scope": "host"}],
    }
    found: list[dict[str, object]] = [lo, {"ifname": "down0", "addr_info": []}]
    for number, name in enumerate(names):
        address = {"family": "inet", "local": f"10.0.{number}.5", "prefixlen": 24, "scope": "global"}
        found.append({"ifname": name, "addr_info": [address]})
    return found


def saying(addresses: object, routes: object = ()) -> RecordedRunner:
    said = {ADDRESSES: addresses, ROUTES: list(routes) if isinstance(routes, tuple) else routes}
    return RecordedRunner(
        {argv: Result(argv, 0, json.dumps(what).encode(), b"") for argv, what in said.items()}
    )


def test_the_only_network_is_served_and_of_several_the_one_that_is_named_or_leads_out() -> None:
    assert find_network(None, saying(links("eth0"))).interface == "eth0"
    several = saying(links("eth0", "eth1"), [{"dst": "default", "dev": "eth1"}])
    assert find_network(None, several).host == "10.0.1.5"
    assert find_network("eth0", several).host == "10.0.0.5"
    for interface, runner in (
        (None, saying(links("eth0", "eth1"))),
        ("eth2", several),
        ("lo", several),
        (None, saying([])),
    ):
        with pytest.raises(UsageError) as refused:
            find_network(interface, runner)
        assert refused.value.hint


@pytest.mark.parametrize("menu", [b"\xff\xfe", b"menuentry", b"# The medium's own menu:\n" + bytes(100_000)])
def test_a_menu_that_is_none_of_ours_is_refused_in_a_line(menu: bytes, tmp_path: Path) -> None:
    (tmp_path / "served/grub").mkdir(parents=True)
    for name in ("shimx64.efi", "grubx64.efi", "vmlinuz", "initrd.img"):
        (tmp_path / "served" / name).touch()
    (tmp_path / "served/grub/grub.cfg").write_bytes(menu)
    with pytest.raises(UsageError, match="was not made by this command"):
        name_server(tmp_path, "10.1.2.3:80")
