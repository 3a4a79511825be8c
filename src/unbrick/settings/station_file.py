"""Reads `unbrick.yaml`: which tally a station belongs to, its key, and how it behaves.

A file that it names is beside it, in its folder: a stick is moved and copied as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from unbrick.files import read_small_file
from unbrick.settings.strict import ExpectedError, Form, ScalarKind, Shape, Span, number, read_yaml
from unbrick.signing.ssh_key import KEY_TYPE, SshKeyError, blob_of_line

# The names that `unbrick tally init` takes, which no name server has to be asked in vain for.
_LABEL = "[A-Za-z0-9][A-Za-z0-9_-]{0,62}"
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\.?|\[[0-9A-Fa-f:.]{{2,45}}\]")
_SITE = r"^[a-z0-9][a-z0-9:_-]{0,63}$"
_MOST_FILES = 32
_MOST_ADDRESSES = 4
_MOST_NAME_SERVERS = 3  # as many as a resolver asks
_HIGHEST_VLAN = 4094
# As it is read out and dialled; a screen of 80 columns shows it in one line.
_TELEPHONE = r"^[+(]?[0-9][0-9 ()/.-]{1,28}[0-9]( ?(ext\.?|x) ?[0-9]{1,6})?$"
HINT = "`unbrick help administrator` has every setting; one with a tally comes from `unbrick tally enrol`"
_FORM = Form("a station file", HINT, deepest=4, blank_is_absent=True)


def _ip_address(text: str) -> str:
    import ipaddress  # few name one, and it is slow to load

    return str(ipaddress.ip_address(text))


def _ip_interface(text: str) -> str:
    import ipaddress

    if "/" not in text:
        raise ValueError
    return str(ipaddress.ip_interface(text))


def _host_and_port(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or _HOST.fullmatch(host) is None or re.fullmatch(r"[0-9]{1,5}", port) is None:
        raise ValueError
    if not 1 <= int(port) <= 65535:
        raise ExpectedError("a port from 1 to 65535")
    return host.strip("[]"), int(port)


def _key_line(line: str) -> str:
    try:
        blob_of_line(line)
    except SshKeyError as error:
        raise ValueError from error
    return line.strip()


Text = Annotated[str, Shape("plain text of 1 to 1000 characters", longest=1000, exact=True)]
Site = Annotated[
    str, Shape("small letters, digits, - and _ only, at most 64, as in st-marys", _SITE, exact=True)
]
FileBeside = Annotated[
    Path, Shape("the name of a file beside this one", longest=1000, exact=True, beside=True)
]
Place = Annotated[tuple[str, int], Shape("HOST:PORT, or [IPV6]:PORT", read=_host_and_port)]
KeyLine = Annotated[str, Shape(f"an OpenSSH public key line, {KEY_TYPE} …", longest=1000, read=_key_line)]
IpAddress = Annotated[str, Shape("an address, as in 10.0.0.1", read=_ip_address)]
IpInterface = Annotated[str, Shape("an address with its network, as in 10.0.0.5/24", read=_ip_interface)]
Vlan = Annotated[int, number(f"a number from 1 to {_HIGHEST_VLAN}", 1, _HIGHEST_VLAN)]
Flag = Annotated[bool, Shape("true or false", kind=ScalarKind.FLAG, bare=True)]
Contact = Annotated[str, Shape("at most 40 characters, to be read on a screen", longest=40, exact=True)]
Telephone = Annotated[
    str, Shape("a number in quotes, as in '+44 20 7946 0000' or '0800 123 ext 4'", _TELEPHONE, 50)
]


@dataclass(frozen=True)
class Network:
    """How a booted medium finds the network; without any of these it asks for everything by DHCP.

    `address` is an address with the length of its network (`10.0.0.5/24`), `vlan` a number of IEEE 802.1Q.
    """

    address: IpInterface | None = None
    gateway: IpAddress | None = None
    dns: Annotated[tuple[IpAddress, ...], Span(0, _MOST_NAME_SERVERS)] = ()
    vlan: Vlan | None = None

    def faults(self) -> Iterator[tuple[str, str]]:
        if self.gateway is not None and self.address is None:
            yield "gateway", "an address beside it: gateway goes with address only"


@dataclass(frozen=True)
class Helpdesk:
    """Whom a person at a machine calls."""

    name: Contact | None = None
    telephone: Telephone | None = None

    @property
    def line(self) -> str:
        if self.telephone is None:
            return self.name or ""
        return f"{self.telephone} ({self.name})" if self.name else self.telephone

    def faults(self) -> Iterator[tuple[str, str]]:
        if self.name is None and self.telephone is None:
            yield "", "a name, a telephone, or both"


@dataclass(frozen=True)
class Tally:
    """The tally of a station, and who the station is there.

    `host` has no brackets, also where it is an IPv6 address; `host_ca` is the tally's authority as an OpenSSH
    public key line; `key` and `certificate` are the station's own. `others` are further addresses, tried in
    turn; `renewed` is where a renewed certificate is kept, if anywhere.
    """

    host: str
    port: int
    host_ca: str
    key: Path
    certificate: Path
    others: tuple[tuple[str, int], ...] = ()
    renewed: Path | None = None


@dataclass(frozen=True)
class Station:
    """What `unbrick.yaml` says. `path` is the file itself; `tally` is None at a site that has none.

    `network`, `shell` (may the technician have one) and `helpdesk` are for a booted medium. `named` is every
    file that it names: as it is written there, and its path.
    """

    path: Path
    tally: Tally | None = None
    site: str | None = None
    technician: str | None = None
    mode: str = "unattended"
    finish: str = "restart"
    keys: tuple[Path, ...] = ()
    playbooks: tuple[Path, ...] = ()
    network: Network = field(default_factory=Network)
    shell: bool = False
    helpdesk: Helpdesk | None = None
    named: tuple[tuple[str, Path], ...] = ()


@dataclass(frozen=True)
class _Tally:
    """The table `tally`: one address, or a list of them, as the tally has moved or is about to."""

    address: Annotated[tuple[Place, ...], Span(1, _MOST_ADDRESSES, alone=True)]
    host_ca: KeyLine

    def faults(self) -> Iterator[tuple[str, str]]:
        if len(set(self.address)) < len(self.address):
            yield "address", "every address only once"


@dataclass(frozen=True)
class _Identity:
    key: FileBeside
    certificate: FileBeside


@dataclass(frozen=True)
class _StationFile:
    """The file's tables and values, as they are written there."""

    tally: _Tally | None = None
    identity: _Identity | None = None
    site: Site | None = None
    technician: Text | None = None
    mode: Literal["unattended", "guided"] = "unattended"
    finish: Literal["restart", "power-off", "wait"] = "restart"
    keys: Annotated[tuple[FileBeside, ...], Span(0, _MOST_FILES)] = ()
    playbooks: Annotated[tuple[FileBeside, ...], Span(0, _MOST_FILES)] = ()
    network: Network | None = None
    shell: Flag = False
    helpdesk: Helpdesk | None = None

    def faults(self) -> Iterator[tuple[str, str]]:
        if (self.tally is None) != (self.identity is None):
            there, missing = ("tally", "identity") if self.tally else ("identity", "tally")
            yield there, f"{missing} beside it: `tally` and `identity` go together, or neither is there"


