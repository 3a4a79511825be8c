"""Finds the network of this computer that is served: an interface, its IPv4 address, its net."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

from unbrick.errors import UsageError
from unbrick.processes.command import Runner
from unbrick.settings.strict import parse_json

_TIMEOUT = 30.0


@dataclass(frozen=True)
class ServedNetwork:
    """One interface of this computer, and its address."""

    interface: str
    address: ipaddress.IPv4Interface

    @property
    def host(self) -> str:
        return str(self.address.ip)


def find_network(interface: str | None, runner: Runner) -> ServedNetwork:
    """The network of `interface`; if None, the only one there is, else that of the default route.

    Raises UsageError, which names the networks there are.
    """
    networks = _networks(runner)
    if interface is None and len(networks) == 1:
        return networks[0]
    wanted = interface if interface is not None else _default_interface(runner)
    for network in networks:
        if network.interface == wanted:
            return network
    if interface is None:
        raise UsageError("which network is to be served cannot be known", hint=_choice(networks))
    raise UsageError(f"{interface}: there is no such interface with an IPv4 address", hint=_choice(networks))


def _networks(runner: Runner) -> list[ServedNetwork]:
    said = runner.run(["ip", "-json", "-4", "address", "show", "up"], timeout=_TIMEOUT).stdout
    found = []
    for link in _listed(said):
        for entry in link.get("addr_info", ()):
            if entry.get("family") == "inet" and entry.get("scope") == "global" and entry.get("local"):
                address = ipaddress.IPv4Interface(f"{entry['local']}/{entry['prefixlen']}")
                found.append(ServedNetwork(str(link["ifname"]), address))
                break
    return found


def _default_interface(runner: Runner) -> str | None:
    said = runner.run(["ip", "-json", "-4", "route", "show", "default"], timeout=_TIMEOUT).stdout
    return next((str(route["dev"]) for route in _listed(said) if route.get("dev")), None)


def _listed(said: bytes) -> list[dict[str, Any]]:
    listed = parse_json(said or b"[]")
    return [entry for entry in listed if isinstance(entry, dict)]


def _choice(networks: list[ServedNetwork]) -> str:
    if not networks:
        return "give this computer an IPv4 address in the machines' network first"
    named = ", ".join(f"{network.interface} ({network.address})" for network in networks)
    return f"name one with --interface: {named}"
