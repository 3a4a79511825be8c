"""The network of a station: every wired interface, by DHCP or as the settings say."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.recorded_runner import RecordedRunner

from unbrick.processes.command import Result, Server
from unbrick.settings.station_file import Network
from unbrick.station.machine.network import NetworkLife, has_network, wired_interfaces


class Runner(RecordedRunner):
    """Says yes to every `ip`, and keeps what was started."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[tuple[str, ...]] = []
        self.ended = False

    def run(self, argv: Sequence[str], **_: object) -> Result:
        self.asked.append(tuple(argv))
        return Result(tuple(argv), 0, b"", b"")

    def start(self, argv: Sequence[str], *, pass_fds: Sequence[int] = ()) -> Server:
        self.started.append(tuple(argv))
        runner = self

        class Running:
            def poll(self) -> int | None:
                return 1 if runner.ended else None

            def read_error(self) -> bytes:
                return b""

            def wait(self, timeout: float) -> int:
                return 0

            def stop(self, timeout: float) -> None:
                pass

        return Running()


def _interface(folder: Path, name: str, *, carrier: str = "1", kind: str = "1", real: bool = True) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "type").write_text(f"{kind}\n")
    (folder / name / "carrier").write_text(f"{carrier}\n")
    if real:
        (folder / name / "device").mkdir()


@pytest.fixture
def links(tmp_path: Path) -> Path:
    (tmp_path / "net").mkdir()
    return tmp_path / "net"


def test_only_real_wired_interfaces_count(links: Path) -> None:
    _interface(links, "eth0")
    _interface(links, "usb0")
    _interface(links, "lo", kind="772")
    _interface(links, "dummy0", real=False)
    _interface(links, "wlan0")
    (links / "wlan0" / "phy80211").mkdir()

    assert list(wired_interfaces(links)) == ["eth0", "usb0"]


def test_by_default_every_interface_goes_up_and_one_client_sees_to_all_of_them(links: Path) -> None:
    runner = Runner()
    life = NetworkLife(Network(), runner, folder=links)

    life.look()
    assert runner.started == []
    _interface(links, "eth0")
    life.look()
    _interface(links, "usb0")
    life.look()

    ups = [argv for argv in runner.asked if argv[:3] == ("ip", "link", "set")]
    assert [argv[4] for argv in ups] == ["eth0", "usb0"]
    assert len(runner.started) == 1
    assert runner.started[0][0] == "dhcpcd"


def test_a_static_address_goes_to_the_first_interface_with_a_cable(links: Path, tmp_path: Path) -> None:
    _interface(links, "eth0", carrier="0")
    _interface(links, "eth1")
    runner = Runner()
    wanted = Network("10.0.0.5/24", "10.0.0.1", ("10.0.0.2", "10.0.0.3"))
    life = NetworkLife(wanted, runner, folder=links, resolver=tmp_path / "resolv.conf")

    life.look()
    life.look()

    rest = [argv for argv in runner.asked if argv[:3] != ("ip", "link", "set")]
    assert rest == [
        ("ip", "address", "replace", "10.0.0.5/24", "dev", "eth1"),
        ("ip", "route", "replace", "default", "via", "10.0.0.1", "dev", "eth1"),
    ]
    assert runner.started == []
    assert (tmp_path / "resolv.conf").read_text() == "nameserver 10.0.0.2\nnameserver 10.0.0.3\n"


def test_an_adapter_that_is_plugged_in_again_gets_all_of_it_again(links: Path, tmp_path: Path) -> None:
    _interface(links, "usb0")
    runner = Runner()
    life = NetworkLife(Network("10.0.0.5/24"), runner, folder=links, resolver=tmp_path / "resolv.conf")

    life.look()
    first = list(runner.asked)
    shutil.rmtree(links / "usb0")
    life.look()
    assert runner.asked == first
    _interface(links, "usb0")
    life.look()

    assert runner.asked == first * 2


def test_a_client_that_has_ended_is_started_again_on_a_vlan_too(links: Path) -> None:
    _interface(links, "eth0")
    runner = Runner()
    life = NetworkLife(Network(vlan=12), runner, folder=links)

    life.look()
    life.look()
    assert len(runner.started) == 1
    runner.ended = True
    life.look()

    assert [argv[-1] for argv in runner.started] == ["unbrick.12", "unbrick.12"]


def test_a_vlan_is_made_on_the_interface_and_asked_on_by_dhcp(links: Path) -> None:
    _interface(links, "eth0")
    runner = Runner()
    life = NetworkLife(Network(vlan=12, dns=("10.0.0.2",)), runner, folder=links)

    life.look()

    link = ("ip", "link", "add", "link", "eth0", "name", "unbrick.12", "type", "vlan", "id", "12")
    assert link in runner.asked
    (client,) = runner.started
    assert client[-1] == "unbrick.12"
    assert "domain_name_servers=10.0.0.2" in client


def test_a_route_to_elsewhere_is_a_network(tmp_path: Path) -> None:
    assert not has_network(tmp_path)
    (tmp_path / "route").write_text("Iface\tDestination\nlo\t0000007F\n")
    assert not has_network(tmp_path)
    (tmp_path / "route").write_text("Iface\tDestination\neth0\t00000000\n")
    assert has_network(tmp_path)
    (tmp_path / "route").write_text("Iface\tDestination\n")
    own = "fe80000000000000000000000000000 40 0 0 0 0 0 0 0 eth0"
    (tmp_path / "ipv6_route").write_text(f"{own}\n")
    assert not has_network(tmp_path)
    (tmp_path / "ipv6_route").write_text(f"{own}\n20010db8000000000000000000000000 40 0 0 0 0 0 0 0 eth0\n")
    assert has_network(tmp_path)
