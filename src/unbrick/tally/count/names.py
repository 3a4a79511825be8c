"""Computer names and serial numbers as they are compared, however a list or a person writes them. Pure."""

from __future__ import annotations

import re
from functools import lru_cache

_HOST_IN_A_DOMAIN = re.compile(r"(?!\d+\.)([\w-]{1,63})(?:\.[\w-]{1,63})*\.[^\W\d_][\w-]{1,62}")
_END = re.compile(r"[\s$.]+\Z")


@lru_cache(maxsize=10_000)  # a report asks some twenty times for the same few
def name_key(name: str) -> str:
    """A computer name without its domain and without regard to case: `pc.corp.example`, `CORP\\PC` and the
    account `PC$` are all `PC`. An address (10.0.0.5) and a number with dots (1.20) stay whole.
    """
    bare = _END.sub("", name.rpartition("\\")[2].strip())
    domain = _HOST_IN_A_DOMAIN.fullmatch(bare)
    return (domain[1] if domain else bare).upper() or name.strip().upper()


def serial_key(serial: str) -> str:
    """A serial number as it is compared; its dots and dashes belong to it."""
    return serial.strip().upper()


def domain_of(name: str) -> str:
    """The first part of the domain that a written name has, upper case; empty where it has none."""
    domain, _, bare = name.strip().rpartition("\\")
    dotted = _HOST_IN_A_DOMAIN.fullmatch(_END.sub("", bare))
    if dotted:
        return dotted[0].split(".")[1].upper()
    return domain.strip("\\ ").partition(".")[0].upper()
