"""Brings up every wired network in the background: by DHCP, or as the settings say. Nobody waits for it.

Watches for interfaces that come later (a USB adapter, a phone) as long as the station runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from unbrick.errors import UnbrickError
from unbrick.processes.command import Runner, Server
from unbrick.processes.companion import Orders
from unbrick.settings.station_file import Network
from unbrick.station.machine.small_files import names_in, text_of

_NETWORK_CLASS = Path("/sys/class/net")
_RESOLVER = Path("/etc/resolv.conf")
_ETHERNET = "1"  # ARPHRD_ETHER, linux/if_arp.h
_SECONDS = 20.0
_LOOK_SECONDS = 0.5
# Asking whether somebody else has the address costs seconds; who gave it to us knows.
_DHCP = ("dhcpcd", "--nobackground", "--quiet", "--noipv4ll", "--noarp", "--timeout", "0")


def wired_interfaces(folder: Path = _NETWORK_CLASS) -> Iterator[str]:
    """The Ethernet interfaces of this machine that are real ones, by name."""
    for name in names_in(folder):
        with suppress(OSError):
            real = (folder / name / "device").exists() and not (folder / name / "phy80211").exists()
            if real and text_of(folder / name / "type") == _ETHERNET:
                yield name


def has_carrier(interface: str, folder: Path = _NETWORK_CLASS) -> bool:
    """Whether a cable is plugged in that leads somewhere."""
    return text_of(folder / interface / "carrier") == "1"  # it cannot be read where the interface is down


def raise_links(runner: Runner, known: set[str], folder: Path = _NETWORK_CLASS) -> None:
    """Switch on every wired interface that is not in `known` yet; `known` then holds those that are there."""
    present = set(wired_interfaces(folder))
    known &= present
    for name in sorted(present - known):
        with suppress(UnbrickError):
            runner.run(("ip", "link", "set", "dev", name, "up"), timeout=_SECONDS)
        known.add(name)


@dataclass
class NetworkLife:
    """What the companion for the network does all its life."""

    wanted: Network
    runner: Runner
    folder: Path = _NETWORK_CLASS
    resolver: Path = _RESOLVER
    _known: set[str] = field(default_factory=set)
    _configured: str | None = None
    _client: Server | None = None

    def __call__(self, orders: Orders) -> None:
        while not orders.finish:
            self.look()
            orders.wait(_LOOK_SECONDS)

    def look(self) -> None:
        """Bring up what is there now; what fails is tried again at the next look."""
        raise_links(self.runner, self._known, self.folder)
        with suppress(UnbrickError, OSError):
            if self.wanted.address is None and self.wanted.vlan is None:
                if self._known:
                    self._ask_by_dhcp(())
            else:
                self._configure()

    def _configure(self) -> None:
        """Give the first interface with a cable its VLAN and address; once more where it was plugged out."""
        if self._configured not in self._known:
            self._configured = None
            for name in sorted(self._known):
                if has_carrier(name, self.folder):
                    self._set_up(name)
                    self._configured = name
                    break
        if self._configured is not None and self.wanted.address is None:
            self._ask_by_dhcp((self._device_on(self._configured),))

    def _set_up(self, name: str) -> None:
        device = self._device_on(name)
        if self.wanted.vlan is not None and not (self.folder / device).exists():
            vlan = ("name", device, "type", "vlan", "id", str(self.wanted.vlan))
            self.runner.run(("ip", "link", "add", "link", name, *vlan), timeout=_SECONDS)
        if self.wanted.vlan is not None:
            self.runner.run(("ip", "link", "set", "dev", device, "up"), timeout=_SECONDS)
        if self.wanted.address is not None:
            self._give_address(device, self.wanted.address)

    def _device_on(self, name: str) -> str:
        """What carries the address: the interface itself, or the VLAN on it."""
        return name if self.wanted.vlan is None else f"unbrick.{self.wanted.vlan}"

    def _give_address(self, device: str, address: str) -> None:
        wanted = self.wanted
        self.runner.run(("ip", "address", "replace", address, "dev", device), timeout=_SECONDS)
        if wanted.gateway is not None:
            route = ("route", "replace", "default", "via", wanted.gateway, "dev", device)
            self.runner.run(("ip", *route), timeout=_SECONDS)
        if wanted.dns:
            self.resolver.write_text("".join(f"nameserver {one}\n" for one in wanted.dns))

    def _ask_by_dhcp(self, devices: tuple[str, ...]) -> None:
        """Keep the DHCP client running; where no device is named it finds new ones by itself."""
        if self._client is None or self._client.poll() is not None:
            servers = " ".join(self.wanted.dns)
            own = ("--static", f"domain_name_servers={servers}") if servers else ()
            self._client = self.runner.start((*_DHCP, *own, *devices))


def has_network(folder: Path = Path("/proc/net")) -> bool:
    """Whether there is any route to elsewhere: before, dialling is a waste of time."""
    with suppress(OSError):
        lines = (folder / "route").read_text().splitlines()[1:]
        if any(line.split()[0] != "lo" for line in lines if line.split()):
            return True
    with suppress(OSError):
        for line in (folder / "ipv6_route").read_text().splitlines():
            fields = line.split()
            link_local = fields[0].startswith(("fe80", "ff"))
            if len(fields) == 10 and fields[9] != "lo" and not link_local:
                return True
    return False
