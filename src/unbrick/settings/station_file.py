"""Reads `unbrick.yaml`: which tally a station belongs to, its key, and how it behaves. Strict.

What the file names lies beside it and may not leave its folder: a stick is moved and copied as a whole.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unbrick.errors import UsageError
from unbrick.files import read_small_file
from unbrick.signing.ssh_key import KEY_TYPE, SshKeyError, blob_of_line

_SITE = re.compile(r"[a-z0-9][a-z0-9:_-]{0,63}")
# The names that `unbrick tally init` takes, which no name server has to be asked in vain for.
_LABEL = "[A-Za-z0-9][A-Za-z0-9_-]{0,62}"
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\.?|\[[0-9A-Fa-f:.]{{2,45}}\]")
_MODES = ("unattended", "guided")
_FINISHES = ("restart", "power-off", "wait")
_TOP = {
    *("tally", "identity", "site", "technician", "mode", "finish"),
    *("keys", "playbooks", "network", "shell", "helpdesk"),
}
_MOST_KEYS = 32
_MOST_ADDRESSES = 4
_MOST_NAME_SERVERS = 3  # as many as a resolver asks
_HIGHEST_VLAN = 4094
# As it is read out and dialled; a screen of 80 columns shows it in one line.
_TELEPHONE = re.compile(r"[+(]?[0-9][0-9 ()/.-]{1,28}[0-9](?: ?(?:ext\.?|x) ?[0-9]{1,6})?")
_LONGEST_CONTACT = 40
_DEEPEST = 4
HINT = "`unbrick help administrator` has every setting; one with a tally comes from `unbrick tally enrol`"


class StationFileError(UsageError):
    """A station file that is not as it must be; nothing was touched."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(f"{path}: {message}", hint=HINT)


@dataclass(frozen=True)
class Network:
    """How a booted medium finds the network; without any of these it asks for everything by DHCP.

    `address` is an address with the length of its network (`10.0.0.5/24`), `vlan` a number of IEEE 802.1Q.
    """

    address: str | None = None
    gateway: str | None = None
    dns: tuple[str, ...] = ()
    vlan: int | None = None


@dataclass(frozen=True)
class Helpdesk:
    """Whom a person at a machine calls."""

    name: str | None = None
    telephone: str | None = None

    @property
    def line(self) -> str:
        """Both as a screen shows them."""
        if self.telephone is None:
            return self.name or ""
        return f"{self.telephone} ({self.name})" if self.name else self.telephone


