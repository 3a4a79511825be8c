"""The tally's folder: its files, its settings, and how an address is written."""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from unbrick.errors import UsageError
from unbrick.files import atomic_write, folder_owner
from unbrick.settings.strict import Form, Shape, Span, number, read_json

DEFAULT_PORT = 2291
DEFAULT_ADDRESS = f"127.0.0.1:{DEFAULT_PORT}"
AUTHORITY_KEY_NAME = "authority_key"
_VERSION = 1
MOST_ADDRESSES = 4
_FORM = Form("a tally's settings", "use the unbrick that made this folder")
_HOST_NAME = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9]([A-Za-z0-9_-]{0,62}))*\.?"
)
_Place = Annotated[str, Shape("an address, HOST:PORT")]


@dataclass(frozen=True)
class Address:
    """Where stations reach the tally: a host name or IP address, and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on the same computer reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host.casefold() == "localhost"


def parse_address(text: str) -> Address:
    """Read `HOST:PORT`, `HOST` (the default port) or `[IPv6]:PORT`; raises UsageError."""
    host, port = text.strip(), str(DEFAULT_PORT)
    if host.startswith("["):
        host, _, rest = host[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
    elif ":" in host:
        address, _, last = host.rpartition(":")
        if last.isdecimal() and _valid_host(address):
            raise UsageError(f"{text!r} may mean two addresses", hint=f"write [{address}]:{last} or [{host}]")
    if not _valid_host(host) or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise UsageError(
            f"{text!r} is no address", hint=f"write HOST:PORT, for instance tally.example.org:{DEFAULT_PORT}"
        )
    return Address(host, int(port))


def _valid_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return _HOST_NAME.fullmatch(host) is not None
    return True


@dataclass
class TallyFolder:
    """The paths in one tally's folder."""

    path: Path

    def __post_init__(self) -> None:
        path = self.path
        self.database = path / "tally.db"  # every event, and the status of each machine
        self.authority_public = path / "authority.pub"  # as every `unbrick.yaml` carries it
        self.host_key = path / "host_key"
        self.host_certificate = path / "host_key-cert.pub"  # by the authority
        self.stations = path / "stations.json"  # who was enrolled, with which key, and who was revoked
        self.settings = path / "settings.json"  # the addresses, and the version of this layout
        self.audit = path / "audit.log"  # a line of JSON for every change of trust and every refusal
        self.condition = path / "condition"  # what is wrong with the running tally, for `status` and `watch`
        self.lock = path / "serve.lock"  # held by the one server of this folder

    @property
    def authority(self) -> Path:
        """The private key that makes stations trusted; neither serving nor looking needs it.

        In the folder of an older unbrick `authority` is the key itself.
        """
        place = self.path / "authority"
        return place if os.path.isfile(place) else place / AUTHORITY_KEY_NAME  # noqa: PTH113 - no error


@dataclass(frozen=True)
class TallySettings:
    """Where stations reach the tally; `others` are further addresses of the same tally."""

    address: Address
    others: tuple[Address, ...] = ()

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Every address, in the order in which a station tries them."""
        return (self.address, *self.others)

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one.host for one in self.addresses))  # as in the host's certificate

    @property
    def is_loopback(self) -> bool:
        return all(one.is_loopback for one in self.addresses)


def settings_of(addresses: Sequence[str]) -> TallySettings:
    found = [parse_address(one) for one in addresses]
    if not 1 <= len(found) <= MOST_ADDRESSES:
        raise UsageError(f"a tally has 1 to {MOST_ADDRESSES} addresses")
    if len(set(found)) < len(found):
        raise UsageError("the same address is given twice")
    return TallySettings(found[0], tuple(found[1:]))


@dataclass(frozen=True)
class _SettingsFile:
    version: Annotated[int, number(str(_VERSION), _VERSION, _VERSION)]
    address: _Place
    others: Annotated[tuple[_Place, ...], Span(0)] = ()


def write_settings(folder: TallyFolder, settings: TallySettings) -> None:
    """Write settings.json; a folder with it is complete."""
    others = [str(one) for one in settings.others]
    document = {"version": _VERSION, "address": str(settings.address), "others": others}
    content = json.dumps(document).encode() + b"\n"
    atomic_write(folder.settings, content, owner=folder_owner(folder.path))


def read_settings(path: Path) -> tuple[TallyFolder, TallySettings]:
    """The folder of a tally and its settings; raises UsageError where there is no tally."""
    folder = TallyFolder(path)
    try:
        with folder.settings.open("rb") as stream:
            data = stream.read(_FORM.most_bytes + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(
            f"{path} is no tally's folder", hint=f"make one: unbrick tally init {path}"
        ) from error
    except OSError as error:
        raise UsageError(f"{folder.settings} cannot be read: {error}") from error
    found = read_json(_SettingsFile, data, str(folder.settings), _FORM)
    return folder, settings_of([found.address, *found.others])
