"""Which settings a station works by, and how far they are believed.

Sources, the first that counts wins:
1. a signed folder on the stick, 2. a signed folder from the network server: the site's key vouches for them;
3. what was built into the medium: trusted as it stands.
Where none of these has an `unbrick.yaml`, an unsigned one on the stick or from the network makes the station
look only: nothing is repaired, and its tally and its authority are not used. Beside trusted settings an
unsigned one is not read. With none at all the station asks a person, and reports to the stick.

Recovery passwords are no root of trust: every CSV on the stick is a key source, signed or not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from unbrick.errors import UnbrickError
from unbrick.incidents.library import Collection
from unbrick.incidents.playbook import Playbook
from unbrick.settings.station_file import Station, load_station
from unbrick.signing.signed_folder import MANIFEST_NAME, MOST_MANIFEST_BYTES, SIGNATURE_NAME
from unbrick.station.machine.kernel_options import KernelOptions
from unbrick.station.machine.small_files import names_in
from unbrick.station.stick.trust import NotTrustedError, copy_signed, is_signed, read_plain_file

BUILT_IN = Path("/etc/unbrick/settings")
FROM_NETWORK = Path("/netboot/settings")
STATION_FILE = "unbrick.yaml"
# Editors add an ending, and Windows hides it.
_MISNAMED = {"unbrick.yml", "unbrick.yaml.txt", "unbrick.yml.txt"}
PLAYBOOKS = "playbooks"
_MOST_PLAYBOOKS = 64
_MOST_PLAYBOOK_BYTES = 64 * 1024


@dataclass(frozen=True)
class Settings:
    """What a station works by.

    `station` is None where no trusted settings name one; `origin` says where they came from. `playbooks` are
    those beside the library, as file names and bytes. `only_looks` is why nothing may be written, as half a
    sentence; `missed`: the settings on a stick should have been read and were not. `notes` are for a
    person and the log.
    """

    station: Station | None = None
    origin: str = "there are no settings"
    guided: bool = True
    finish: str = "restart"
    playbooks: tuple[tuple[str, bytes], ...] = ()
    only_looks: str | None = None
    missed: bool = False
    notes: tuple[str, ...] = ()

    @property
    def shell(self) -> bool:
        return self.station is not None and self.station.shell

    @property
    def contact(self) -> str | None:
        """Whom a person here can call, as the screens show it."""
        return self.station.helpdesk.line if self.station and self.station.helpdesk else None


@dataclass
class _Search:
    """What was found so far in the sources."""

    site_key: str | None
    memory: Path
    notes: list[str] = field(default_factory=list)
    playbooks: dict[str, bytes] = field(default_factory=dict)

    def signed(self, folder: Path, place: str) -> Path | None:
        """A signed folder, copied into memory; None where it is not signed, or not by the site's key."""
        if not is_signed(folder):
            return None
        if self.site_key is None:
            self.notes.append(f"the settings {place} are signed, but this medium knows no site key")
            return None
        target = self.memory / f"settings-{len(list(self.memory.iterdir()))}"
        try:
            copy_signed(folder, target, self.site_key)
        except NotTrustedError as error:
            self.notes.append(f"the settings {place} are not used: {error.message}")
            return None
        return target

    def take_playbooks(self, files: Iterator[tuple[str, bytes]]) -> None:
        """Add playbooks; the first of a name counts, and none replaces one of the library."""
        for name, data in files:
            if len(self.playbooks) < _MOST_PLAYBOOKS:
                self.playbooks.setdefault(name, data)