@dataclass(frozen=True)
class Tally:
    """The tally of a station, and who the station is there.

    `host` has no brackets, also where it is an IPv6 address; `host_ca` is the tally's authority as an OpenSSH
    public key line; `key` and `certificate` are the station's own. `others` are further addresses, tried in
    turn; `renewed` is where a certificate that the tally renewed is kept, None where there is no such place.
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

    `network`, `shell` (may the technician have one) and `helpdesk` are for a booted medium.
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


def load_station(path: Path) -> Station:
    """Read a station file; raises StationFileError (exit code 2) for anything that is not as it must be."""
    table = _Table(path, _parse(path), _TOP, "")
    return Station(
        path=path,
        tally=_tally(table),
        site=_site(path, table.optional_text("site")),
        technician=table.optional_text("technician"),
        mode=table.one_of("mode", _MODES),
        finish=table.one_of("finish", _FINISHES),
        keys=tuple(_beside(path, name) for name in table.texts("keys")),
        playbooks=tuple(_beside(path, name) for name in table.texts("playbooks")),
        network=_network(table),
        shell=table.flag("shell"),
        helpdesk=_helpdesk(table),
    )


@dataclass(frozen=True)
class _Table:
    """One table of the file; every question about a field that is not as it must be is an error."""

    path: Path
    content: Mapping[str, Any]
    known: set[str]
    within: str

    def __post_init__(self) -> None:
        unknown = sorted(str(key) for key in set(self.content) - self.known)
        if unknown:
            raise self._error(f"`{unknown[0][:60]}` is no setting", "")

    def table(self, key: str, known: set[str]) -> _Table:
        value = self.content.get(key)
        if not isinstance(value, Mapping):
            raise self._error("is missing or no table", key)
        return _Table(self.path, value, known, f"{key}.")

    def text(self, key: str) -> str:
        value = self.optional_text(key)
        if value is None:
            raise self._error("is missing", key)
        return value

    def optional_text(self, key: str) -> str | None:
        value = self.content.get(key)
        if value is None:
            return None
        if not isinstance(value, str) or not 0 < len(value) <= 1000 or not value.isprintable():
            raise self._error("must be plain text (put it in quotes)", key)
        return value

    def one_of(self, key: str, words: tuple[str, ...]) -> str:
        value = self.content.get(key, words[0])
        if not isinstance(value, str) or value not in words:
            raise self._error(f"must be one of {', '.join(words)}", key)
        return value

    def flag(self, key: str) -> bool:
        value = self.content.get(key, False)
        if not isinstance(value, bool):
            raise self._error("must be true or false", key)
        return value

    def number(self, key: str, highest: int) -> int | None:
        value = self.content.get(key)
        if value is not None and (type(value) is not int or not 1 <= value <= highest):
            raise self._error(f"must be a number from 1 to {highest}", key)
        return value

    def address(self, key: str, text: str, *, with_network: bool = False) -> str:
        """An IP address as text, with the length of its network where that is asked for."""
        import ipaddress  # few name one, and it is slow to load

        try:
            if not with_network:
                return str(ipaddress.ip_address(text))
            if "/" in text:
                return str(ipaddress.ip_interface(text))
        except ValueError:
            pass
        example = "10.0.0.5/24" if with_network else "10.0.0.1"
        raise self._error(f"must be an address, as in {example}", key)

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.content.get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or len(value) > _MOST_KEYS:
            raise self._error("must be a list", key)
        return tuple(_Table(self.path, {key: one}, {key}, self.within).text(key) for one in value)

    def _error(self, message: str, key: str) -> StationFileError:
        where = f"{self.within}{key}".rstrip(".")
        return StationFileError(self.path, f"{where}: {message}" if where else message)


def _parse(path: Path) -> Mapping[str, Any]:
    import yaml

    data = read_small_file(path, hint=HINT)
    try:
        text = data.decode("utf-8-sig")
        depth = 0
        for event in yaml.parse(text, yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) or depth > _DEEPEST:
                raise StationFileError(path, "anchors, aliases and deep nesting are not taken")
        node = yaml.compose(text, yaml.SafeLoader)
        if node is None:
            raise StationFileError(path, "the file is empty")
        _refuse_repeated_keys(path, node)
        document = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise StationFileError(path, f"{line}this is not YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise StationFileError(path, "this is not YAML text") from error
    if not isinstance(document, dict):
        raise StationFileError(path, "expected settings, each with a name")
    return document


def _refuse_repeated_keys(path: Path, node: Any) -> None:
    """A key given twice: which one counts would be a guess."""
    import yaml

    if isinstance(node, yaml.MappingNode):
        names = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or names[key.value] > 1:
                line = key.start_mark.line + 1
                raise StationFileError(path, f"line {line}: a setting that is given twice, or has no name")
            _refuse_repeated_keys(path, value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_repeated_keys(path, value)


def _tally(table: _Table) -> Tally | None:
    """The tally and who we are there: both or neither, as neither is of any use alone."""
    named = [name for name in ("tally", "identity") if table.content.get(name) is not None]
    if not named:
        return None
    if len(named) == 1:
        missing = "identity" if named == ["tally"] else "tally"
        message = f"{missing}: is missing; `tally` and `identity` go together, or neither is there"
        raise StationFileError(table.path, message)
    tally = table.table("tally", {"address", "host_ca"})
    identity = table.table("identity", {"key", "certificate"})
    (host, port), *others = (_address(table.path, one) for one in _addresses(tally))
    return Tally(
        host=host,
        port=port,
        others=tuple(others),
        host_ca=_authority(table.path, tally.text("host_ca")),
        key=_beside(table.path, identity.text("key")),
        certificate=_beside(table.path, identity.text("certificate")),
    )


def _addresses(tally: _Table) -> tuple[str, ...]:
    """One address, or a list of them: the tally has moved, or is about to."""
    if not isinstance(tally.content.get("address"), list):
        return (tally.text("address"),)
    found = tally.texts("address")
    if not 1 <= len(set(found)) == len(found) <= _MOST_ADDRESSES:
        raise StationFileError(
            tally.path, f"tally.address: must be 1 to {_MOST_ADDRESSES} addresses, none of them twice"
        )
    return found


def _address(path: Path, text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or _HOST.fullmatch(host) is None or re.fullmatch(r"[0-9]{1,5}", port) is None:
        raise StationFileError(path, "tally.address: must be HOST:PORT, or [IPV6]:PORT")
    if not 1 <= int(port) <= 65535:
        raise StationFileError(path, "tally.address: a port is 1 to 65535")
    return host.strip("[]"), int(port)


def _authority(path: Path, line: str) -> str:
    try:
        blob_of_line(line)
    except SshKeyError as error:
        message = f"tally.host_ca: must be an OpenSSH public key line, {KEY_TYPE} …"
        raise StationFileError(path, message) from error
    return line.strip()


def _network(table: _Table) -> Network:
    if table.content.get("network") is None:
        return Network()
    inside = table.table("network", {"address", "gateway", "dns", "vlan"})
    address, gateway, servers = (
        inside.optional_text("address"),
        inside.optional_text("gateway"),
        inside.texts("dns"),
    )
    if gateway is not None and address is None:
        raise StationFileError(table.path, "network.gateway: goes with network.address only")
    if len(servers) > _MOST_NAME_SERVERS:
        raise StationFileError(table.path, f"network.dns: at most {_MOST_NAME_SERVERS} are asked")
    return Network(
        address=None if address is None else inside.address("address", address, with_network=True),
        gateway=None if gateway is None else inside.address("gateway", gateway),
        dns=tuple(inside.address("dns", one) for one in servers),
        vlan=inside.number("vlan", _HIGHEST_VLAN),
    )


def _helpdesk(table: _Table) -> Helpdesk | None:
    if table.content.get("helpdesk") is None:
        return None
    inside = table.table("helpdesk", {"name", "telephone"})
    found = Helpdesk(inside.optional_text("name"), inside.optional_text("telephone"))
    if found == Helpdesk():
        raise StationFileError(table.path, "helpdesk: needs a name, a telephone, or both")
    if found.name and len(found.name) > _LONGEST_CONTACT:
        message = f"helpdesk.name: at most {_LONGEST_CONTACT} characters, to be read on a screen"
        raise StationFileError(table.path, message)
    if found.telephone and not _TELEPHONE.fullmatch(found.telephone):
        message = "helpdesk.telephone: a number in quotes, as in '+44 20 7946 0000' or '0800 123 ext 4'"
        raise StationFileError(table.path, message)
    return found


def _site(path: Path, text: str | None) -> str | None:
    if text is not None and _SITE.fullmatch(text) is None:
        raise StationFileError(path, "site: small letters, digits, - and _ only, at most 64, as in st-marys")
    return text


def _beside(path: Path, name: str) -> Path:
    """A file beside the station file; what leads out of its folder, also by a link, is refused."""
    folder = path.parent.resolve()
    named = Path(name)
    try:
        target = (folder / named).resolve()
        inside = not named.is_absolute() and target.is_relative_to(folder) and target != folder
        there = inside and target.is_file()
    except (OSError, RuntimeError):  # a loop of links
        inside, there = False, False
    if not inside:
        raise StationFileError(path, f"{name}: must lie beside this file, in its folder")
    if not there:
        raise StationFileError(path, f"{name}: is not there; it must lie beside this file")
    return target
