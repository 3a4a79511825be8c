"""Events as a station signs them: canonical JSON, the id, the armored SSHSIG signature."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

NAMESPACE = "unbrick-event@unbrick"
SAID_AT = "2026-11-24T08:15:00.000000Z"


def canonical(document: Any) -> bytes:
    """Sorted keys, no white space, UTF-8."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def event_id(data: bytes) -> str:
    """The SHA-256 of the bytes as they are signed."""
    return hashlib.sha256(data).hexdigest()


def run_name(number: int) -> str:
    """The id of a run; later numbers are later runs."""
    time = datetime(2026, 11, 24, tzinfo=UTC) + timedelta(seconds=number)
    return f"{time:%Y%m%dT%H%M%S}Z-{number % 0x1000000:06x}"


def machine(
    *names: str, disk: str | None = None, uuid: str | None = None, serial: str | None = None
) -> dict[str, Any]:
    """What an event says of its machine."""
    return {"smbios_uuid": uuid, "serial": serial, "disk_guid": disk, "hostnames": list(names)}


def disk_guid(number: int) -> str:
    """A disk's GUID."""
    return f"D15C0000-0000-4000-8000-{number:012X}"


def event(
    run: str,
    sequence: int,
    kind: str,
    of: Mapping[str, Any],
    *,
    site: str | None = "main",
    at: str = SAID_AT,
    step: str | None = None,
    details: Mapping[str, Any] | None = None,
    **changes: Any,
) -> bytes:
    """The bytes of one event; `changes` replace or add fields of the envelope."""
    document: dict[str, Any] = {
        "schema": 1,
        "run": run,
        "sequence": sequence,
        "kind": kind,
        "step": step,
        "at": at,
        "machine": dict(of),
        "site": site,
        "details": dict(details or {}),
    }
    return canonical({**document, **changes})


def visit(
    number: int, *names: str, status: str = "repaired", reason: str | None = None, **more: Any
) -> list[bytes]:
    """A whole run on the machine with that number: it starts, then it ends with a status."""
    of = machine(*(names or (f"PC-{number:05}",)), disk=disk_guid(number))
    run = run_name(number)
    outcome = {"status": status, "reason": reason}
    return [
        event(run, 1, "run-started", of, **more),
        event(run, 2, "outcome", of, details=outcome, **more),
    ]


def notes(count: int, *, number: int = 1, first: int = 1, size: int = 0, **more: Any) -> list[bytes]:
    """Events that change no status, `size` bytes of text in each (at most 15 times 4,096)."""
    of = machine(f"PC-{number:05}", disk=disk_guid(number))
    texts = ["x" * min(4096, size - at) for at in range(0, size, 4096)]
    run = run_name(number)
    return [
        event(run, sequence, "note", of, details={"texts": texts} if texts else {}, **more)
        for sequence in range(first, first + count)
    ]


@dataclass(frozen=True)
class Signer:
    """One Ed25519 key that signs events."""

    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @classmethod
    def read(cls, path: Path) -> Signer:
        """From a private key file in OpenSSH's format."""
        key = serialization.load_ssh_private_key(path.read_bytes(), None)
        assert isinstance(key, Ed25519PrivateKey)
        return cls(key)

    @property
    def public_line(self) -> str:
        """As it stands in authorized_keys."""
        return (
            self.key.public_key()
            .public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
            .decode()
        )

    def armored(self, data: bytes, namespace: str = NAMESPACE) -> str:
        """The SSHSIG signature over some bytes, as `ssh-keygen -Y sign` writes it."""
        name = _string(namespace.encode())
        hashed = _string(b"sha512") + _string(hashlib.sha512(data).digest())
        signature = self.key.sign(b"SSHSIG" + name + _string(b"") + hashed)
        blob = b"SSHSIG" + struct.pack(">I", 1) + _string(base64.b64decode(self.public_line.split()[1]))
        blob += name + _string(b"") + _string(b"sha512")
        blob += _string(_string(b"ssh-ed25519") + _string(signature))
        text = base64.b64encode(blob).decode()
        lines = [text[at : at + 70] for at in range(0, len(text), 70)]
        return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""])

    def signed(self, datas: Sequence[bytes]) -> list[dict[str, str]]:
        """Events as they stand in a `send` message, in an outbox and, a line each, in an export."""
        return [{"data": data.decode(), "signature": self.armored(data)} for data in datas]


def ids_of(documents: Sequence[Mapping[str, str]]) -> list[str]:
    """What the tally acknowledges them by."""
    return [event_id(one["data"].encode()) for one in documents]


def _string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value
