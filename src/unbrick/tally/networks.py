"""The network that an address belongs to: one machine can have every address of it."""

from __future__ import annotations

import ipaddress
from functools import lru_cache


@lru_cache(4096)
def network_of(address: str) -> str:
    """The network that an address is counted by; what is no address is counted by itself."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else found
    if mapped is not None:
        return str(ipaddress.ip_network((mapped, 24), strict=False))
    return str(ipaddress.ip_network((found, 64), strict=False))
