"""The network that an address is counted by: one machine can have every address of it."""

from __future__ import annotations

import ipaddress
from functools import lru_cache


@lru_cache(4096)
def network_of(address: str) -> str:
    """The /24 of an IPv4 address, the /64 of an IPv6 address; any other text itself."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else found
    if mapped is not None:
        return str(ipaddress.ip_network((mapped, 24), strict=False))
    return str(ipaddress.ip_network((found, 64), strict=False))