def load_station(path: Path) -> Station:
    """Read a station file; raises StrictError (exit code 2) for anything that is not as it must be."""
    named: list[tuple[str, Path]] = []

    def beside(name: str) -> Path:
        found = _beside(path, name)
        named.append((name, found))
        return found

    said = read_yaml(_StationFile, read_small_file(path, hint=HINT), str(path), _FORM, beside=beside)
    return Station(
        path=path,
        tally=_tally(said.tally, said.identity) if said.tally and said.identity else None,
        site=said.site,
        technician=said.technician,
        mode=said.mode,
        finish=said.finish,
        keys=said.keys,
        playbooks=said.playbooks,
        network=said.network or Network(),
        shell=said.shell,
        helpdesk=said.helpdesk,
        named=tuple(named),
    )


def _tally(tally: _Tally, identity: _Identity) -> Tally:
    (host, port), *others = tally.address
    return Tally(host, port, tally.host_ca, identity.key, identity.certificate, tuple(others))


def _beside(path: Path, name: str) -> Path:
    """A file beside the station file; raises ExpectedError where it is outside its folder, also by a link."""
    folder = path.parent.resolve()
    named = Path(name)
    try:
        target = (folder / named).resolve()
        inside = not named.is_absolute() and target.is_relative_to(folder) and target != folder
        there = inside and target.is_file()
    except (OSError, RuntimeError):  # a loop of links
        inside, there = False, False
    if not inside:
        raise ExpectedError("a file beside this one, in its folder")
    if not there:
        raise ExpectedError("a file that is there, beside this one")
    return target
