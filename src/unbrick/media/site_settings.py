"""Reads a site's settings for a medium: `unbrick.yaml`, what it names, and the playbooks beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from unbrick.errors import UsageError
from unbrick.files import read_small_file
from unbrick.incidents.library import Collection, read_folder, with_playbooks
from unbrick.signing.signed_settings import MOST_FILE_BYTES

SETTINGS_NAME = "unbrick.yaml"


@dataclass(frozen=True)
class Settings:
    """Files by their names on a medium, among them `key_files` with recovery passwords.

    `identity` is the station's private key, None where the settings name no tally.
    """

    files: dict[str, bytes]
    key_files: tuple[str, ...] = ()
    identity: str | None = None


def read_settings(station_file: Path) -> Settings:
    """A station file, all that it names and `playbooks/*.yaml` beside it; raises UsageError.

    On a medium the station file is always called `unbrick.yaml`.
    """
    from unbrick.keys.sources.files import KeyFiles
    from unbrick.settings.station_file import HINT, load_station

    station = load_station(station_file)
    folder = station_file.parent.resolve()
    files = {SETTINGS_NAME: read_small_file(station_file, hint=HINT)}
    for written, path in station.named:
        name = path.relative_to(folder).as_posix()
        if name != PurePosixPath(written).as_posix():
            raise UsageError(
                f"{station_file}: names {name} by way of a link", hint="put the file itself beside it"
            )
        if name == SETTINGS_NAME:
            raise UsageError(f"{station_file}: names a file {name}, which is its own name on a medium")
        files[name] = read_small_file(path, MOST_FILE_BYTES, hint=HINT)
    for path in station.keys:
        # Otherwise forty machines would report that there is no key, and not why.
        KeyFiles(path.name, [files[path.relative_to(folder).as_posix()]])
    with_playbooks((), station)
    for name, data in read_folder(folder, Collection()).items():
        files.setdefault(name, data)
    identity = station.tally.key.relative_to(folder).as_posix() if station.tally else None
    return Settings(files, tuple(path.relative_to(folder).as_posix() for path in station.keys), identity)


def files_to_sign(folder: Path) -> dict[str, bytes]:
    """What a site signs in a folder: its settings and all they name, else the playbooks alone."""
    if (folder / SETTINGS_NAME).exists():
        return read_settings(folder / SETTINGS_NAME).files
    return read_folder(folder, Collection())