def find_settings(
    stick: Path | None,
    site_key: str | None,
    options: KernelOptions,
    memory: Path,
    *,
    built_in: Path = BUILT_IN,
    from_network: Path = FROM_NETWORK,
) -> Settings:
    """The settings of this boot; `stick` is the mounted partition, `memory` a folder that is not on it.

    `notes` say which settings cannot be used. Raises OSError where the stick breaks off.
    """
    search = _Search(site_key, memory, list(options.notes))
    trusted: list[tuple[Path, str]] = []
    unsigned: list[str] = []
    for folder, place in ((stick, "on the stick"), (from_network, "from the network")):
        if folder is None:
            continue
        copied = search.signed(folder, place)
        if copied is not None:
            trusted.append((copied, f"signed settings {place}"))
        if not has_station_file(folder):
            wrong = [name for name in names_in(folder) if name.lower() in _MISNAMED]
            search.notes += [f"{name} {place} is not read: call it {STATION_FILE}" for name in wrong]
        elif not has_station_file(copied):
            unsigned.append(place)
        if _playbook_names(folder) - _playbook_names(copied):
            search.notes.append(f"playbooks {place} that the site's key has not signed are not used")
    if built_in.is_dir():
        trusted.append((built_in, "settings built into this medium"))
    station, origin, broken = _first_station(trusted, search)
    for folder, _ in trusted:
        search.take_playbooks(_playbook_files(folder))
    settings = _conclude(station, origin, broken, unsigned, search)
    return replace(
        settings,
        guided=settings.guided or options.guided,
        finish=options.finish or settings.finish,
        playbooks=tuple(_sound_playbooks(search)),
        notes=tuple(search.notes),
    )


def playbooks_of(settings: Settings) -> tuple[Playbook, ...]:
    """The library, and the trusted playbooks beside it."""
    collection = Collection()
    for name, data in settings.playbooks:
        collection.add(data, name)
    return collection.playbooks


def _first_station(trusted: Sequence[tuple[Path, str]], search: _Search) -> tuple[Station | None, str, bool]:
    """The first station file among trusted folders; the last value: whether one cannot be used."""
    broken = False
    for folder, origin in trusted:
        if not (folder / STATION_FILE).is_file():
            continue
        try:
            station = load_station(folder / STATION_FILE)
        except UnbrickError as error:
            search.notes.append(f"the {origin} cannot be used: {error.message}")
            broken = True
            continue
        search.take_playbooks((path.name, path.read_bytes()) for path in station.playbooks)
        return station, origin, False
    return None, "", broken


def _conclude(
    station: Station | None, origin: str, broken: bool, unsigned: Sequence[str], search: _Search
) -> Settings:
    if station is not None:
        search.notes += [f"an unsigned unbrick.yaml {place} is not read" for place in unsigned]
        return Settings(station, origin, guided=station.mode == "guided", finish=station.finish)
    if broken:
        return Settings(origin="settings that cannot be used", only_looks="the settings cannot be used")
    if unsigned:
        where = " and ".join(unsigned)
        why = f"the settings {where} are not signed by the site's key"
        return Settings(origin=f"unsigned settings {where}", guided=False, finish="wait", only_looks=why)
    return Settings()


def has_station_file(folder: Path | None) -> bool:
    with suppress(OSError):
        return folder is not None and (folder / STATION_FILE).is_file()
    return False


def settings_mark(folder: Path) -> str | None:
    """A digest of a folder's settings, believed or not; None where it has none."""
    found = hashlib.sha256()
    for name in (STATION_FILE, MANIFEST_NAME, SIGNATURE_NAME):
        with suppress(OSError, UnbrickError):
            found.update(name.encode() + read_plain_file(folder, name, MOST_MANIFEST_BYTES))
    return found.hexdigest() if found.digest() != hashlib.sha256().digest() else None


def _playbook_names(folder: Path | None) -> set[str]:
    names = names_in(folder / PLAYBOOKS) if folder is not None else []
    return {name for name in names if name.endswith(".yaml") and not name.startswith(".")}


def _playbook_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for name in sorted(_playbook_names(folder)):
        with suppress(OSError, UnbrickError):
            yield name, read_plain_file(folder, f"{PLAYBOOKS}/{name}", _MOST_PLAYBOOK_BYTES)


def _sound_playbooks(search: _Search) -> Iterator[tuple[str, bytes]]:
    """Those that can be used; the others are noted here, and not in the middle of a repair."""
    if not search.playbooks:
        return
    collection = Collection()
    for name, data in search.playbooks.items():
        try:
            collection.add(data, name)
        except UnbrickError as error:
            search.notes.append(f"a playbook is not used: {error.message}")
            continue
        yield name, data
