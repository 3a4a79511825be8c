"""Keys and certificates as `tally init` would make them, and wrong ones beside them, made by asyncssh."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import asyncssh

from unbrick.settings.station_file import Tally


@dataclass(frozen=True)
class Credentials:
    """A folder with `authority`, `host_key`, `host_key-cert.pub`, `station`, `station-cert.pub`."""

    folder: Path
    authority: asyncssh.SSHKey

    @property
    def host_ca(self) -> str:
        return self.authority.export_public_key().decode().strip()

    def station(self, port: int, host: str = "127.0.0.1") -> Tally:
        return Tally(host, port, self.host_ca, self.folder / "station", self.folder / "station-cert.pub")

    def host_certificate(
        self,
        *,
        authority: asyncssh.SSHKey | None = None,
        principals: tuple[str, ...] = ("127.0.0.1",),
        of_a_user: bool = False,
    ) -> asyncssh.SSHCertificate:
        """A certificate for the host key, right unless told otherwise."""
        signer = authority or self.authority
        key = asyncssh.read_private_key(self.folder / "host_key")
        make = signer.generate_user_certificate if of_a_user else signer.generate_host_certificate
        return make(key, "tally", principals=list(principals))


def make_credentials(folder: Path, *, station: str = "station-1") -> Credentials:
    """A whole set for a tally at 127.0.0.1."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = asyncssh.generate_private_key("ssh-ed25519", comment="authority")
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    station_key = asyncssh.generate_private_key("ssh-ed25519")
    credentials = Credentials(folder, authority)
    for name, key in (("authority", authority), ("host_key", host_key), ("station", station_key)):
        key.write_private_key(folder / name)
        (folder / name).chmod(0o600)
        key.write_public_key(folder / f"{name}.pub")
    credentials.host_certificate().write_certificate(folder / "host_key-cert.pub")
    login = authority.generate_user_certificate(station_key, station, principals=[station])
    login.write_certificate(folder / "station-cert.pub")
    return credentials


def enrol_by_another(credentials: Credentials, stranger: asyncssh.SSHKey) -> Credentials:
    """The same host, but a station whose certificate a stranger signed."""
    folder = credentials.folder.with_name(f"{credentials.folder.name}-stranger")
    other = make_credentials(folder)
    key = asyncssh.read_private_key(folder / "station")
    stranger.generate_user_certificate(key, "station-1", principals=["station-1"]).write_certificate(
        folder / "station-cert.pub"
    )
    return replace(other, authority=credentials.authority)
