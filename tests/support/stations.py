"""A station's files as a tally would make them: authority, key, certificate, `unbrick.yaml`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import SSHCertificateBuilder, SSHCertificateType


def private_text(key: Ed25519PrivateKey, password: bytes | None = None) -> bytes:
    """A private key file in OpenSSH's format."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        encryption = serialization.BestAvailableEncryption(password)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, encryption)


def public_line(key: Ed25519PrivateKey) -> str:
    """An OpenSSH public key line."""
    encoded = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return encoded.decode()


def certificate(key: Ed25519PrivateKey, authority: Ed25519PrivateKey, *, until: int = 2**64 - 1) -> bytes:
    """A user certificate for a station's key, valid for ever unless told otherwise."""
    builder = (
        SSHCertificateBuilder()
        .public_key(key.public_key())
        .serial(1)
        .type(SSHCertificateType.USER)
        .key_id(b"station")
        .valid_principals([b"station"])
        .valid_after(0)
        .valid_before(until)
    )
    return builder.sign(authority).public_bytes()


@dataclass(frozen=True)
class MadeStation:
    """A folder with a whole station in it."""

    file: Path
    key: Ed25519PrivateKey

    @property
    def outbox(self) -> Path:
        """Where its reports wait."""
        return self.file.parent / "outbox"


def make_station(
    folder: Path, *, address: str = "127.0.0.1:1", more: str = "site: st-marys\n"
) -> MadeStation:
    """Write a station's files into a new or empty folder. Nobody listens at the address by default."""
    folder.mkdir(parents=True, exist_ok=True)
    authority, key = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    (folder / "station").write_bytes(private_text(key))
    (folder / "station-cert.pub").write_bytes(certificate(key, authority))
    file = folder / "unbrick.yaml"
    file.write_text(
        f'tally: {{address: "{address}", host_ca: "{public_line(authority)}"}}\n'
        "identity: {key: station, certificate: station-cert.pub}\n" + more
    )
    return MadeStation(file, key)
